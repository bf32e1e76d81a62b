"""The client beside a gate that answers as the test wants."""

import asyncio
import datetime
import decimal
import enum
import json
import logging
import os
import subprocess
import sys
import threading
import time
import uuid

import pytest
from gate import taken, unavailable

import tidegate

SOON = 20.0


def until(holds, what="it holds"):
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline, f"not {what}"
        time.sleep(0.01)


def balanced(client):
    stats = client.stats()
    assert stats.tracked == stats.delivered + stats.rejected + stats.dropped + stats.pending
    assert stats.dropped == sum(stats.dropped_by.values()) and stats.rejected == sum(stats.rejected_by.values())
    return stats


def test_an_event_is_sent_as_it_was_at_the_call(gate):
    properties = {"tier": "free", "at": datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.timezone.utc)}
    with tidegate.Client("the-key", url=gate.url + "/in/", context={"app": "shop"}) as client:
        event_id = client.track("signup", properties, user_id=17, name="n", context={"locale": "de"})
        properties["tier"] = "changed"
        assert client.flush(SOON)
        balanced(client)
    [[event]] = gate.requests
    assert (event["event_id"], event["user_id"], event["name"]) == (event_id, "17", "n")
    assert event["properties"] == {"tier": "free", "at": "2026-11-01T12:00:00.000Z"}
    assert event["context"] == {"library": {"name": "tidegate-python", "version": tidegate.__version__}, "app": "shop", "locale": "de"}
    [headers] = gate.headers
    assert headers["Authorization"] == "Bearer the-key" and headers["X-Retry-Count"] == "0"
    # Behind a path of one's own.
    assert gate.lines == ["/in/v1/events"]


def test_values_that_json_does_not_know(gate):
    class Colour(enum.Enum):
        RED = "red"

    identity = uuid.uuid4()
    with tidegate.Client("k", url=gate.url) as client:
        client.track("t", {"d": decimal.Decimal("1.5"), "u": identity, "e": Colour.RED, "s": {1}, "t": (1, 2), "day": datetime.date(2026, 1, 2), "cut": "\ud83d"})
    [[event]] = gate.requests
    assert event["properties"] == {"d": 1.5, "u": str(identity), "e": "red", "s": [1], "t": [1, 2], "day": "2026-01-02", "cut": "\ufffd"}


def test_nothing_that_is_given_makes_a_call_raise(gate):
    class Hostile:
        def __str__(self):
            raise RuntimeError("no")

    loop = {}
    loop["self"] = loop
    deep = {}
    for _ in range(100_000):
        deep = {"d": deep}
    told = []
    with tidegate.Client("k", url=gate.url, on_delivery=told.append) as client:
        for properties in ({"x": float("nan")}, {"x": object()}, {"x": b"bytes"}, loop, deep, {(1, 2): 3}, [1], "text", 7):
            assert client.track("t", properties) is None, type(properties)
        for arguments in ({"event_type": ""}, {"event_type": None}, {"event_type": "t", "event_time": object()}, {"event_type": "t", "user_id": Hostile()},
                          {"event_type": "t", "event_id": "x" * 101}, {"event_type": "t", "context": 3}, {"event_type": "t", "event_time": 1e300}):
            assert client.track(**arguments) is None, arguments
        assert client.track("t", {"large": "x" * 300_000}) is None
        stats = balanced(client)
        assert stats.dropped_by == {"invalid": 16, "too_large": 1}
        until(lambda: len(told) == 17, "all of it is told")
        assert {delivery.outcome for delivery in told} == {"dropped"} and all(delivery.message for delivery in told)
    assert gate.requests == []


def test_a_scope_says_who_and_where(gate):
    with tidegate.Client("k", url=gate.url) as client:
        with tidegate.scope(user_id="u1", context={"page": {"url": "https://a"}}):
            with tidegate.scope(session_id="s1"):
                client.track("inner")
            client.track("outer", user_id="u2")
        client.track("outside")
    inner, outer, outside = gate.events
    assert (inner["user_id"], inner["session_id"], inner["context"]["page"]) == ("u1", "s1", {"url": "https://a"})
    assert outer["user_id"] == "u2" and "session_id" not in outer
    assert "user_id" not in outside and "page" not in outside["context"]


def test_batches_are_cut_by_number_bytes_and_time(gate):
    gate.hold()
    with tidegate.Client("k", url=gate.url, batch_events_max=10, batch_bytes_max=2_000, batch_seconds=0.2) as client:
        began = time.monotonic()
        client.track("first")
        until(lambda: gate.requests)
        assert time.monotonic() - began >= 0.19
        for number in range(25):
            client.track("t", {"n": number})
        client.track("t", {"large": "x" * 1_900})
        client.track("t", {"large": "x" * 1_900})
        gate.let_go()
        assert client.flush(SOON)
    sizes = [len(request) for request in gate.requests]
    assert sum(sizes) == 28 and max(sizes) <= 10 and sizes[-2:] == [1, 1]


