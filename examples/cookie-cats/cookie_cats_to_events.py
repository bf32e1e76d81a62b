#!/usr/bin/env python3
"""Turns the public Cookie Cats A/B data set (CSV, plain or gzip) into exposures and conversions, one JSON object a line, for `tidegate send`.

The data has no times: every player is exposed at --start, comes back a day and seven days later or does not. The ids are made of player and kind, so the same
file sent again adds nothing. It needs nothing but Python 3.8 and never contacts anything.
"""

import argparse
import csv
import gzip
import io
import json
import signal
import sys
from datetime import datetime, timedelta

EXPERIMENT = "cookie_cats"
COLUMNS = ["userid", "version", "sum_game_rounds", "retention_1", "retention_7"]
# The column, the goal, and when it is reached.
GOALS = [("retention_1", "day_1_retention", timedelta(days=1)), ("retention_7", "day_7_retention", timedelta(days=7))]
TRUTH = {"true": True, "false": False}


class Unreadable(Exception):
    """The file is not the data set; the text says where."""


def exposure(user, variation, start):
    return {
        "event_id": f"{EXPERIMENT}:{user}:exposure",
        "event_type": "feature_exposure",
        "event_time": start.isoformat(),
        "user_id": user,
        "properties": {"experiment_id": EXPERIMENT, "variation_id": variation},
    }


def conversion(user, goal, time):
    return {
        "event_id": f"{EXPERIMENT}:{user}:{goal}",
        "event_type": "conversion",
        "name": goal,
        "event_time": time.isoformat(),
        "user_id": user,
        "properties": {"goal": goal},
    }


def events(lines, start):
    """The events of the data set's lines, player by player."""
    rows = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or [])]
    if missing:
        raise Unreadable(f"line 1: no column {', '.join(missing)}")
    for row in rows:
        user, variation = row["userid"], row["version"]
        if not user or not variation:
            raise Unreadable(f"line {rows.line_num}: userid and version must be there")
        yield exposure(user, variation, start)
        for column, goal, after in GOALS:
            came_back = TRUTH.get((row[column] or "").lower())
            if came_back is None:
                raise Unreadable(f"line {rows.line_num}: {column} is {row[column]!r}, must be True or False")
            if came_back:
                yield conversion(user, goal, start + after)


def moment(text):
    time = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no offset; write such as 2026-11-01T00:00:00Z")
    return time


def main():
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends quietly where what it is piped into ends
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="cookie_cats.csv, plain or .gz")
    parser.add_argument("--start", required=True, type=moment, help="when all are exposed, such as 2026-11-01T00:00:00Z; more than a week ago")
    given = parser.parse_args()
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="\n")
    counts = {}
    try:
        with (gzip.open if given.file.endswith(".gz") else open)(given.file, "rt", encoding="utf-8", newline="") as lines:
            for event in events(lines, given.start):
                kind = event.get("name", "exposure")
                counts[kind] = counts.get(kind, 0) + 1
                out.write(json.dumps(event, separators=(",", ":")) + "\n")
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, Unreadable) as error:
        out.flush()
        sys.exit(f"{given.file}: {error}")
    out.flush()
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()), file=sys.stderr)


if __name__ == "__main__":
    main()
