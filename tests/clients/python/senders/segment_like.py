"""Sends a known set of calls with one of the Python clients: `segment_like.py MODULE HOST KEY [gzip]`. The last line printed is the failures, as JSON."""

import importlib
import json
import sys
from datetime import datetime, timezone

module, host, key = sys.argv[1:4]
client_module = importlib.import_module(module)
failures = []
client = client_module.Client(
    key,
    host=host,
    gzip="gzip" in sys.argv[4:],
    upload_size=40,
    on_error=lambda error, batch: failures.append(f"{error}: {len(batch)} events"),
)
when = datetime(2026, 3, 29, 12, 34, 56, 789000, tzinfo=timezone.utc)
client.identify("user-1", {"email": "ada@example.com", "plan": "pro"}, message_id="identify-1", timestamp=when)
client.page("user-1", "Docs", "Home", {"url": "https://example.com/docs?q=1", "path": "/docs", "title": "Docs"}, message_id="page-1", timestamp=when)
for number in range(120):
    client.track(
        "user-1",
        "Order Completed",
        {"price": 12.5, "number": number, "name": "Zoë ✓", "tags": ["a", "b"], "nothing": None},
        context={"campaign": {"source": "mail", "name": "spring"}},
        timestamp=when,
        anonymous_id="anonymous-1",
        message_id=f"track-{number}",
    )
client.track(
    None,
    "Experiment Viewed",
    {"experiment_id": "checkout", "variation_id": "treatment"},
    anonymous_id="anonymous-1",
    timestamp=when,
    message_id="exposure-1",
)
client.flush()
client.join()
print(json.dumps(failures))