def test_what_is_answered_event_by_event_is_counted_event_by_event(gate):
    def partial(events):
        rejected = [{"index": i, "event_id": e["event_id"], "code": "invalid_time", "field": "/event_time", "message": "is no time"} for i, e in enumerate(events) if e["event_type"] == "bad"]
        return 200, json.dumps({"success": True, "accepted": len(events) - len(rejected), "rejected": rejected}).encode(), {}

    gate.answer = partial
    told = []
    with tidegate.Client("k", url=gate.url, on_delivery=told.append) as client:
        good, bad = client.track("good"), client.track("bad")
        assert client.flush(SOON)
        stats = balanced(client)
        assert (stats.delivered, stats.rejected_by) == (1, {"invalid_time": 1})
    assert {d.event_id: (d.outcome, d.code, d.message) for d in told} == {good: ("delivered", "", ""), bad: ("rejected", "invalid_time", "/event_time is no time")}
    assert len(gate.requests) == 1


def test_the_same_events_are_sent_again_until_they_are_answered(gate):
    answers = [unavailable, lambda events: (200, b"<html>", {}), taken]
    gate.answer = lambda events: answers.pop(0)(events)
    with tidegate.Client("k", url=gate.url) as client:
        event_id = client.track("t")
        assert client.flush(SOON)
        assert balanced(client).retries == 2
    assert [[event["event_id"] for event in request] for request in gate.requests] == [[event_id]] * 3
    assert [headers["X-Retry-Count"] for headers in gate.headers] == ["0", "1", "2"]
    times = [event["sent_at"] for event in gate.events]
    assert len({event["event_time"] for event in gate.events}) == 1 and times == sorted(times)


def test_too_large_a_request_is_cut_in_half(gate):
    def is_huge(events):
        return any(event["event_type"] == "huge" for event in events)

    gate.answer = lambda events: (413, b"", {}) if len(events) > 2 or is_huge(events) else taken(events)
    with tidegate.Client("k", url=gate.url) as client:
        ids = [client.track("t") for _ in range(7)]
        client.track("huge")
        assert client.flush(SOON)
        stats = balanced(client)
        assert (stats.delivered, stats.dropped_by) == (7, {"too_large": 1})
    answered = [request for request in gate.requests if len(request) <= 2 and not is_huge(request)]
    assert sorted(event["event_id"] for request in answered for event in request) == sorted(ids)


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest", "block"])
def test_a_full_queue(gate, when_full):
    gate.hold()
    told = []
    client = tidegate.Client("k", url=gate.url, queue_events_max=10, batch_events_max=5, when_full=when_full, block_seconds=0.1, on_delivery=told.append)
    first = [client.track("sent", {"n": n}) for n in range(5)]
    until(lambda: gate.requests, "the first batch is on its way")
    began = time.monotonic()
    ids = [client.track("t", {"n": n}) for n in range(12)]
    took = time.monotonic() - began
    stats = balanced(client)
    assert stats.dropped_by == {"queue_full": 2} and stats.pending == 15
    if when_full == "drop_oldest":
        assert None not in ids
        kept = ids[2:]
    else:
        assert ids[10:] == [None, None]
        kept = ids[:10]
    assert took >= 0.2 if when_full == "block" else took < 0.1
    gate.let_go()
    assert client.close(SOON)
    assert sorted(event["event_id"] for event in gate.events) == sorted(first + kept)
    assert [delivery.code for delivery in told].count("queue_full") == 2


def test_a_call_that_waits_goes_on_when_there_is_room(gate):
    gate.hold()
    with tidegate.Client("k", url=gate.url, queue_events_max=1, batch_events_max=1, when_full="block", block_seconds=SOON) as client:
        client.track("sent")
        until(lambda: gate.requests)
        client.track("queued")
        waiting = threading.Thread(target=client.track, args=("waits",))
        waiting.start()
        time.sleep(0.1)
        assert waiting.is_alive()
        gate.let_go()
        waiting.join(SOON)
        assert client.flush(SOON) and balanced(client).delivered == 3


def test_bytes_bound_the_queue_too(gate):
    gate.hold()
    client = tidegate.Client("k", url=gate.url, queue_bytes_max=10_000)
    # Some may be on their way before the queue is full.
    for _ in range(10):
        client.track("t", {"x": "x" * 4_000})
    assert balanced(client).dropped_by["queue_full"] >= 4
    gate.let_go()
    assert client.close(SOON)


def test_a_queue_that_is_smaller_than_a_batch_is_sent_before_it_is_full(gate):
    with tidegate.Client("k", url=gate.url, queue_events_max=20, batch_seconds=60) as client:
        for number in range(200):
            client.track("t", {"n": number})
            time.sleep(0.005)
        assert balanced(client).dropped == 0 and gate.requests


