"""One request to the gate, over a connection that is kept."""

import base64
import gzip
import hashlib
import hmac
import http.client
import ssl
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass

COMPRESS_FROM_BYTES = 1024
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""A refusal of 5,000 events by name is far below."""


class Unanswered(Exception):
    """No connection, a reset, a timeout, or an answer that is not HTTP: whether the gate took the events is not known."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after: str | None


class Transport:
    """Of one thread."""

    def __init__(self, url: str, write_key: str, timeout: float, signing_secret: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be like https://events.example.com, is {url!r}")
        self._timeout = timeout
        self._signing_secret = None if signing_secret is None else signing_secret.encode()
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._is_tls else 80)
        self._path = parts.path.rstrip("/") + "/v1/events"
        self._headers = {"Authorization": f"Bearer {write_key}", "Content-Type": "application/json", "User-Agent": "tidegate-python"}
        self._tls = ssl.create_default_context() if self._is_tls else None
        self._proxy = _proxy_for(parts.scheme, parts.netloc)
        self._connection: http.client.HTTPConnection | None = None

    def post(self, events: list[bytes], attempt: int) -> Answer:
        """Sends a JSON array of these. Raises `Unanswered`."""
        body = b"[" + b",".join(events) + b"]"
        headers = self._headers | {"X-Retry-Count": str(attempt)}
        if len(body) > COMPRESS_FROM_BYTES:
            # The fastest level has most of what there is to gain: events are alike.
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        if self._signing_secret is not None:
            headers["X-Tidegate-Signature"] = signature(self._signing_secret, body, int(time.time()))
        try:
            return self._exchange(body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unanswered(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, body: bytes, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        path = self._path
        if self._proxy is not None and not self._is_tls:
            path = f"http://{self._host}:{self._port}{path}"
            headers = headers | self._proxy.headers
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        content = response.read(ANSWER_BYTES_MAX)
        answer = Answer(response.status, content, response.headers.get("Retry-After"))
        if not response.isclosed() or response.will_close:
            # The rest of it is nothing to us.
            self.close()
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        if self._proxy is not None:
            connection.set_tunnel(self._host, self._port, headers=self._proxy.headers)
        return connection


def signature(secret: bytes, body: bytes, seconds: int) -> str:
    """Of a body as it is sent: HMAC-SHA-256 of the time, a full stop and the body."""
    return f"t={seconds},v1={hmac.new(secret, f'{seconds}.'.encode() + body, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True)
class _Proxy:
    host: str
    port: int
    headers: dict[str, str]


def _proxy_for(scheme: str, netloc: str) -> _Proxy | None:
    """As the environment says: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`."""
    address = urllib.request.getproxies().get(scheme)
    if not address or urllib.request.proxy_bypass(netloc):
        return None
    parts = urllib.parse.urlsplit(address if "//" in address else f"//{address}")
    if not parts.hostname:
        return None
    headers = {}
    if parts.username is not None:
        name, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    return _Proxy(parts.hostname, parts.port or 80, headers)
