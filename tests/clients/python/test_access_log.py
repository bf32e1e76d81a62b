"""A web server's log goes through the converter and `tidegate send`, and Silver counts what plain Python counts in the file."""

import collections
import random
import subprocess
import sys
from pathlib import Path

CONVERTER = Path(__file__).parents[3] / "examples" / "access-log" / "access_log_to_events.py"
LINES = 500
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "-",
]
PATHS = ["/", "/about", "/products/1?colour=red&size=1", "/products/2", "/caf%C3%A9", "/search?q=tide"]
ODD = [
    '203.0.113.9 - - [18/Nov/2026:00:00:00 +0000] "-" 408 0 "-" "-"',
    '203.0.113.9 - - [18/Nov/2026:00:00:00 +0000] "\\x16\\x03\\x01" 400 226 "-" "-"',
    "not a line of a log at all ✓",
]


def write_log(path: Path) -> dict[str, collections.Counter]:
    """Writes a log of `LINES` requests and the odd lines among them, and returns what there is to count in it."""
    chance = random.Random(7)
    counts = {name: collections.Counter() for name in ("page_path", "status", "day", "user_agent")}
    lines = []
    for number in range(LINES):
        day, hour = 14 + number * 4 // LINES, chance.randrange(24)
        target, status, agent = chance.choice(PATHS), chance.choice([200, 200, 200, 304, 404, 500]), chance.choice(AGENTS)
        size = "-" if status == 304 else chance.randrange(100_000)
        lines.append(
            f"203.0.113.{chance.randrange(20)} - - [{day}/Nov/2026:{hour:02}:{chance.randrange(60):02}:00 +0200] "
            f'"GET {target} HTTP/1.1" {status} {size} "https://example.org/" "{agent}"'
        )
        counts["page_path"][target.partition("?")[0]] += 1
        counts["status"][str(status)] += 1
        # The server's clock is two hours ahead of UTC.
        counts["day"][f"2026-11-{day if hour >= 2 else day - 1}"] += 1
        counts["user_agent"][agent] += 1
    for odd in ODD:
        lines.insert(chance.randrange(len(lines)), odd)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return counts


def send(server, log: Path) -> None:
    converted = subprocess.run([sys.executable, CONVERTER, log], capture_output=True, encoding="utf-8", timeout=60)
    assert converted.returncode == 0, converted.stderr
    sent = server.run("send", "-", "--url", server.url, "--key", server.key, stdin=converted.stdout)
    assert sent.returncode == 0, sent.stderr


def counted(server, expression: str) -> dict:
    rows = server.query(f"SELECT {expression} AS k, count(*) AS n FROM silver.events WHERE event_type = 'page_view' GROUP BY 1")
    return {row["k"]: row["n"] for row in rows}


def test_silver_counts_what_the_file_holds_however_often_it_is_sent(server, tmp_path):
    log = tmp_path / "access.log"
    expect = write_log(log)
    for copies in (1, 2):
        send(server, log)
        server.wait_for_rows("bronze.events", copies * (LINES + len(ODD)))
        rows = server.silver(LINES + len(ODD))

        assert counted(server, "page_path") == expect["page_path"]
        assert counted(server, "CAST(event_date AS VARCHAR)") == expect["day"]
        assert counted(server, "user_agent") == expect["user_agent"]
        statuses = collections.Counter(
            status for status in ("200", "304", "404", "500") for row in rows.values() if f'"status":{status}' in row["properties"]
        )
        assert statuses == expect["status"]
        odd = [row["properties"] for row in rows.values() if row["event_type"] == "unparsed_log_line"]
        assert len(odd) == len(ODD)
        assert any("✓" in properties for properties in odd)
