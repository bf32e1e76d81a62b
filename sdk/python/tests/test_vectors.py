"""The vectors that all SDKs share."""

import json
from pathlib import Path

import pytest

from tidegate.answers import meaning, pause
from tidegate.event import Unsendable, event_bytes, id_end, id_start, object_text, time_text, with_sent_at
from tidegate.plan import Plan

VECTORS = Path(__file__).parents[2] / "vectors"
LIBRARY = {"name": "tidegate-test", "version": "1.2.3"}
NANOS = 1_795_428_000_123_000_000
BITS = 0x0CC398C4DC0C0C07398F


def cases(name):
    found = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    assert found
    return found


@pytest.mark.parametrize("case", cases("ids.json"))
def test_ids(case):
    assert id_start(case["millis"]) + id_end(int(case["random"], 16)) == case["event_id"]


@pytest.mark.parametrize("case", cases("times.json"))
def test_times(case):
    assert time_text(case["micros"]) == case["text"]


@pytest.mark.parametrize("case", cases("events.json"), ids=lambda case: case["what"])
def test_events(case):
    call = dict(case["call"])
    for field, length in case.get("repeat", {}).get("properties", {}).items():
        call["properties"] = {field: "x" * length}

    def made():
        context = call.pop("context", {})
        if not isinstance(context, dict):
            object_text("context", context)
        fields = ("event_type", "properties", "user_id", "anonymous_id", "session_id", "name", "event_time", "event_id")
        assert call.keys() <= set(fields)
        _, payload = event_bytes(*(call.get(name) for name in fields), object_text("context", {"library": LIBRARY} | context), NANOS, BITS)
        return payload

    if "dropped" in case:
        with pytest.raises(Unsendable) as raised:
            made()
        assert raised.value.code == case["dropped"]
        return
    event = json.loads(with_sent_at(made(), b"2026-11-23T10:00:01.000Z"))
    assert event.pop("sent_at") == "2026-11-23T10:00:01.000Z"
    if "event_id" not in case["call"] or not case["call"]["event_id"]:
        assert event["event_id"] == id_start(NANOS // 1_000_000) + id_end(BITS)
        event["event_id"] = case["event"]["event_id"]
    assert event == case["event"]
    assert list(event) == list(case["event"]), "the order of the fields"


@pytest.mark.parametrize("case", cases("answers.json"), ids=lambda case: case["what"])
def test_answers(case):
    body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])
    told = meaning(case["sent"], case["status"], body.encode())
    if case["fate"] == "split":
        assert told.split
        return
    if case["fate"] == [{"dropped": "too_large"}]:
        # One event: there is nothing to be cut in half.
        assert told.split and case["sent"] == 1
        return
    assert not told.split
    fate = []
    for place in range(case["sent"]):
        if place in told.rejected:
            fate.append({"rejected": told.rejected[place].code})
        else:
            fate.append("again" if place in told.again else "delivered")
    assert fate == case["fate"]


@pytest.mark.parametrize(("plan", "case"), [(plan["plan"], case) for plan in cases("verdicts.json") for case in plan["cases"]], ids=lambda value: value.get("what", ""))
def test_verdicts(plan, case):
    event = case["event"]
    found = Plan(plan).check(event["event_type"], bool(event.get("user_id") or event.get("anonymous_id")), event.get("properties", {}))
    assert {(violation.code, violation.field) for violation in found} == {tuple(expected) for expected in case["violations"]}
    assert all(violation.message for violation in found)


@pytest.mark.parametrize("case", cases("backoff.json"))
def test_backoff(case):
    assert pause(case["attempt"], case["retry_after"], case["random"]) == pytest.approx(case["seconds"])


def test_retry_after_is_heeded_with_429_and_503_only():
    assert meaning(1, 429, b"", "7").retry_after == 7
    assert meaning(1, 503, b"", " 7 ").retry_after == 7
    for status, text in ((500, "7"), (429, None), (429, "soon"), (429, "Wed, 21 Oct 2026 07:28:00 GMT"), (429, "-1"), (429, "²")):
        assert meaning(1, status, b"", text).retry_after is None, (status, text)
