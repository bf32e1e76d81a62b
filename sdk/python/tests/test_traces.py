"""An event is part of the trace in which it was sent, from the call to the commit that lets it be queried: told to a collector by OTLP."""

import http.server
import threading
import time

import pytest
import tidegate
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

TOLD_SECONDS_MAX = 60


class Collector:
    """Takes OTLP over HTTP, by the protocol's own messages."""

    def __init__(self) -> None:
        self.spans: list[dict] = []
        self.faults: list[str] = []
        self.resources: set[str] = set()
        self.is_away = False
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.is_away:
                    self.answer(503, b"")
                    return
                if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
                    collector.faults.append(f"{self.path} {self.headers['Content-Type']}")
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    collector.resources.update(f"{pair.key}={pair.value.string_value}" for pair in resource.resource.attributes)
                    collector.spans += [collector.told(span) for scope in resource.scope_spans for span in scope.spans]
                self.answer(200, ExportTraceServiceResponse().SerializeToString())

            def answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def told(span: object) -> dict:
        attributes = {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}
        return {
            "name": span.name,
            "trace": span.trace_id.hex(),
            "parent": span.parent_span_id.hex(),
            "start": span.start_time_unix_nano,
            "end": span.end_time_unix_nano,
            **attributes,
        }

    def of(self, event_id: str) -> list[dict]:
        return sorted((span for span in self.spans if span["tidegate.event_id"] == event_id), key=lambda span: span["end"])

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.stop()


@pytest.fixture
def settings(collector):
    """The platform tells its traces to the collector."""
    return {"TIDEGATE_TRACES__ENDPOINT": collector.url}


def until(condition) -> None:
    deadline = time.monotonic() + TOLD_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_trace_from_the_call_to_the_commit(server, collector):
    tracer = TracerProvider().get_tracer("shop")
    quiet = TracerProvider(sampler=ALWAYS_OFF).get_tracer("shop")
    client = tidegate.Client(server.key, url=server.url)
    with tracer.start_as_current_span("checkout") as span:
        event_id = client.track("order", {"total": 3}, user_id="u1")
        place = span.get_span_context()
    with quiet.start_as_current_span("checkout"):
        unsampled = client.track("order", {"total": 4}, user_id="u1")
    outside = client.track("order", {"total": 5}, user_id="u1")
    assert client.close(10)
    until(lambda: len(collector.of(event_id)) == 3)
    spans = collector.of(event_id)
    assert [span["name"] for span in spans] == ["tidegate gate", "tidegate bronze", "tidegate silver"], spans
    for span in spans:
        assert (span["trace"], span["parent"]) == (f"{place.trace_id:032x}", f"{place.span_id:016x}"), span
        assert span["tidegate.source"] == "web" and span["start"] <= span["end"], span
    assert spans[0]["tidegate.verdict"] == "accepted" and spans[2]["tidegate.version"] > 0
    # When Silver's commit was done, the event could be queried.
    assert server.query(f"SELECT count(*) AS n FROM silver.events WHERE event_id = '{event_id}'") == [{"n": 1}]
    server.wait_for_rows("silver.events", 3)
    assert not collector.of(unsampled) and not collector.of(outside) and not collector.faults
    assert "service.name=tidegate" in collector.resources


def test_a_collector_that_is_away_holds_up_nothing(server, collector):
    collector.is_away = True
    tracer = TracerProvider().get_tracer("shop")
    client = tidegate.Client(server.key, url=server.url)
    with tracer.start_as_current_span("checkout"):
        for number in range(100):
            client.track("order", {"number": number}, user_id="u1")
    assert client.close(10)
    server.wait_for_rows("silver.events", 100)
    until(lambda: "spans cannot be sent" in (server.data / "serve.log").read_text())
    collector.is_away = False
    with tracer.start_as_current_span("checkout"), tidegate.Client(server.key, url=server.url) as again:
        event_id = again.track("order", {}, user_id="u1")
    until(lambda: len(collector.of(event_id)) == 3)
