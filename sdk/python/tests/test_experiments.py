"""Assignment, and exposures."""

import pytest
from test_client import SOON, balanced
from test_vectors import cases

import tidegate
from tidegate.experiments import Experiment, hashed
from tidegate.exposures import REMEMBERED_MAX, SESSION_SECONDS, Exposures

CHECKOUT = {"id": "checkout", "variations": ["control", "treatment"]}


@pytest.mark.parametrize("case", cases("hashing.json"))
def test_hashing(case):
    assert hashed(case["seed"], case["value"], case["version"]) == case["hash"]


@pytest.mark.parametrize("case", cases("assignment.json"), ids=lambda case: case["what"])
def test_assignment(case):
    experiment = Experiment.of(case["experiment"])
    assert {subject: experiment.variation(subject) for subject in case["variations"]} == case["variations"]


@pytest.mark.parametrize("version", [1, 2])
def test_shares_are_what_they_are_said_to_be(version):
    experiment = Experiment(id="e", variations=["a", "b", "c"], weights=[0.1, 0.3, 0.6], coverage=0.5, hash_version=version)
    subjects = [f"subject-{number}" for number in range(40_000)]
    found = [experiment.variation(subject) for subject in subjects]
    for variation, share in (("a", 0.05), ("b", 0.15), ("c", 0.3), (None, 0.5)):
        # Four standard deviations of a share of 40,000.
        assert found.count(variation) / len(found) == pytest.approx(share, abs=0.01), variation
    wider = Experiment(id="e", variations=["a", "b", "c"], weights=[0.1, 0.3, 0.6], coverage=0.9, hash_version=version)
    assert all(before is None or wider.variation(subject) == before for subject, before in zip(subjects, found)), "nobody is moved"


def test_wrong_experiments_say_what_is_wrong():
    for change, text in [
        ({"variations": ["one"]}, "two different"),
        ({"variations": "ab"}, "two different"),
        ({"variations": ["a", "a"]}, "two different"),
        ({"weights": [0.5, 0.6]}, "1 together"),
        ({"weights": [1.5, -0.5]}, "1 together"),
        ({"weights": [1]}, "2 shares"),
        ({"coverage": 1.5}, "coverage"),
        ({"hash_version": 3}, "hash_version"),
        ({"subject": "device"}, "subject"),
        ({"wieghts": [1]}, "no field wieghts"),
        ({"id": ""}, "no id"),
    ]:
        with pytest.raises(ValueError, match=text):
            tidegate.Client("k", experiments=[CHECKOUT | change])
    with pytest.raises(ValueError, match="lacks variations"):
        Experiment.of({"id": "e"})


def test_an_exposure_is_logged_once_a_session(gate):
    anonymous = {"id": "banner", "variations": ["off", "on"], "weights": [0, 1], "subject": "anonymous_id"}
    with tidegate.Client("k", url=gate.url, experiments=[CHECKOUT, anonymous, CHECKOUT | {"id": "nobody", "coverage": 0}]) as client:
        expected = Experiment.of(CHECKOUT).variation("user-1")
        assert [client.variation("checkout", user_id="user-1", session_id=session) for session in ("s1", "s1", "s2", "s1")] == [expected] * 4
        with tidegate.scope(user_id="user-2", anonymous_id="a1"):
            assert client.variation("checkout") == client.variation("checkout") is not None
            assert client.variation("banner") == "on"
        assert client.variation("banner", "off", user_id="user-1") == "off", "without the id that is assigned"
        assert client.variation("nobody", user_id="user-1") is None
        assert client.variation("unknown", "fallback", user_id="user-1") == "fallback"
        assert client.flush(SOON)
        client.opt_out()
        assert client.variation("checkout", user_id="user-3") is not None
        client.opt_in()
        assert client.variation("checkout", user_id="user-3") is not None
        assert client.flush(SOON)
        balanced(client)
    seen = [(e["properties"]["experiment_id"], e.get("user_id"), e.get("anonymous_id"), e.get("session_id")) for e in gate.events]
    assert {e["event_type"] for e in gate.events} == {"feature_exposure"} and gate.events[0]["properties"]["variation_id"] == expected
    assert seen == [
        ("checkout", "user-1", None, "s1"),
        ("checkout", "user-1", None, "s2"),
        ("checkout", "user-2", "a1", None),
        ("banner", "user-2", "a1", None),
        ("checkout", "user-3", None, None),
    ]


def test_what_was_logged_is_remembered_for_a_session_and_within_a_bound():
    exposures = Exposures()

    def check(expect, *what):
        assert exposures.is_first(*what) is expect, what

    check(True, "e", "a", "u", None, 0.0)
    check(False, "e", "a", "u", None, SESSION_SECONDS - 1.0)
    # Each look prolongs the session.
    check(False, "e", "a", "u", None, 2 * SESSION_SECONDS - 2.0)
    check(True, "e", "a", "u", None, 3 * SESSION_SECONDS)
    check(True, "e", "b", "u", None, 3 * SESSION_SECONDS)
    check(True, "e", "a", "u", "s", 0.0)
    check(False, "e", "a", "u", "s", 10 * SESSION_SECONDS)
    for number in range(REMEMBERED_MAX):
        check(True, "e", "a", f"n{number}", None, 0.0)
    check(True, "e", "a", "u", "s", 0.0)
