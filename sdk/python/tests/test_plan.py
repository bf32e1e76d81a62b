"""Events that break the tracking plan, before they are sent."""

import json
import logging

import pytest
from test_client import SOON, balanced, until

import tidegate
from tidegate.plan import VIOLATIONS_MAX, Plan

PLAN = {"version": "1", "default_policy": "reject", "types": {"signup": {"properties": {"tier": {"enum": ["free", "paid"]}, "at": {"type": "string"}}, "required": ["tier"]}}}


def test_what_the_gate_would_refuse_is_not_sent(gate):
    told = []
    with tidegate.Client("k", url=gate.url, plan=json.dumps(PLAN), on_delivery=told.append) as client:
        good = client.track("signup", {"tier": "free"}, user_id="u1")
        assert client.track("signup", {"tier": "gold"}, user_id="u1") is None
        assert client.track("signup", user_id="u1") is None
        assert client.track("other") is not None
        assert client.flush(SOON)
        stats = balanced(client)
        assert (stats.delivered, stats.rejected_by) == (2, {"not_in_enum": 1, "missing_property": 1})
        until(lambda: len(told) == 4, "all of it is told")
    assert [event["event_id"] for event in gate.events][0] == good and len(gate.events) == 2
    assert [(found.outcome, found.code) for found in told if found.outcome != "delivered"] == [("rejected", "not_in_enum"), ("rejected", "missing_property")]
    assert all("/properties/tier" in found.message for found in told if found.outcome == "rejected")


def test_what_is_checked_is_what_is_sent(gate):
    import datetime

    with tidegate.Client("k", url=gate.url, plan=PLAN) as client:
        with tidegate.scope(user_id="u1"):
            assert client.track("signup", {"tier": "free", "at": datetime.date(2026, 11, 1)}) is not None
        assert client.flush(SOON) and balanced(client).delivered == 1


@pytest.mark.parametrize("policy", ["quarantine", "flag"])
def test_what_the_gate_takes_is_sent_and_logged(gate, caplog, policy):
    with caplog.at_level(logging.WARNING, "tidegate"), tidegate.Client("k", url=gate.url, plan=PLAN | {"default_policy": policy}) as client:
        assert client.track("signup", {"tier": "gold"}) is not None
        assert client.flush(SOON) and balanced(client).delivered == 1
    assert "breaks the tracking plan (not_in_enum): /properties/tier" in caplog.text


def test_a_plan_that_is_none_is_an_error_when_the_client_is_made():
    for plan in ("{", "[]", {"types": {"t": {"properties": {"x": {"type": "txt"}}}}}, {"types": {"t": {"properties": {"x": {"$ref": "https://a/b"}}}}}):
        with pytest.raises(ValueError, match="tracking plan cannot be read"):
            tidegate.Client("k", plan=plan)


def test_no_more_is_told_than_can_be_read():
    assert len(Plan(PLAN | {"types": {"t": {"additional_properties": False}}}).check("t", True, {str(n): 1 for n in range(100)})) == VIOLATIONS_MAX
    assert len(Plan(PLAN | {"types": {"t": {"additional_properties": False}}}).check("t", True, {"x" * 1_000: 1})[0].field) < 200
