"""Events on disk."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from gate import taken, unavailable
from test_client import SOON, balanced, until

import tidegate
from tidegate.spool import Spool

APPLICATION = """
import sys, time, tidegate
client = tidegate.Client("k", url=sys.argv[1], spool=sys.argv[2])
for number in range(int(sys.argv[3])):
    client.track("t", {"n": number})
assert client.sync(10)
client.track("not synced")
print(client.stats().tracked, flush=True)
time.sleep(60)
"""


def killed_after_sync(gate, spool, events):
    """An application that is killed when its events are on disk."""
    application = subprocess.Popen([sys.executable, "-c", APPLICATION, gate.url, str(spool), str(events)], stdout=subprocess.PIPE, text=True)
    assert application.stdout.readline() == f"{events + 1}\n"
    application.kill()
    assert application.wait() == -signal.SIGKILL, "it had ended before it was killed"
    gate.settle()


def files(spool):
    return sorted(path for path in spool.rglob("*.ndjson"))


def test_what_was_synced_arrives_after_a_kill_and_is_gone_from_the_disk(gate, tmp_path):
    spool = tmp_path / "spool"
    gate.answer = unavailable
    killed_after_sync(gate, spool, 1_234)
    assert sum(len(path.read_text().splitlines()) for path in files(spool)) >= 1_234
    for path in files(spool):
        # Readable by people, and by `tidegate send`.
        assert all(json.loads(line)["event_type"] for line in path.read_text().splitlines())
        assert os.stat(path).st_mode & 0o077 == 0
    gate.answer = taken
    gate.requests.clear()
    told = []
    with tidegate.Client("k", url=gate.url, spool=spool, on_delivery=told.append) as client:
        until(lambda: client.stats().recovered >= 1_234, "all recovered")
        assert balanced(client).tracked == 0
    numbers = sorted(event["properties"]["n"] for event in gate.events if event["event_type"] == "t")
    assert numbers == list(range(1_234))
    assert len({event["event_id"] for event in gate.events}) == len(gate.events)
    assert [delivery.outcome for delivery in told].count("delivered") == len(gate.events)
    assert list(spool.iterdir()) == []


def test_an_orderly_end_leaves_what_is_not_answered_to_the_next_start(gate, tmp_path):
    gate.answer = unavailable
    client = tidegate.Client("k", url=gate.url, spool=tmp_path)
    ids = [client.track("t", {"n": n}) for n in range(700)]
    assert client.sync(SOON) and not client.close(0.5)
    stats = balanced(client)
    assert (stats.pending, stats.dropped) == (700, 0)
    gate.settle()
    gate.answer = taken
    gate.requests.clear()
    with tidegate.Client("k", url=gate.url, spool=tmp_path) as client:
        until(lambda: client.stats().recovered == 700)
    assert sorted(event["event_id"] for event in gate.events) == sorted(ids)


def test_the_half_of_a_line_is_left_out_and_counted(gate, tmp_path):
    gate.answer = unavailable
    killed_after_sync(gate, tmp_path, 3)
    [*_, last] = files(tmp_path)
    with open(last, "ab") as file:
        file.write(b'{"event_id":"half","event_ty')
    gate.answer = taken
    gate.requests.clear()
    with tidegate.Client("k", url=gate.url, spool=tmp_path) as client:
        until(lambda: client.stats().recovered >= 3)
        assert client.stats().torn == 1
    assert "half" not in {event["event_id"] for event in gate.events}
    assert list(tmp_path.iterdir()) == []


def test_two_processes_have_one_spool(gate, tmp_path):
    gate.answer = unavailable
    one, two = (tidegate.Client("k", url=gate.url, spool=tmp_path) for _ in range(2))
    ids = [client.track("t") for client in (one, two) for _ in range(10)]
    assert one.sync(SOON) and two.sync(SOON)
    # The one that ends leaves its events; the other one goes on, and its folder is not touched.
    assert not one.close(0.2)
    gate.answer = taken
    gate.requests.clear()
    with tidegate.Client("k", url=gate.url, spool=tmp_path) as three:
        until(lambda: three.stats().recovered == 10)
    assert two.close(SOON) and two.stats().delivered == 10
    assert sorted({event["event_id"] for event in gate.events}) == sorted(ids)


def test_a_full_spool_is_sent_around(gate, tmp_path):
    gate.hold()
    client = tidegate.Client("k", url=gate.url, spool=tmp_path, spool_bytes_max=5_000, queue_events_max=50)
    for number in range(200):
        client.track("t", {"n": number})
        time.sleep(0.001)
    until(lambda: client.stats().spool_errors > 0)
    gate.let_go()
    assert client.close(SOON)
    stats = balanced(client)
    assert stats.delivered + stats.dropped == 200 and set(stats.dropped_by) <= {"queue_full"}
    assert len({event["event_id"] for event in gate.events}) == stats.delivered


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of a process here")
def test_a_full_disk_does_not_hurt_the_application(gate, tmp_path):
    program = """
