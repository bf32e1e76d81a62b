"""What a tracking plan says of an event, before it is sent: the gate's verdicts. Needs `pip install "tidegate[plan]"`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

VIOLATIONS_MAX = 20
"""Told of one event at most."""
POINTER_TOKEN_CHARS_MAX = 128
FEATURE_EXPOSURE = "feature_exposure"
CODES = {
    "required": "missing_property",
    "type": "wrong_type",
    "enum": "not_in_enum",
    "const": "not_in_enum",
    "additionalProperties": "unknown_property",
    "unevaluatedProperties": "unknown_property",
}
"""By the keyword of a schema; all others violate it."""


@dataclass(frozen=True)
class Violation:
    """One thing that is wrong with an event."""

    code: str
    field: str
    """A JSON pointer, such as `/properties/price`; empty for the event itself."""
    message: str


class Plan:
    """The rules of a plan, as the code has them that `tidegate plan codegen` makes."""

    def __init__(self, rules: str | Mapping[str, Any]) -> None:
        """Raises `ValueError` where they are no rules, or the library that checks schemas is not installed."""
        try:
            document: Mapping[str, Any] = json.loads(rules) if isinstance(rules, str) else rules
            self.policy: str = document.get("default_policy", "quarantine")
            self._refuses_unknown = document.get("unknown_types", "allow") == "violation"
            self._requires_subject: bool = document.get("require_subject", False)
            definitions = document.get("definitions", {})
            self._types = {name: _Type(rules, definitions) for name, rules in document.get("types", {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"the tracking plan cannot be read: {error}") from None

    def check(self, event_type: str, has_subject: bool, properties: Mapping[str, Any]) -> list[Violation]:
        """What is wrong with an event; a property that is null counts as absent."""
        return list(islice(self._violations(event_type, has_subject, properties), VIOLATIONS_MAX))

    def _violations(self, event_type: str, has_subject: bool, properties: Mapping[str, Any]) -> Iterator[Violation]:
        known = self._types.get(event_type)
        if known is None and self._refuses_unknown:
            yield Violation("unknown_event_type", "/event_type", "is not in the tracking plan; add the type to the plan, or correct its spelling")
        # Who saw a variation is what an exposure says, so one without a subject says nothing, whatever the plan.
        demanded = self._requires_subject if known is None or known.requires_subject is None else known.requires_subject
        if (demanded or event_type == FEATURE_EXPOSURE) and not has_subject:
            yield Violation("missing_subject", "", "has neither a user id nor an anonymous id; send at least one")
        if known is not None:
            yield from known.violations({name: value for name, value in properties.items() if value is not None})


class _Type:
    """One event type."""

    def __init__(self, rules: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
        self.requires_subject: bool | None = rules.get("require_subject")
        self._properties = {name: _validator(schema, definitions) for name, schema in rules.get("properties", {}).items()}
        self._required: list[str] = rules.get("required", [])
        self._allows_others: bool = rules.get("additional_properties", True)
        self._whole = _validator(rules["schema"], definitions) if "schema" in rules else None

    def violations(self, properties: dict[str, Any]) -> Iterator[Violation]:
        for name in self._required:
            if name not in properties:
                yield Violation("missing_property", f"/properties/{_token(name)}", "is required by the tracking plan")
        for name, value in properties.items():
            if (validator := self._properties.get(name)) is not None:
                yield from _check(validator, f"/properties/{_token(name)}", value)
            elif not self._allows_others:
                yield Violation("unknown_property", f"/properties/{_token(name)}", "is not in the tracking plan for this type")
        if self._whole is not None:
            yield from _check(self._whole, "/properties", properties)


def _validator(schema: Any, definitions: Mapping[str, Any]) -> Any:
    try:
        from jsonschema_rs import Draft202012Validator, RegexOptions
    except ImportError:
        raise ValueError('events are checked by jsonschema-rs; install it with `pip install "tidegate[plan]"`') from None
    if isinstance(schema, dict) and definitions:
        schema = {"$defs": definitions, **schema}
    # It is the library of the gate, set up as there.
    return Draft202012Validator(schema, validate_formats=True, ignore_unknown_formats=False, pattern_options=RegexOptions(), mask="it", offline=True)


def _check(validator: Any, field: str, value: Any) -> Iterator[Violation]:
    if validator.is_valid(value):
        return
    for error in validator.iter_errors(value):
        place = field + "".join(f"/{_token(str(part))}" for part in error.instance_path)
        if error.kind.name == "required":
            place += f"/{_token(error.kind.property)}"
        code = CODES.get(error.kind.name, "violates_schema")
        yield Violation(code, place, f"does not fit the tracking plan: {error.message}")


def _token(key: str) -> str:
    """A key as one part of a JSON pointer (RFC 6901)."""
    cut = key if len(key) <= POINTER_TOKEN_CHARS_MAX else key[:POINTER_TOKEN_CHARS_MAX] + "…"
    return cut.replace("~", "~0").replace("/", "~1")
