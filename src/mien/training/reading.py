"""Reads recipes: the shipped ones or files, with settings laid over them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mien.errors import RecipeError, did_you_mean, reason
from mien.training.recipe import Plan, parse, schema_of

_RENAMED = {"retaken": "recropped", "retaken_share": "recropped_share"}


def shipped() -> list[str]:
    """Names of the recipes inside the package."""
    names = (entry.name for entry in files("mien.recipes").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def without_retired_keys(content: dict[str, Any]) -> dict[str, Any]:
    """The resolved recipe of a run from before the first release in today's keys: re-crops are called otherwise, and
    mixup, CutMix and SAM are gone. Keys that were in use stay, to be refused as unknown."""
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    mix, optim, data = (content.get(table, {}) for table in ("mix", "optim", "data"))
    if not mix.get("mixup") and not mix.get("cutmix"):
        content.pop("mix", None)
    if not optim.get("sharpness"):
        optim.pop("sharpness", None)
    for old, new in _RENAMED.items():
        if old in data:
            data[new] = data.pop(old)
    return content


def read(name_or_path: str | Path, settings: Iterable[str] | Mapping[str, Any] = ()) -> Plan:
    """A recipe by shipped name or path, with settings laid over it: texts `table.key=value`, or a mapping of dotted
    keys, such as `{"optim.epochs": 20}`, or of tables.

    Raises RecipeError on an unknown recipe, key or value, with the close match.
    """
    name_or_path = str(name_or_path)
    path = Path(name_or_path)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"cannot read recipe {path}: {reason(error)}") from None
        except UnicodeDecodeError:
            raise RecipeError(f"recipe {path} is not TOML: it is no UTF-8 text") from None
    elif name_or_path in shipped():
        text = (files("mien.recipes") / f"{name_or_path}.toml").read_text(encoding="utf-8")
    else:
        raise RecipeError(
            f"no recipe {name_or_path!r}{did_you_mean(name_or_path, shipped())}; "
            f"shipped are {', '.join(shipped())}, or give the path of a .toml file"
        )
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {name_or_path} is not TOML: {error}") from None
    pairs = settings.items() if isinstance(settings, Mapping) else map(_setting, settings)
    for key, value in pairs:
        _lay_over(content, key, value)
    try:
        return parse(content)
    except ValidationError as error:
        raise RecipeError(f"recipe {name_or_path}: {_first_problem(error, schema_of(content))}") from None


def _setting(text: str) -> tuple[str, Any]:
    """Key and value of `table.key=value`; the value is TOML, or else a text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"the setting {text!r} should read table.key=value, for example optim.epochs=20")
    try:
        return key.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _lay_over(content: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for inner, entry in value.items():
            _lay_over(content, f"{key}.{inner}", entry)
        return
    *tables, last = key.split(".")
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise RecipeError(f"the setting {key!r}: {table!r} is no table")
    content[last] = value


def _first_problem(error: ValidationError, schema: type[BaseModel]) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        table: Any = schema
        for part in first["loc"][:-1]:
            table = table.model_fields[str(part)].annotation
        last = str(first["loc"][-1])
        hint = f" (did you mean {_RENAMED[last]!r}?)" if last in _RENAMED else did_you_mean(last, table.model_fields)
        return f"unknown key {where!r}{hint}"
    if first["type"] == "value_error":  # raised by a table's own check, whose input is the whole table
        return f"{where}: {first['ctx']['error']}"
    return f"{where}: {first['msg']} (got {first['input']!r})"