import json, resource, sys, time, tidegate
# No file may grow beyond this, as on a disk that is full.
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
client = tidegate.Client("k", url=sys.argv[1], spool=sys.argv[2], queue_events_max=100)
slowest = 0
for number in range(1_000):
    began = time.perf_counter()
    client.track("t", {"n": number})
    slowest = max(slowest, time.perf_counter() - began)
    time.sleep(0.0005)
closed = client.close(15)
stats = client.stats()
print(json.dumps({"closed": closed, "slowest": slowest, "delivered": stats.delivered, "dropped": stats.dropped, "pending": stats.pending, "spool_errors": stats.spool_errors}))
"""
    done = subprocess.run([sys.executable, "-c", program, gate.url, str(tmp_path / "spool")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["closed"] and told["spool_errors"] > 0 and told["pending"] == 0
    assert told["delivered"] + told["dropped"] == 1_000
    assert len({event["event_id"] for event in gate.events}) == told["delivered"] > 0
    assert "cannot be written" in done.stderr


def test_a_fault_of_the_thread_that_writes_loses_nothing(gate, tmp_path, monkeypatch):
    append, faults = Spool.append, []

    def fails_once(spool, payloads, first):
        if not faults:
            faults.append(len(payloads))
            raise RuntimeError("a fault of the library's own")
        append(spool, payloads, first)

    monkeypatch.setattr(Spool, "append", fails_once)
    with tidegate.Client("k", url=gate.url, spool=tmp_path) as client:
        ids = [client.track("t", {"n": n}) for n in range(10)]
        assert client.sync(SOON) and client.flush(SOON)
        assert balanced(client).delivered == 10
    assert faults and sorted(event["event_id"] for event in gate.events) == sorted(ids)


def test_what_is_thrown_away_while_the_disk_fails_is_not_sent(gate, tmp_path, monkeypatch):
    def fails(spool, payloads, first):
        client.opt_out()
        raise OSError("the disk is full")

    monkeypatch.setattr(Spool, "append", fails)
    client = tidegate.Client("k", url=gate.url, spool=tmp_path)
    client.track("t")
    until(lambda: balanced(client).dropped_by == {"opted_out": 1})
    assert client.close(SOON) and gate.requests == []


def test_a_folder_that_cannot_be_made_does_not_hurt_either(gate, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    gate.hold()
    client = tidegate.Client("k", url=gate.url, spool=tmp_path / "file" / "spool")
    for _ in range(10):
        client.track("t")
    assert not client.sync(0.2)
    gate.let_go()
    assert client.close(SOON)
    assert balanced(client).delivered == 10


def test_consent_that_is_taken_back_empties_the_spool(gate, tmp_path):
    gate.answer = unavailable
    killed_after_sync(gate, tmp_path, 5)
    client = tidegate.Client("k", url=gate.url, spool=tmp_path)
    for _ in range(3):
        client.track("t")
        assert client.sync(SOON)
    client.opt_out()
    gate.answer = taken
    gate.requests.clear()
    until(lambda: balanced(client).pending == 0)
    client.close(SOON)
    assert files(tmp_path) == []
    # One batch may have been on its way.
    assert len(gate.requests) <= 1
    assert client.stats().dropped_by.get("opted_out", 0) + client.stats().delivered == 3
