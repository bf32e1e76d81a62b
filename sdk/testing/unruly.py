"""A proxy in front of a gate that fails in every way a network and a server can, by a seed: for the tests of all SDKs.

    python3 unruly.py --upstream http://127.0.0.1:8099 --seed 1

prints its address, then for each request what it did to it. Whatever it does, what it says of an event is never better than the truth: it answers success only where the gate did.
"""

import argparse
import gzip
import http.client
import http.server
import json
import random
import socket
import struct
import sys
import threading
import time
import urllib.parse

PLANS = {
    "pass": 100,
    "slow": 10,
    "reset_before": 10,
    "reset_after_commit": 14,
    "cut_answer": 8,
    "half_committed": 8,
    "bad_gateway": 6,
    "unavailable": 6,
    "busy": 2,
    "portal": 4,
    "too_large": 4,
}
"""What happens to a request, and how often. Everything but what is sound happens once at the start, with a sound request after each."""
SOUND = ("pass", "slow")
SLOW_SECONDS = 0.3


class Plans:
    """By a seed, without an end."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        faults = [plan for plan in PLANS if plan not in SOUND]
        self._random.shuffle(faults)
        self._first = [plan for fault in faults for plan in (fault, "pass")]

    def __next__(self) -> str:
        return self._first.pop(0) if self._first else self._random.choices(list(PLANS), PLANS.values())[0]


class Unruly(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    upstream: urllib.parse.SplitResult
    plans: "Plans"
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            plan = next(self.plans)
            print(plan, flush=True)
        getattr(self, f"_{plan}")(body)

    def do_OPTIONS(self) -> None:
        self._pass(b"")

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in ("connection", "transfer-encoding", "content-length", "date")}
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        # A reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _pass(self, body: bytes) -> None:
        status, headers, content = self._forward(body)
        self._answer(status, content, headers)

    def _slow(self, body: bytes) -> None:
        time.sleep(SLOW_SECONDS)
        self._pass(body)

    def _reset_before(self, body: bytes) -> None:
        self._reset()

    def _reset_after_commit(self, body: bytes) -> None:
        self._forward(body)
        self._reset()

    def _cut_answer(self, body: bytes) -> None:
        status, headers, content = self._forward(body)
        self._answer(status, content[: len(content) // 2], headers, length=len(content))
        self._reset()

    def _half_committed(self, body: bytes) -> None:
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        events = json.loads(plain)
        half = json.dumps(events[: len(events) // 2]).encode()
        del self.headers["Content-Encoding"]
        self._forward(half)
        self._answer(500, b"out of order")

    def _bad_gateway(self, body: bytes) -> None:
        self._answer(502, b"<html>bad gateway</html>", {"Content-Type": "text/html"})

    def _unavailable(self, body: bytes) -> None:
        self._answer(503, b'{"success":false,"code":"closing","message":"the gate is shutting down"}', {"Content-Type": "application/json"})

    def _busy(self, body: bytes) -> None:
        self._answer(429, b'{"success":false,"code":"busy","message":"too many requests"}', {"Content-Type": "application/json", "Retry-After": "1"})

    def _portal(self, body: bytes) -> None:
        self._answer(200, b"<html>please sign in</html>", {"Content-Type": "text/html"})

    def _too_large(self, body: bytes) -> None:
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        # For one event it would be the truth, and the end of it.
        if len(json.loads(plain)) > 1:
            self._answer(413, b"<html>413</html>", {"Content-Type": "text/html"})
        else:
            self._pass(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Proxy(http.server.ThreadingHTTPServer):
    """All connections."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, ValueError)):
            super().handle_error(request, client_address)


def start(upstream: str, seed: int) -> Proxy:
    """Starts it on a free port."""
    handler = type("Seeded", (Unruly,), {"upstream": urllib.parse.urlsplit(upstream), "plans": Plans(seed)})
    proxy = Proxy(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    return proxy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    proxy = start(options.upstream, options.seed)
    print(f"http://127.0.0.1:{proxy.server_port}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
