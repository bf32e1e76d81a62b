"""What schemathesis cannot know of the gate, what it is to look at besides, and which of its findings are none."""

import base64
import json
import os

import jsonschema_rs
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

KEY = os.environ["TIDEGATE_TEST_KEY"]
EVENTS = "/v1/events"
CODES = {}
CALLS = {}

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
tracks = st.fixed_dictionaries({"event": words}, optional={"type": st.just("track"), "userId": words, "properties": st.dictionaries(words, words)})
natives = st.fixed_dictionaries({"event_type": words}, optional={"event_id": words, "properties": st.dictionaries(words, words | st.integers())})


def base64_of(value: dict) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


# JSON Schema can say of a text that it is base64 of JSON of some shape, but nobody guesses such a text.
schemathesis.openapi.format("tidegate-call-in-base64", tracks.map(base64_of))
schemathesis.openapi.format("tidegate-json-object", st.dictionaries(words, words, max_size=3).map(json.dumps))
# Nor a key.
schemathesis.openapi.format("tidegate-write-key", st.just(KEY))
# OpenAPI 3.1 has no way to describe the lines of a body.
schemathesis.openapi.media_type(
    "application/x-ndjson", st.lists(natives, min_size=1, max_size=4).map(lambda events: "\n".join(map(json.dumps, events)).encode())
)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Names the formats above where they belong. The description itself has nothing of it."""
    components = raw_schema["components"]
    components["schemas"]["WriteKey"]["format"] = "tidegate-write-key"
    raw_schema["paths"]["/v1/projects/{key}/settings"]["get"]["parameters"][0]["schema"]["format"] = "tidegate-write-key"
    for name in ("PixelData", "PixelTrackData"):
        components["pathItems"][name]["get"]["parameters"][0]["schema"] = {"type": "string", "format": "tidegate-call-in-base64"}
    for name in ("Properties", "Context"):
        components["parameters"][name]["schema"] = {"type": "string", "format": "tidegate-json-object"}
    components["schemas"]["CloudEvent"]["properties"]["data_base64"]["format"] = "byte"
    for name, response in components["responses"].items():
        CODES[name] = set(codes_in(response))
    for name in ("SegmentBatch", "SegmentCall"):
        schema = {"$ref": f"#/components/schemas/{name}", "components": components}
        CALLS[name] = jsonschema_rs.validator_for(schema, validate_formats=True)


def codes_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("code"), dict):
            yield from value["code"].get("examples", ())
        for inner in value.values():
            yield from codes_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from codes_in(inner)


NAMES = {400: "Malformed", 401: "Unauthorized", 403: "Forbidden", 413: "TooLarge", 429: "Wait", 503: "Closing"}


@schemathesis.check
def codes_are_described(ctx, response, case):
    """Programs go by the codes: each that is answered stands under its status in the description."""
    if response.status_code not in NAMES:
        return
    is_picture = response.headers.get("content-type") == ["image/gif"]
    code = response.headers.get("x-tidegate-code", [None])[0] if is_picture else response.json()["code"]
    assert code in CODES[NAMES[response.status_code]], f"the code {code} is not described under {response.status_code}"


@schemathesis.check
def unserved_methods_are_final(ctx, response, case):
    """Another method than those described is answered 404 with an error as all others are. No client is known to send again after 405, but after 404
    all are known not to; `Allow` says what is served, as with 405."""
    if case.method.lower() in {method.lower() for method in case.operation.schema[case.operation.path]} | {"head", "options"}:
        return
    assert response.status_code == 404, f"{case.method} is answered {response.status_code}"
    assert response.headers.get("allow"), f"{case.method} is answered without Allow"
    assert response.json()["code"] == "not_found"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a finding is one."""
    if isinstance(failure, RejectedPositiveData):
        return not (is_packed(case) or is_binary(case) and not is_whole(case))
    if isinstance(failure, AcceptedNegativeData):
        return not (is_taken_in_part(response) or is_of_unread_headers(case) or is_in_unused_fields(case) or is_body_of_binary(case))
    return True


def is_packed(case) -> bool:
    """Whether the body should be packed, as the header says: schemathesis sends all bodies as they are."""
    return case.headers.get("Content-Encoding") not in (None, "", "identity")


def is_binary(case) -> bool:
    """Whether this is a CloudEvent in binary mode."""
    structured = (case.media_type or "").startswith("application/cloudevents")
    return case.path == EVENTS and not structured and bool({"ce-specversion", "ce-id"} & names_of(case.headers))


def is_whole(case) -> bool:
    """Whether all attributes are there that a CloudEvent in binary mode needs. OpenAPI cannot say of headers that they belong together."""
    return {"ce-specversion", "ce-id", "ce-source", "ce-type"} <= names_of(case.headers)


def is_of_unread_headers(case) -> bool:
    """Whether nothing is wrong but headers of a CloudEvent, and the event is none in binary mode: they mean nothing then."""
    wrong = {location for location in ParameterLocation if case.meta.is_negative_at(location)}
    return case.path == EVENTS and wrong == {ParameterLocation.HEADER} and not is_packed(case) and not is_binary(case)


def is_body_of_binary(case) -> bool:
    """Whether nothing is wrong but the body of a CloudEvent in binary mode, which may be anything, or nothing."""
    wrong = {location for location in ParameterLocation if case.meta.is_negative_at(location)}
    return wrong == {ParameterLocation.BODY} and is_binary(case) and is_whole(case)


def is_in_unused_fields(case) -> bool:
    """Whether what is wrong in a call or batch of Segment's shape is in fields that a call of its type does not use. They are kept as they came: those
    clients are others' and send what they like there, and to refuse it would lose their events."""
    if case.path == EVENTS or not isinstance(case.body, dict):
        return False
    calls = case.body.get("batch", [case.body])
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        return False
    if "batch" in case.body and not CALLS["SegmentBatch"].is_valid({**case.body, "batch": [], **({} if calls else {"sentAt": None})}):
        return False
    call_of_path = case.path.rsplit("/", 1)[-1]
    return all(CALLS["SegmentCall"].is_valid(used(call, call.get("type") or CALL_OF_PATH.get(call_of_path, call_of_path))) for call in calls)


USED = {"type", "messageId", "timestamp", "sentAt", "userId", "anonymousId", "session_id", "context", "channel"}
USED_BY = {
    "track": {"event", "properties"},
    "page": {"name", "properties", "category"},
    "screen": {"name", "properties", "category"},
    "identify": {"traits"},
    "group": {"traits", "groupId"},
    "alias": {"properties", "previousId"},
}
CALL_OF_PATH = {name[0]: name for name in USED_BY}


def used(call: dict, kind: object) -> dict:
    """Those fields of a call that are used. Its second time is, where it has no first."""
    names = USED | (USED_BY.get(kind, set()) if isinstance(kind, str) else set())
    if call.get("timestamp") is None:
        names = names | {"originalTimestamp"}
    return {name: value for name, value in call.items() if name in names}


def names_of(headers) -> set[str]:
    return {name.lower() for name in headers}


def is_taken_in_part(response) -> bool:
    """Whether the events that are wrong were refused and the others taken. That is answered 200, and `rejected` says of each what is wrong."""
    return response.status_code == 200 and "json" in response.headers.get("content-type", [""])[0] and bool(response.json().get("rejected"))
