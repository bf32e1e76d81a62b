"""The real Python clients deliver through the gate, and each event arrives once with its fields."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from deltalake import DeltaTable

SENDER = Path(__file__).parent / "senders" / "segment_like.py"
CALLS = 123

CLIENTS = [
    ("segment.analytics.client", sys.executable, ""),
    ("segment.analytics.client", sys.executable, "gzip"),
    ("rudderstack.analytics.client", sys.executable, "gzip"),
    ("rudderstack.analytics.client", sys.executable, ""),
    ("analytics.client", os.environ.get("PYTHON_OF_ANALYTICS_PYTHON", ""), ""),
    ("analytics.client", os.environ.get("PYTHON_OF_ANALYTICS_PYTHON", ""), "gzip"),
]


def send(module: str, python: str, mode: str, host: str, key: str) -> None:
    assert python, "PYTHON_OF_ANALYTICS_PYTHON names the interpreter that has analytics-python"
    done = subprocess.run([python, SENDER, module, host, key, mode], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr


@pytest.mark.parametrize(("module", "python", "mode"), CLIENTS)
def test_every_call_arrives_once_with_its_fields(server, module, python, mode):
    send(module, python, mode, server.url, server.key)
    rows = server.silver(CALLS)

    track = rows["track-7"]
    assert track["source"] == "web"
    assert track["event_type"] == "Order Completed"
    assert track["event_time"].startswith("2026-03-29T12:34:56.789")
    assert track["client_time"].startswith("2026-03-29T12:34:56.789")
    assert (track["user_id"], track["anonymous_id"]) == ("user-1", "anonymous-1")
    assert (track["campaign_source"], track["campaign_name"]) == ("mail", "spring")
    properties = json.loads(track["properties"])
    assert properties["price"] == 12.5
    assert properties["name"] == "Zoë ✓"
    assert properties["tags"] == ["a", "b"]
    assert track["library"], "the client's library and version are kept"

    assert rows["page-1"]["event_type"] == "page_view"
    assert rows["page-1"]["page_path"] == "/docs"
    assert rows["identify-1"]["event_type"] == "identify"
    assert json.loads(rows["identify-1"]["properties"])["email"] == "ada@example.com"
    exposure = rows["exposure-1"]
    assert exposure["event_type"] == "feature_exposure"
    assert (exposure["experiment_id"], exposure["variation_id"]) == ("checkout", "treatment")
    assert server.query("SELECT count(*) AS n FROM silver.exposures") == [{"n": 1}]


def test_other_readers_see_the_same_tables(server):
    send(*CLIENTS[0], server.url, server.key)
    rows = server.silver(CALLS)
    table = DeltaTable(str(server.data / "lake" / "silver" / "events"))
    assert table.to_pyarrow_table().num_rows == len(rows) == CALLS
    assert DeltaTable(str(server.data / "lake" / "bronze" / "events")).to_pyarrow_table().num_rows == CALLS


class AnswerLosingProxy(threading.Thread):
    """Passes connections through to the gate, but resets every first connection once the gate has answered: the client cannot know it worked."""

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.answers_lost = 0

    def run(self) -> None:
        while True:
            client, _ = self.listener.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(client, self.connections % 2 == 1), daemon=True).start()

    def serve(self, client: socket.socket, lose: bool) -> None:
        with socket.create_connection(("127.0.0.1", self.target)) as gate:
            threading.Thread(target=self.copy, args=(client, gate), daemon=True).start()
            while answer := gate.recv(65536):
                if lose:
                    self.answers_lost += 1
                    linger_none = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
                    break
                client.sendall(answer)
        client.close()

    @staticmethod
    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass


def test_an_answer_lost_on_the_way_doubles_nothing(server):
    proxy = AnswerLosingProxy(server.port)
    proxy.start()
    send("segment.analytics.client", sys.executable, "", f"http://127.0.0.1:{proxy.port}", server.key)
    assert proxy.answers_lost >= 1, "the fault must have happened"
    server.silver(CALLS)
    books = server.query("SELECT count(*) AS copies, count(DISTINCT event_id) AS events FROM bronze.events")[0]
    assert books["events"] == CALLS
    assert books["copies"] > CALLS, "the client sent again what had been taken"
