"""`mien serve`: the live page and its API, on this machine alone unless there is a token."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import sys
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from typing import Annotated

import typer

from mien.cli.console import err, note, out
from mien.cli.options import DetectorName, DetectorWeights, ModelName
from mien.errors import InputError, MissingExtraError, reason

_SHARE = 0.5
"""Of all places, for one client, where clients can be told apart."""
_PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen at; others than this machine's own need --token.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="MIEN_TOKEN", show_envvar=True, help="What clients must show, 16 characters or more."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Another site whose pages may use the server, such as https://example.org; repeatable."),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a proxy in front, whose X-Forwarded-For is believed; needs --token; repeatable."
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page where there is a display.")
    ] = True,
    model: ModelName = None,
    detector: DetectorName = None,
    detector_weights: DetectorWeights = None,
    max_viewers: Annotated[int, typer.Option(min=1, help="How many may watch at the same time.")] = 32,
) -> None:
    """Open a page in the browser that shows what the camera's faces look like, and serve the API under it.

    Everything stays on this machine. Ctrl-C ends it.
    """
    if not all(find_spec(package) for package in _PACKAGES):
        raise MissingExtraError("the live page", "serve")
    from mien.analyzer import load
    from mien.serve.app import create_app, make_server
    from mien.serve.safety import names_of, valid_origin, valid_proxy, valid_token
    from mien.serve.sandbox import missing
    from mien.serve.settings import LOOPBACK, Settings

    own = _is_own(host)
    fresh = secrets.token_hex(16)
    if token is not None and not valid_token(token):
        raise InputError(
            f"the token should be 16 to 200 of the characters A-Z a-z 0-9 . _ ~ -; this one is fresh: --token {fresh}"
        )
    if not own and token is None:
        raise InputError(
            f"at {host} other machines could use the server, so it needs a token; this one is fresh: --token {fresh}"
        )
    origins = frozenset(allow_origin or ())
    for origin in sorted(origins):
        if not valid_origin(origin):
            raise InputError(
                f"{origin!r} is no origin; name one site at a time by its scheme, host and port alone, in lower case, "
                "such as https://example.org or http://localhost:3000"
            )
    proxies = tuple(trusted_proxy or ())
    for proxy in proxies:
        if not valid_proxy(proxy):
            raise InputError(f"{proxy!r} is neither an address nor a network, such as 127.0.0.1 or 10.0.0.0/8")
    if proxies and token is None:
        raise InputError(
            f"behind a proxy other machines could use the server, so it needs a token; this one is fresh: "
            f"--token {fresh}"
        )
    with _listening(host, port) as listener:
        settings = Settings(
            token=token, origins=origins, model=model, detector_weights=detector_weights, max_viewers=max_viewers,
            hosts=LOOPBACK | {host.lower()} | names_of(origins) if own else None, trusted_proxies=proxies,
            share=1.0 if own and not proxies else _SHARE,
        )  # fmt: skip
        with err.status("loading"):
            analyzer = load(model, detector, detector_weights, threads=1)
        server = make_server(create_app(analyzer, settings), settings)
        address = _address(host, listener.getsockname()[1], token)
        out.print(f"mien is open at [bold link={address}]{address}[/]", highlight=False, soft_wrap=True)
        if not own:
            note("browsers give the camera to https pages only: put a proxy with TLS in front, or tunnel with ssh -L")
        for gap in missing():
            note(gap)
        if browser and _has_display():
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):  # raised anew by uvicorn when everything has ended well
            server.run(sockets=[listener])
        note("stopped")


def _is_own(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to the address, so that whatever is wrong with that is known before anything is loaded."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Connections inherit the protocol, and asyncio sets TCP_NODELAY only where it says TCP: without it, every
        # answer would wait 40 ms for the client's acknowledgement.
        listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    except OSError as error:
        raise InputError(f"{host} is no address of this machine: {reason(error)}") from None
    try:
        if os.name == "posix":  # elsewhere this would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        raise InputError(
            f"cannot listen at {host}, port {port}: {reason(error)}; another one can be named with --port"
        ) from None
    return listener


def _address(host: str, port: int, token: str | None) -> str:
    """What people open. The token is in the fragment, which browsers send nowhere."""
    name = host
    if host in {"0.0.0.0", "::"}:
        name = socket.gethostname()
    elif ":" in host:
        name = f"[{host}]"
    return f"http://{name}:{port}/{f'#token={token}' if token else ''}"


def _has_display() -> bool:
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
