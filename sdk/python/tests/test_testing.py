"""What users' own tests are given."""

import pytest

import tidegate
from tidegate.testing import Micro

PLAN = """
version: "1"
types:
  signup:
    properties:
      tier: {type: string, enum: [free, paid]}
    required: [tier]
"""


def test_the_fixture_tells_what_came(tidegate_micro):
    with tidegate.Client("any key", url=tidegate_micro.url) as client:
        client.track("signup", {"tier": "free"}, user_id="u1")
        client.track("other", event_time="yesterday")
        client.track("again", event_id="e1")
        client.track("again", event_id="e1")
    good = tidegate_micro.wait_for(2)
    assert [(event["event_type"], event.get("user_id")) for event in good] == [("signup", "u1"), ("again", None)]
    assert tidegate_micro.good("signup")[0]["properties"] == {"tier": "free"}
    [bad] = tidegate_micro.bad()
    assert (bad["violations"][0]["code"], bad["payload"]["event_type"]) == ("invalid_time", "other")
    assert tidegate_micro.all() == {"total": 4, "good": 2, "bad": 1, "duplicates": 1}
    tidegate_micro.reset()
    assert tidegate_micro.all() == {"total": 0, "good": 0, "bad": 0, "duplicates": 0}
    with pytest.raises(TimeoutError, match="1 good events expected"):
        tidegate_micro.wait_for(1, timeout=0.05)


def test_a_plan_of_ones_own(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    with Micro(plan=tmp_path / "plan.yaml") as micro, tidegate.Client("any", url=micro.url) as client:
        client.track("signup", {"tier": "gold"})
        client.track("signup", {"tier": "paid"})
        assert client.flush()
        assert [event["properties"] for event in micro.good()] == [{"tier": "paid"}]
        [bad] = micro.bad()
        assert (bad["verdict"], bad["violations"][0]["field"]) == ("quarantined", "/properties/tier")


def test_what_is_wrong_is_said(tmp_path, monkeypatch):
    (tmp_path / "plan.yaml").write_text("types: 7")
    with pytest.raises(RuntimeError, match="plan.yaml"):
        Micro(plan=tmp_path / "plan.yaml")
    monkeypatch.delenv("TIDEGATE_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="TIDEGATE_BIN"):
        Micro()
