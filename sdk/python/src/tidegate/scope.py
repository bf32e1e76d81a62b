"""Who and what the events of one request, task or thread are about, without handing it down through every call."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scope:
    """What events are given where the call itself does not say it."""

    user_id: Any = None
    anonymous_id: Any = None
    session_id: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)


NO_SCOPE = Scope()
current: ContextVar[Scope] = ContextVar("tidegate_scope", default=NO_SCOPE)


@contextmanager
def scope(
    *,
    user_id: Any = None,
    anonymous_id: Any = None,
    session_id: Any = None,
    context: Mapping[str, Any] | None = None,
) -> Iterator[Scope]:
    """Within it, events have these ids and this context, where the call does not say otherwise. Scopes nest: the inner one adds to the outer one.

    It follows the flow of control as `contextvars` do, also through `await`.
    """
    outer = current.get()
    inner = Scope(
        user_id=outer.user_id if user_id is None else user_id,
        anonymous_id=outer.anonymous_id if anonymous_id is None else anonymous_id,
        session_id=outer.session_id if session_id is None else session_id,
        context={**outer.context, **(context or {})},
    )
    token = current.set(inner)
    try:
        yield inner
    finally:
        current.reset(token)
