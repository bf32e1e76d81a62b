"""What the middleware takes from a request."""

import asyncio

import tidegate
from tidegate.middleware import TidegateASGI, TidegateWSGI

PAGE = {"url": "https://shop.example/cart?x=1", "referrer": "https://search.example/"}


def test_asgi(gate):
    client = tidegate.Client("k", url=gate.url)

    async def application(request, receive, send):
        await asyncio.sleep(0)
        client.track("seen")

    headers = [(b"Host", b"shop.example"), (b"referer", b"https://search.example/"), (b"user-agent", b"UA/1"), (b"accept-language", b"de-DE,de;q=0.9")]
    request = {"type": "http", "scheme": "https", "path": "/cart", "query_string": b"x=1", "headers": headers, "client": ("192.0.2.7", 1234)}
    asyncio.run(TidegateASGI(application)(request, None, None))
    asyncio.run(TidegateASGI(application)({"type": "lifespan"}, None, None))
    assert client.close(10)
    seen, outside = gate.events
    assert {name: seen["context"][name] for name in ("page", "ip", "userAgent", "locale")} == {"page": PAGE, "ip": "192.0.2.7", "userAgent": "UA/1", "locale": "de-DE"}
    assert list(outside["context"]) == ["library"]


def test_wsgi(gate):
    client = tidegate.Client("k", url=gate.url)

    def application(environ, start_response):
        client.track("seen")
        return [b"ok"]

    environ = {
        "wsgi.url_scheme": "https", "HTTP_HOST": "shop.example", "SCRIPT_NAME": "", "PATH_INFO": "/cart", "QUERY_STRING": "x=1", "REMOTE_ADDR": "192.0.2.7",
        "HTTP_REFERER": "https://search.example/", "HTTP_USER_AGENT": "UA/1",
    }
    assert TidegateWSGI(application)(environ, None) == [b"ok"]
    assert client.close(10)
    [seen] = gate.events
    assert seen["context"]["page"] == PAGE and seen["context"]["ip"] == "192.0.2.7" and "locale" not in seen["context"]
