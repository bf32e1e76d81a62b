"""Events for tests, sent to a server."""

import json
import urllib.request


def send(server, first: int, count: int) -> None:
    """Sends page views and conversions with the ids `e{first}` and on, over all days of March 2026."""
    events = [
        {
            "event_id": f"e{number}",
            "event_type": "conversion" if number % 3 == 0 else "page_view",
            "event_time": f"2026-03-{1 + number % 28:02}T12:00:00Z",
            "anonymous_id": f"a{number % 50}",
            "properties": {},
        }
        for number in range(first, first + count)
    ]
    request = urllib.request.Request(f"{server.url}/v1/events", json.dumps(events).encode(), {"Authorization": f"Bearer {server.key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["accepted"] == count