def test_flush_and_close_keep_their_deadlines(gate):
    gate.answer = unavailable
    client = tidegate.Client("k", url=gate.url)
    client.track("t")
    began = time.monotonic()
    assert not client.flush(0.3)
    assert 0.25 < time.monotonic() - began < 2
    assert not client.close(0.3)
    assert time.monotonic() - began < 3
    assert client.track("late") is None
    stats = balanced(client)
    assert stats.dropped_by == {"closed": 2} and stats.pending == 0
    assert not client.close(0.3) or client.close(0.3)


def test_consent(gate):
    client = tidegate.Client("k", url=gate.url, enabled=False)
    assert client.track("before") is None and not client.enabled
    client.opt_in()
    first = client.track("agreed")
    assert client.flush(SOON)
    gate.hold()
    on_its_way = client.track("on its way")
    until(lambda: len(gate.requests) == 2)
    client.track("queued")
    client.opt_out()
    assert client.track("after") is None
    gate.let_go()
    assert client.close(SOON)
    stats = balanced(client)
    assert (stats.delivered, stats.dropped_by, stats.suppressed) == (2, {"opted_out": 1}, 2)
    assert [event["event_id"] for event in gate.events] == [first, on_its_way]


def test_a_callback_that_raises_is_no_matter(gate, caplog):
    def raises(delivery):
        raise RuntimeError("the application's fault")

    with caplog.at_level(logging.ERROR, "tidegate"), tidegate.Client("k", url=gate.url, on_delivery=raises) as client:
        client.track("t")
        client.track("t")
        assert client.flush(SOON) and balanced(client).delivered == 2
    assert "on_delivery failed" in caplog.text


def test_the_key_is_in_no_log(caplog):
    with caplog.at_level(logging.DEBUG, "tidegate"):
        client = tidegate.Client("tg_secret_key", url="http://127.0.0.1:1")
        client.track("t")
        client.close(0.5)
    assert caplog.records and "tg_secret_key" not in caplog.text


def test_wrong_settings_say_what_is_wrong():
    for settings, text in [
        ({"write_key": ""}, "tidegate source add"),
        ({"url": "events.example.com"}, "url must be like"),
        ({"when_full": "panic"}, "drop_newest"),
        ({"queue_events_max": 0}, "queue_events_max"),
        ({"context": {"x": object()}}, "context"),
    ]:
        with pytest.raises(ValueError, match=text):
            tidegate.Client(**({"write_key": "k"} | settings))
    with pytest.raises(ValueError, match="event loop"):
        tidegate.AsyncClient("k", when_full="block")


def test_from_many_threads(gate):
    with tidegate.Client("k", url=gate.url, queue_events_max=100_000) as client:
        threads = [threading.Thread(target=lambda: [client.track("t", {"n": n}) for n in range(2_000)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(SOON)
        assert balanced(client).delivered == 16_000
    assert len({event["event_id"] for event in gate.events}) == len(gate.events) == 16_000


def test_asyncio(gate):
    async def application():
        async with tidegate.AsyncClient("k", url=gate.url) as client:
            ids = [client.track("t", {"n": n}) for n in range(100)]
            assert await client.flush(SOON)
            assert balanced(client).delivered == 100
            return ids

    ids = asyncio.run(application())
    assert [event["event_id"] for event in gate.events] == ids


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_the_child_sends_its_own_and_the_parent_its_own(gate, tmp_path):
    program = """
import os, sys, tidegate
client = tidegate.Client("k", url=sys.argv[1], spool=sys.argv[2] or None)
client.track("before", {"who": "parent"})
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        client.track("after", {"who": f"child {number}"})
        done = client.close(10)
        os._exit(0 if done and client.stats().delivered == 1 else 1)
    children.append(child)
client.track("after", {"who": "parent"})
codes = [os.waitpid(child, 0)[1] for child in children]
assert client.close(10) and client.stats().delivered == 2, client.stats()
sys.exit(1 if any(codes) else 0)
"""
    for spool in ("", str(tmp_path / "spool")):
        gate.requests.clear()
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, gate.url, spool], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert sorted((event["event_type"], event["properties"]["who"]) for event in gate.events) == sorted(
            [("before", "parent"), ("after", "parent"), ("after", "child 0"), ("after", "child 1"), ("after", "child 2")]
        )


def test_a_process_that_ends_sends_what_it_has(gate):
    program = "import sys, tidegate; tidegate.Client('k', url=sys.argv[1]).track('last')"
    # The client is kept by nothing but the module.
    program = program.replace("tidegate.Client", "client = tidegate.Client").replace(".track", "; client.track")
    done = subprocess.run([sys.executable, "-c", program, gate.url], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert [event["event_type"] for event in gate.events] == ["last"]
