"""Who may come in: host names, origins, the token, and how often; as plain functions of a connection's headers."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from urllib.parse import urlsplit

from mien.serve.problems import Refused
from mien.serve.settings import Settings

#: Sent with every answer.
SECURITY_HEADERS: dict[str, str] = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "permissions-policy": "camera=(self), display-capture=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

_OPEN = frozenset({"/", "/favicon.ico", "/docs", "/openapi.json", "/v1/health"})
"""What needs no token, beside the page's files: they hold nothing that is not in the package."""
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_HOST = re.compile(r"[a-z0-9:]([a-z0-9.:_-]*[a-z0-9:])?")
_BEARER = "bearer."
_CLIENTS = 4096


def valid_token(token: str) -> bool:
    """Whether a token is long enough, and can travel as the name of a WebSocket subprotocol."""
    return _TOKEN.fullmatch(token) is not None


def check(settings: Settings, path: str, headers: Mapping[str, str], subprotocols: list[str] | None = None) -> None:
    """Raises Refused when a request, or with `subprotocols` a WebSocket connection, may not come in.

    Pages of other sites are known by their `Origin`, which browsers send with all that changes something and with
    every WebSocket; only those in `settings.origins` may come in. Programs need not send it.
    """
    host = headers.get("host", "")
    if settings.hosts is not None and host_name(host) not in settings.hosts:
        raise Refused(421, "this server answers on its own address only; open the address that it printed")
    origin = headers.get("origin")
    if origin is not None and origin not in settings.origins and not _same_site(origin, host):
        raise Refused(403, "pages of other sites may not use this server")
    if settings.token is None or path in _OPEN or path.startswith("/page/"):
        return
    if not any(
        hmac.compare_digest(given.encode(), settings.token.encode()) for given in _tokens(headers, subprotocols)
    ):
        raise Refused(
            401,
            "the token is missing or wrong; open the address that the server printed",
            {"WWW-Authenticate": "Bearer"},
        )


def valid_origin(text: str) -> bool:
    """Whether a text is the origin of a web page just as browsers send it: scheme, host, and the port where it is not
    the scheme's own; no path, no wildcard, lower case."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    own_port = {"http": 80, "https": 443}.get(parts.scheme)
    if own_port is None or port == own_port or not _HOST.fullmatch(parts.hostname or ""):
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return text == f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"


def valid_proxy(text: str) -> bool:
    """Whether a text is the address of a machine, or a network of them such as `10.0.0.0/8`."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def names_of(origins: Iterable[str]) -> frozenset[str]:
    """The host names of origins."""
    return frozenset(urlsplit(origin).hostname or "" for origin in origins)


def cors_headers(settings: Settings, headers: Mapping[str, str], preflight: bool) -> dict[str, str]:
    """What lets a page of an allowed other site read the answer; empty for everybody else."""
    origin = headers.get("origin", "")
    if origin not in settings.origins:
        return {}
    allowed = {"access-control-allow-origin": origin}
    if preflight:
        allowed["access-control-allow-methods"] = "GET, POST, DELETE"
        allowed["access-control-allow-headers"] = "Authorization, Content-Type"
        allowed["access-control-max-age"] = "600"
    else:
        allowed["access-control-expose-headers"] = "Content-Disposition, Location, Retry-After"
    return allowed


def _same_site(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def host_name(host: str) -> str:
    """Of a `Host` header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _tokens(headers: Mapping[str, str], subprotocols: list[str] | None) -> list[str]:
    """The tokens that came along; browsers cannot send headers with a WebSocket, but name subprotocols."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    tokens = [given.strip()] if scheme.lower() == "bearer" else []
    return tokens + [name.removeprefix(_BEARER) for name in subprotocols or [] if name.startswith(_BEARER)]


class Allowance:
    """A token bucket: `rate` in a second, and up to `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._left, self._time = burst, time.monotonic()

    def take(self) -> float:
        """Seconds to wait, or 0 when it is allowed now, which then counts."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._time) * self.rate)
        self._time = now
        if self._left < 1:
            return (1 - self._left) / self.rate
        self._left -= 1
        return 0.0


class Allowances:
    """One allowance for each client; the one not heard of for longest is forgotten when there are too many."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._clients: dict[str, Allowance] = {}

    def take(self, client: str) -> float:
        """As `Allowance.take`."""
        allowance = self._clients.pop(client, None) or Allowance(self.rate, self.burst)
        self._clients[client] = allowance
        if len(self._clients) > _CLIENTS:
            del self._clients[next(iter(self._clients))]
        return allowance.take()
