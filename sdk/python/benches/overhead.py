"""What one call costs the application, and the memory at 10,000 events a second: this SDK beside segment-analytics-python, in one run, in turns.

    python benches/overhead.py            # in an environment that has both

Both send to the same gate in another process, which takes everything. A call is timed on the caller's thread alone, with the senders at work beside it.
"""

import argparse
import gc
import http.server
import json
import multiprocessing
import resource
import statistics
import sys
import time

PROPERTIES = {"plan": "pro", "price": 12.5, "quantity": 2, "currency": "EUR", "tags": ["a", "b"], "page": {"url": "https://www.example.com/cart", "title": "Cart"}}


class Taking(http.server.BaseHTTPRequestHandler):
    """Says yes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = b'{"success":true,"accepted":1,"rejected":[]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None:
        pass


def gate(port: "multiprocessing.Queue") -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    port.put(server.server_port)
    server.serve_forever()


def tidegate(url: str):
    import tidegate

    client = tidegate.Client("key", url=url, queue_events_max=200_000, queue_bytes_max=1 << 30)
    return lambda: client.track("Order Completed", PROPERTIES, user_id="u1"), lambda: client.close(60)


def tidegate_with_spool(url: str):
    import tempfile

    import tidegate

    folder = tempfile.TemporaryDirectory()
    client = tidegate.Client("key", url=url, spool=folder.name, queue_events_max=200_000, queue_bytes_max=1 << 30)
    return lambda: client.track("Order Completed", PROPERTIES, user_id="u1"), lambda: (client.close(60), folder.cleanup())


def segment(url: str):
    from segment.analytics.client import Client

    client = Client("key", host=url, max_queue_size=200_000, gzip=True)
    return lambda: client.track(user_id="u1", event="Order Completed", properties=PROPERTIES), lambda: (client.flush(), client.join())


def measure(what, url: str, calls: int, rate: int, results: "multiprocessing.Queue") -> None:
    """In a process of its own, so that none inherits the other's memory."""
    call, end = what(url)
    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.collect()
    times = []
    began = time.perf_counter()
    for number in range(calls):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
        if rate and number % 100 == 99 and (ahead := began + number / rate - time.perf_counter()) > 0:
            time.sleep(ahead)
    took = time.perf_counter() - began
    end()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    times.sort()
    results.put({
        "sdk": what.__name__, "mean_us": statistics.fmean(times) * 1e6, "median_us": times[len(times) // 2] * 1e6, "p99_us": times[len(times) * 99 // 100] * 1e6,
        "rate": calls / took, "grown_mib": grown / 1024,
    })


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=10_000, help="events a second; 0 is as fast as it goes")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Queue()
    server = spawn.Process(target=gate, args=(port,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port.get()}"
    found = {}
    for turn in range(options.turns):
        for what in (tidegate, tidegate_with_spool, segment):
            results = spawn.Queue()
            process = spawn.Process(target=measure, args=(what, url, options.calls, options.rate, results))
            process.start()
            result = results.get()
            process.join()
            found.setdefault(what.__name__, []).append(result)
            print(json.dumps({"turn": turn, **{name: round(value, 2) if isinstance(value, float) else value for name, value in result.items()}}), flush=True)
    ours, theirs = (statistics.median(result["median_us"] for result in found[name]) for name in ("tidegate", "segment"))
    print(f"median of a call: {ours:.1f} us beside {theirs:.1f} us: {theirs / ours:.1f} times less")
    server.kill()


if __name__ == "__main__":
    sys.exit(main())
