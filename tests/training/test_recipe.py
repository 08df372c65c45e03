"""Recipes: what is shipped, what is refused and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_sets import expression_recipe

from mien.errors import RecipeError
from mien.training.reading import read, shipped
from mien.training.recipe import Recipe


def test_shipped_recipes_are_whole_and_named_as_their_files() -> None:
    assert {"base", "tiny"} <= set(shipped())
    for name in shipped():
        assert read(name).name == name
        assert read(name).about


def test_a_recipe_is_read_from_a_path_and_survives_its_resolved_copy(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[optim]\nepochs = 7\nsizes = [[0, 24], [0.5, 48]]\n')
    recipe = expression_recipe(str(path))
    assert (recipe.name, recipe.optim.epochs, recipe.optim.sizes) == ("mine", 7, ((0, 24), (0.5, 48)))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_settings_are_laid_over_the_recipe() -> None:
    settings = ("optim.epochs=5", "model.widths=[8, 16, 16]", "augment.flip = 0", "name=other", "seed=9")
    recipe = expression_recipe("base", *settings)
    assert (recipe.optim.epochs, recipe.model.widths, recipe.augment.flip) == (5, (8, 16, 16), 0)
    assert (recipe.name, recipe.seed) == ("other", 9)
    assert recipe.optim.lr == read("base").optim.lr
    as_mapping = {"optim.epochs": 5, "model": {"widths": [8, 16, 16]}, "augment.flip": 0, "name": "other", "seed": 9}
    assert read("base", as_mapping) == recipe


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("optim.epocs=3", "unknown key 'optim.epocs' (did you mean 'epochs'?)"),
        ("optimm.epochs=3", "unknown key 'optimm' (did you mean 'optim'?)"),
        ("colour=1", "unknown key 'colour'"),
        ("optim.epochs=many", "optim.epochs: Input should be a valid integer"),
        ("optim.lr=0", "optim.lr: Input should be greater than 0 (got 0)"),
        ("augment.flip=1.5", "augment.flip: Input should be less than or equal to 1 (got 1.5)"),
        ("augment.scale=[2, 1]", "augment.scale: should be the smaller magnification and then the larger"),
        ("model.stem_stride=3", "model.stem_stride: Input should be 1 or 2"),
        ("model.input_size=8", "model.input_size: Input should be greater than or equal to 16"),
        ("optim.sizes=[[0.0, 4]]", "greater than or equal to 16"),
        ("model.widths=[8, 8]", "model: widths, depths and squeeze_excite need one entry per stage each"),
        ("optim.warmup_epochs=64", "optim: warmup_epochs (64) should be less than epochs (64)"),
        ("name=Not a name", "name: String should match pattern"),
        ("optim.epochs", "the setting 'optim.epochs' should read table.key=value"),
        ("seed.x=1", "'seed' is no table"),
        ("data.retaken=sets/again", "unknown key 'data.retaken' (did you mean 'recropped'?)"),
        ("mix.cutmix=1.0", "unknown key 'mix'"),
        ("optim.sharpness=0.1", "unknown key 'optim.sharpness'"),
        ("=1", "unknown key ''"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(setting: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read("base", (setting,))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_recipe_names_the_close_match() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'bse' \(did you mean 'base'\?\); shipped are base"):
        read("bse")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name = \n", "is not TOML: Invalid value"),
        (b"\xff\xfe\x00", "is not TOML: it is no UTF-8 text"),
        (b"seed = 1\n", "name: Field required"),
        (b'name = "x"\noptim = 3\n', "optim: "),
        (b'name = "x"\n[optim]\nspeed = 3\n', "unknown key 'optim.speed'"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        read(str(path))
    assert told in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read recipe .*nothing\.toml: no such file"):
        read(str(tmp_path / "nothing.toml"))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("optim.distillation=0.5", "distillation needs teachers"),
        ("data.recropped_share=0.5", "recropped_share needs recropped"),
        ("optim.teachers_see_votes=true", "teachers_see_votes needs distillation"),
    ],
)
def test_a_share_needs_what_it_is_a_share_of(setting: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        read("base", (setting,))
