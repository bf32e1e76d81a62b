"""What an answer of the gate means for each event of a request, and how long to wait for the next attempt. Pure: docs/sdk-contract.md, "What an answer means"."""

import json
from dataclasses import dataclass
from typing import Any

PAUSE_BASE_SECONDS = 0.5
PAUSE_MAX_SECONDS = 60.0
RETRY_AFTER_MAX_SECONDS = 300

_FINAL = frozenset({400, 401, 403, 404, 422})
_TOO_LARGE = 413
_WAIT = frozenset({429, 503})
"""With these `Retry-After` is heeded."""
_RESEND_CODES = frozenset({"incomplete_body"})


@dataclass(frozen=True)
class Rejected:
    """The gate refused the event by name."""

    code: str
    message: str


@dataclass
class Meaning:
    """Of one answer."""

    rejected: dict[int, Rejected]
    """By place in the request."""
    again: set[int]
    """Places of those that are to be sent again. All others are delivered."""
    split: bool = False
    """The request is too large: send it in halves."""
    retry_after: int | None = None
    """Seconds that the gate asked for."""


def meaning(sent: int, status: int, body: bytes, retry_after: str | None = None) -> Meaning:
    """Of the answer to a request of so many events."""
    document = _document(body)
    if status == 200 and document.get("success") is True:
        return Meaning(_rejected(document, sent), set())
    if status == _TOO_LARGE:
        return Meaning({}, set(), split=True)
    code = document.get("code")
    if status in _FINAL and isinstance(code, str) and code not in _RESEND_CODES:
        by_name = _rejected(document, sent)
        if by_name:
            return Meaning(by_name, set(range(sent)) - by_name.keys())
        return Meaning(dict.fromkeys(range(sent), Rejected(code, _text(document.get("message")))), set())
    return Meaning({}, set(range(sent)), retry_after=_seconds(retry_after) if status in _WAIT else None)


def pause(attempt: int, retry_after: int | None, random: float) -> float:
    """Seconds to wait before an attempt, 0 being the first one; `random` is in [0, 1)."""
    if attempt == 0:
        return 0.0
    # Beyond 2^10 half a second the cap holds anyway.
    jitter = random * min(PAUSE_MAX_SECONDS, PAUSE_BASE_SECONDS * 2.0 ** min(attempt - 1, 10))
    return jitter + (0 if retry_after is None else min(max(retry_after, 1), RETRY_AFTER_MAX_SECONDS))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _rejected(document: dict[str, Any], sent: int) -> dict[int, Rejected]:
    found: dict[int, Rejected] = {}
    notices = document.get("rejected")
    for notice in notices if isinstance(notices, list) else []:
        if isinstance(notice, dict) and type(index := notice.get("index")) is int and 0 <= index < sent:
            field, message = _text(notice.get("field")), _text(notice.get("message"))
            found[index] = Rejected(_text(notice.get("code")), f"{field} {message}".strip())
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: str | None) -> int | None:
    return int(value) if value is not None and value.strip().isascii() and value.strip().isdigit() else None
