"""From a call to the bytes of one event."""

import datetime
import decimal
import enum
import json
import os
import random
import time
import uuid
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring as quoted
from typing import Any

EVENT_ID_CHARS_MAX = 100
EVENT_TYPE_CHARS_MAX = 256
EVENT_BYTES_MAX = 256 * 1024
"""Of an event's JSON: what the gate takes, unless it is set up otherwise."""
TYPES_KEPT_MAX = 1_000
SENT_AT_BYTES = len(',"sent_at":"2026-11-23T10:00:00.123Z"}')


class Unsendable(Exception):
    """What a call was given cannot be sent."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """`invalid` or `too_large`."""
        self.message = message


def id_start(millis: int) -> str:
    """How a UUIDv7 of these milliseconds since 1970 begins (RFC 9562, 5.7)."""
    return f"{millis >> 16 & 0xFFFF_FFFF:08x}-{millis & 0xFFFF:04x}-7"


def id_end(bits: int) -> str:
    """How it goes on: 74 of 80 random bits."""
    digits = f"{bits:020x}"
    return f"{digits[1:4]}-{'89ab'[bits >> 60 & 3]}{digits[5:8]}-{digits[8:]}"


def time_text(micros: int) -> str:
    """Microseconds since 1970 as `2026-11-23T10:00:00.123Z`."""
    second, rest = divmod(micros, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest // 1000:03d}Z"


# Ids have to be unique, not secret.
_random = random.Random()
_bits = _random.getrandbits
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)

_now = (-1, "", "")
"""The last millisecond: its number, how ids of it begin, its text. A busy application asks for the same one many times."""


def _millisecond(millis: int) -> tuple[int, str, str]:
    global _now
    # One assignment, so that no thread sees the half of it.
    _now = found = (millis, id_start(millis), time_text(millis * 1000))
    return found


def _plain(value: Any) -> Any:
    """What stands in JSON for things that are not of JSON."""
    if isinstance(value, datetime.datetime):
        return time_text(int(value.timestamp() * 1_000_000))
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        raise TypeError("bytes are not JSON; send them as text, such as base64")
    raise TypeError(f"a {type(value).__name__} is not JSON")


def _encoder() -> Callable[[Any], str]:
    made = getattr(json.encoder, "c_make_encoder", None)
    if made is None:
        return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode
    # What `encode` makes anew at each call is the greater part of what it takes. Without markers a loop ends in a RecursionError.
    chunks = made(None, _plain, quoted, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


_encode = _encoder()


def object_text(name: str, value: Mapping[str, Any]) -> str:
    """The JSON of properties or a context.

    Raises `Unsendable` where they are none.
    """
    if type(value) is not dict:
        if not isinstance(value, Mapping):
            raise Unsendable("invalid", f"{name} must be a mapping, is a {type(value).__name__}")
        value = dict(value)
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsendable("invalid", f"{name} cannot be written as JSON: {error}") from None


def event_time_text(value: datetime.datetime | int | float | str) -> str:
    """A time of the caller's: aware, or naive in local time; seconds since 1970; or a text, which is for the gate to read."""
    if isinstance(value, str):
        return value
    try:
        seconds = value.timestamp() if isinstance(value, datetime.datetime) else float(value)
        return time_text(int(seconds * 1_000_000))
    except (ValueError, TypeError, OverflowError, OSError, AttributeError) as error:
        raise Unsendable("invalid", f"event_time is no time: {error}") from None


_types: dict[str, str] = {}
"""Event types as JSON: an application has few."""


def _known_type(event_type: str) -> str:
    if not isinstance(event_type, str) or not 0 < len(event_type) <= EVENT_TYPE_CHARS_MAX:
        raise Unsendable("invalid", f"the event type must be a text of 1 to {EVENT_TYPE_CHARS_MAX} characters")
    written = quoted(event_type)
    if len(_types) < TYPES_KEPT_MAX:
        _types[event_type] = written
    return written


def event_bytes(
    event_type: str,
    properties: Mapping[str, Any] | None,
    user_id: Any,
    anonymous_id: Any,
    session_id: Any,
    name: Any,
    event_time: Any,
    event_id: Any,
    context: str,
    nanos: int,
    bits: int,
) -> tuple[str, bytes]:
    """The event's id, and its JSON without the brace at its end: `sent_at` is written when it is sent.

    `context` is JSON already, and left out where it is empty; `nanos` is now, `bits` are 80 random ones. Raises `Unsendable`.
    """
    millis = nanos // 1_000_000
    now = _now
    _, begin, when = now if now[0] == millis else _millisecond(millis)
    try:
        event_type = _types[event_type]
    except (KeyError, TypeError):
        event_type = _known_type(event_type)
    if event_id is None or event_id == "":
        own_id = begin + id_end(bits)
        text = f'{{"event_id":"{own_id}","event_type":{event_type},"event_time":'
    else:
        own_id = str(event_id)
        if len(own_id) > EVENT_ID_CHARS_MAX:
            raise Unsendable("invalid", f"the event id has {len(own_id)} characters, at most {EVENT_ID_CHARS_MAX} are taken")
        text = f'{{"event_id":{quoted(own_id)},"event_type":{event_type},"event_time":'
    text += f'"{when}"' if event_time is None else quoted(event_time_text(event_time))
    if user_id is not None and user_id != "":
        text += f',"user_id":{quoted(user_id if type(user_id) is str else str(user_id))}'
    if anonymous_id is not None and anonymous_id != "":
        text += f',"anonymous_id":{quoted(anonymous_id if type(anonymous_id) is str else str(anonymous_id))}'
    if session_id is not None and session_id != "":
        text += f',"session_id":{quoted(session_id if type(session_id) is str else str(session_id))}'
    if name is not None and name != "":
        text += f',"name":{quoted(name if type(name) is str else str(name))}'
    if properties is not None:
        written = object_text("properties", properties)
        if written != "{}":
            text += f',"properties":{written}'
    if context:
        text += f',"context":{context}'
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        # Half of a character from outside the basic plane, as from a text that was cut: no UTF-8 can hold it.
        payload = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if len(payload) + SENT_AT_BYTES > EVENT_BYTES_MAX:
        raise Unsendable("too_large", f"the event has {len(payload) + SENT_AT_BYTES} bytes of JSON, at most {EVENT_BYTES_MAX} are taken")
    return own_id, payload


def random_bits() -> int:
    """80 of them."""
    return _bits(80)


def with_sent_at(payload: bytes, sent_at: bytes) -> bytes:
    """The whole event."""
    return payload + b',"sent_at":"' + sent_at + b'"}'
