"""Experiments as flags of OpenFeature."""

import asyncio

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

import tidegate
from tidegate.openfeature import TidegateProvider

EXPERIMENTS = [
    {"id": "checkout", "variations": ["control", "treatment"], "weights": [0, 1]},
    {"id": "quiet", "variations": ["control", "treatment"], "coverage": 0},
    {"id": "banner", "variations": ["off", "on"], "weights": [1, 0], "subject": "anonymous_id"},
]


def test_flags_are_variations(gate):
    client = tidegate.Client("k", url=gate.url, experiments=EXPERIMENTS)
    api.set_provider(TidegateProvider(client))
    try:
        flags = api.get_client()
        user = EvaluationContext(targeting_key="u1", attributes={"session_id": "s1"})
        text = flags.get_string_details("checkout", "control", user)
        assert (text.value, text.variant, text.reason) == ("treatment", "treatment", Reason.SPLIT)
        assert flags.get_boolean_value("checkout", False, user) is True
        assert asyncio.run(flags.get_string_value_async("checkout", "control", user)) == "treatment"
        assert flags.get_boolean_value("banner", True, EvaluationContext(attributes={"anonymous_id": "a1"})) is False
        with tidegate.scope(user_id="u2"):
            assert flags.get_string_value("checkout", "control") == "treatment"
        outside = flags.get_string_details("quiet", "default", user)
        assert (outside.value, outside.reason) == ("default", Reason.DEFAULT)
        for details, code in [
            (flags.get_string_details("unknown", "default", user), ErrorCode.FLAG_NOT_FOUND),
            (flags.get_string_details("checkout", "default"), ErrorCode.TARGETING_KEY_MISSING),
            (flags.get_integer_details("checkout", 7, user), ErrorCode.TYPE_MISMATCH),
            (flags.get_float_details("checkout", 7.5, user), ErrorCode.TYPE_MISMATCH),
            (flags.get_object_details("unknown", {"x": 1}, user), ErrorCode.FLAG_NOT_FOUND),
        ]:
            assert details.error_code == code and details.value in ("default", 7, 7.5, {"x": 1})
        flags.track("purchase", user, TrackingEventDetails(12.5, {"currency": "EUR"}))
    finally:
        api.clear_providers()
    assert client.close(10)
    seen = [(e["event_type"], e["properties"].get("experiment_id"), e.get("user_id"), e.get("anonymous_id"), e.get("session_id")) for e in gate.events]
    assert seen == [
        ("feature_exposure", "checkout", "u1", None, "s1"),
        ("feature_exposure", "banner", None, "a1", None),
        ("feature_exposure", "checkout", "u2", None, None),
        ("conversion", None, "u1", None, "s1"),
    ]
    assert (gate.events[-1]["name"], gate.events[-1]["properties"]) == ("purchase", {"value": 12.5, "currency": "EUR"})
