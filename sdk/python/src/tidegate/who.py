"""What a typed call takes besides its properties; for type checkers."""

from collections.abc import Mapping
from typing import Any, TypedDict

from tidegate.client import Time


class Who(TypedDict, total=False):
    """As in `Client.track`."""

    user_id: Any
    anonymous_id: Any
    session_id: Any
    name: str | None
    event_time: Time | None
    event_id: str | None
    context: Mapping[str, Any] | None
