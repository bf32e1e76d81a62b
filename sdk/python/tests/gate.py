"""A gate in this process that answers as a test wants it to. What the real one makes of events is tested with the real one."""

import gzip
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable

Answer = tuple[int, bytes, dict[str, str]]


def taken(events: list[dict]) -> Answer:
    return 200, json.dumps({"success": True, "accepted": len(events), "rejected": []}).encode(), {}


def unavailable(events: list[dict]) -> Answer:
    return 503, b"", {}


class Gate:
    """Keeps every request."""

    def __init__(self) -> None:
        self.answer: Callable[[list[dict]], Answer] = taken
        self.requests: list[list[dict]] = []
        self.headers: list[dict[str, str]] = []
        self.lines: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self._lock = threading.Lock()
        self._connections = 0
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                events = json.loads(body)
                gate.headers.append(dict(self.headers))
                gate.lines.append(self.path)
                gate.requests.append(events)
                gate.held.wait(30)
                status, content, headers = gate.answer(events)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request: object, client_address: object) -> None:
                with gate._lock:
                    gate._connections += 1
                super().process_request(request, client_address)

            def shutdown_request(self, request: object) -> None:
                super().shutdown_request(request)
                with gate._lock:
                    gate._connections -= 1

            def handle_error(self, request: object, client_address: object) -> None:
                # A client that has gone meanwhile.
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hold(self) -> None:
        """Answers nothing until `let_go`."""
        self.held.clear()

    def let_go(self) -> None:
        self.held.set()

    def settle(self) -> None:
        """Waits until all that was sent by those who are gone has been read: a request of a process that was killed may still be on its way."""
        with socket.create_connection(self._server.server_address) as probe:
            # They are accepted in turn: when this one has come to its end, all before it are among those that are counted.
            probe.shutdown(socket.SHUT_WR)
            probe.recv(1)
        deadline = time.monotonic() + 20
        while self._connections:
            assert time.monotonic() < deadline, f"{self._connections} connections are still open"
            time.sleep(0.01)

    @property
    def events(self) -> list[dict]:
        return [event for request in self.requests for event in request]

    def stop(self) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
