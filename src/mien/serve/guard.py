"""The guard: an ASGI layer around everything that refuses who may not come in and adds headers to every answer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mien.serve.metrics import Metrics
from mien.serve.places import one_client
from mien.serve.problems import Refused
from mien.serve.safety import SECURITY_HEADERS, Allowances, check, cors_headers
from mien.serve.settings import Settings

PROTOCOL = "mien.v1"
_POLICY = 1008
_log = logging.getLogger("mien.serve")


class Guard:
    """Checks host, origin, token and rate; adds the headers of security and CORS; makes a problem of what nobody
    caught."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
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
        request_headers = Headers(scope=scope)
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in request_headers
        cors = cors_headers(self.settings, request_headers, preflight)

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in (SECURITY_HEADERS | cors).items():
                    headers[name] = value
                if self.settings.origins:
                    headers.add_vary_header("origin")
                headers.setdefault("cache-control", "no-store" if scope["path"].startswith("/v1/") else "no-cache")
                self.metrics.requests.labels(scope["method"], str(message["status"])).inc()
            await send(message)

        try:
            self._admit(scope, preflight=preflight and bool(cors))
            if preflight and cors:
                await Response(status_code=204)(scope, receive, send_with_headers)
            else:
                await self.app(scope, receive, send_with_headers)
        except Refused as refused:
            await refused.response()(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the server ends, and does not wait for it any longer
            if not begun:
                await Refused(503, "the server is ending").response()(scope, receive, send_with_headers)
        except Exception:
            _log.exception("%s %r failed", scope["method"], scope["path"])
            if begun:
                raise
            await Refused(500, "something went wrong in the server; its log says what").response()(
                scope, receive, send_with_headers
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

    def _admit(self, scope: Scope, *, preflight: bool = False) -> None:
        client = scope.get("client")
        wait = self._allowances.take(one_client(client[0]) if client else "")
        if wait:
            raise Refused(429, "too many requests in a short time; wait a moment", {"Retry-After": str(ceil(wait))})
        # Browsers ask before they show the token, so a preflight request has none.
        settings = replace(self.settings, token=None) if preflight else self.settings
        check(settings, scope["path"], Headers(scope=scope), scope.get("subprotocols"))
