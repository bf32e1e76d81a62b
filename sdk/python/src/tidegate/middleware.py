"""Puts the facts of a web request around the calls that are made while it is answered: address, browser, page, language.

For FastAPI, Starlette and Django on ASGI: `app.add_middleware(TidegateASGI)` or `application = TidegateASGI(application)`. For Flask and Django on WSGI:
`application = TidegateWSGI(application)`. Who the user is only the application knows: `with tidegate.scope(user_id=…):`.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from tidegate.scope import scope

TEXT_CHARS_MAX = 2_048
"""Of what a client sent and goes into each event."""


class TidegateASGI:
    """Around an ASGI application. The address is the peer's: behind a proxy let the server read its header (`uvicorn --proxy-headers`)."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, request: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if request["type"] not in ("http", "websocket"):
            await self._app(request, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.get("headers", [])}
        client = request.get("client")
        scheme = request.get("scheme", "http")
        url = _url(scheme, headers.get("host", ""), request.get("path", ""), request.get("query_string", b"").decode("latin-1"))
        with scope(context=_context(headers, client[0] if client else None, url)):
            await self._app(request, receive, send)


class TidegateWSGI:
    """Around a WSGI application. It holds for the call, not for a body that is made afterwards."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        url = _url(environ.get("wsgi.url_scheme", "http"), headers.get("host", ""), path, environ.get("QUERY_STRING", ""))
        with scope(context=_context(headers, environ.get("REMOTE_ADDR"), url)):
            return self._app(environ, start_response)


def _url(scheme: str, host: str, path: str, query: str) -> str:
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def _context(headers: dict[str, str], address: str | None, url: str) -> dict[str, Any]:
    context: dict[str, Any] = {"page": {"url": url[:TEXT_CHARS_MAX]}}
    if referrer := headers.get("referer"):
        context["page"]["referrer"] = referrer[:TEXT_CHARS_MAX]
    if address:
        context["ip"] = address
    if agent := headers.get("user-agent"):
        context["userAgent"] = agent[:TEXT_CHARS_MAX]
    if language := headers.get("accept-language", "").split(",")[0].split(";")[0].strip():
        context["locale"] = language[:TEXT_CHARS_MAX]
    return context
