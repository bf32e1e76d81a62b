"""Code made of a tracking plan: what breaks the plan fails type checking, and what passes it is taken by the gate."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.testing import Micro

PLAN = Path(__file__).parents[2] / "vectors/plan.yaml"
GOOD = """
import tidegate
from events import PLAN, Events

client = tidegate.Client("k", url=URL, plan=PLAN)
events = Events(client)
events.order_completed({"total": 12.5, "currency": "EUR", "items": [{"sku": "a", "count": 2}], "tier": "paid", "gift-wrap": None, "anything": {"x": 1}}, user_id="u1")
events.class_({"import": "x"}, anonymous_id="a1")
events.class_()
events.ping(session_id="s1", event_id="p1")
assert client.close()
"""


@pytest.fixture
def made(tmp_path):
    command = [os.environ["TIDEGATE_BIN"], "plan", "codegen", str(PLAN), "--lang", "python", "--out", str(tmp_path / "events.py")]
    subprocess.run(command, check=True)
    return tmp_path


def mypy(folder, program):
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.fspath(folder / "cache"), "program.py", "events.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_what_passes_is_taken(made):
    checked = mypy(made, 'URL = ""\n' + GOOD)
    assert checked.returncode == 0, checked.stdout
    with Micro(plan=PLAN) as micro:
        subprocess.run([sys.executable, "-c", f"URL = {micro.url!r}\n{GOOD}"], cwd=made, check=True)
        assert micro.bad() == []
        assert [(event["event_type"], event["properties"]) for event in micro.good()] == [
            ("Order Completed", {"total": 12.5, "currency": "EUR", "items": [{"sku": "a", "count": 2}], "tier": "paid", "gift-wrap": None, "anything": {"x": 1}}),
            ("class", {"import": "x"}),
            ("class", {}),
            ("ping", {}),
        ]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ('events.order_completed({"totl": 1.0, "currency": "EUR"})', "totl"),
        ('events.order_completed({"currency": "EUR"})', "total"),
        ('events.order_completed({"total": "much", "currency": "EUR"})', "float"),
        ('events.order_completed({"total": 1.0, "currency": "EUR", "tier": "gold"})', "gold"),
        ('events.order_completed({"total": 1.0, "currency": "EUR", "items": [{"count": 1}]})', "sku"),
        ("events.order_completed()", "properties"),
        ('events.order_complete({"total": 1.0, "currency": "EUR"})', "order_complete"),
        ('events.ping(usr_id="u1")', "usr_id"),
    ],
)
def test_what_breaks_the_plan_fails(made, call, told):
    checked = mypy(made, f"import tidegate\nfrom events import Events\n\nevents = Events(tidegate.Client('k'))\n{call}\n")
    assert checked.returncode == 1 and "program.py:5: error" in checked.stdout and told in checked.stdout, checked.stdout
