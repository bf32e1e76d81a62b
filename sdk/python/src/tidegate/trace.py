"""The trace that a call belongs to."""

import sys

SAMPLED = 1


def traceparent() -> str | None:
    """Of the span that is active, as W3C Trace Context writes it, where the application uses OpenTelemetry and records the trace."""
    # Whoever does not use it pays for a look into a dictionary, and nothing has to be installed for those who do.
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    span = api.get_current_span().get_span_context()
    if not span.is_valid or not span.trace_flags & SAMPLED:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-01"
