"""The door: an ASGI layer around everything that turns away who may not come in, and lets no answer out bare."""

from __future__ import annotations

import logging
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mien.serve.measures import Measures
from mien.serve.problems import Refused
from mien.serve.safety import SECURITY_HEADERS, Allowances, check
from mien.serve.settings import Settings

PROTOCOL = "mien.v1"
_POLICY = 1008
_log = logging.getLogger("mien.serve")


class Guard:
    """Checks host, origin, token and rate; adds the security headers; makes a problem of what nobody caught."""

    def __init__(self, app: ASGIApp, settings: Settings, measures: Measures) -> None:
        self.app, self.settings, self.measures = app, settings, measures
        self._allowances = Allowances(settings.requests_per_second, 20 * settings.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store" if scope["path"].startswith("/v1/") else "no-cache")
                self.measures.requests.labels(scope["method"], str(message["status"])).inc()
            await send(message)

        try:
            self._admit(scope)
            await self.app(scope, receive, dressed)
        except Refused as refused:
            await refused.response()(scope, receive, dressed)
        except Exception:
            _log.exception("%s %r failed", scope["method"], scope["path"])
            if begun:
                raise
            await Refused(500, "something went wrong in the server; its log says what").response()(
                scope, receive, dressed
            )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._admit(scope)
        except Refused as refused:
            # Accepted first, since a browser tells its page nothing about a connection that was never made.
            socket = WebSocket(scope, receive, send)
            await socket.accept(subprotocol=PROTOCOL if PROTOCOL in scope["subprotocols"] else None)
            await socket.close(_POLICY, refused.detail)
            return
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        client = scope.get("client")
        wait = self._allowances.take(client[0] if client else "")
        if wait:
            raise Refused(429, "too many requests in a short time; wait a moment", {"Retry-After": str(ceil(wait))})
        check(self.settings, scope["path"], Headers(scope=scope), scope.get("subprotocols"))
