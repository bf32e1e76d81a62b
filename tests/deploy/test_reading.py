"""docs/reading-the-tables.md: its blocks are run as they stand, on a lake that the product made; and the tables for Athena are those that there are."""

import re
import sys
from datetime import date
from pathlib import Path

import duckdb
import duckdb_extension_delta
import pytest

from templates import AWS, ROOT, folders

sys.path.insert(0, str(ROOT / "tests/clients/python"))
from server import Server  # noqa: E402

DOCUMENT = ROOT / "docs/reading-the-tables.md"
LOCATION = "s3://my-bucket/tidegate"
EVENTS = [
    {"event_id": f"e{number}", "event_type": kind, "event_time": f"2026-11-{day}T10:00:00Z", "user_id": f"u{number % 2}", "properties": {"url": "https://www.example.com/a", "path": "/a"}}
    for number, (kind, day) in enumerate([("page_view", "20"), ("page_view", "20"), ("page_view", "21"), ("page_view", "20")])
]
BEFORE = {"event_id": "before", "event_type": "page_view", "event_time": "2026-10-31T10:00:00Z", "user_id": "u9", "properties": {"url": "https://www.example.com/a", "path": "/a"}}
BY_DAY = [(date(2026, 11, 20), "page_view", 3, 2), (date(2026, 11, 21), "page_view", 1, 1)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("reading"))
    running.post([*EVENTS, BEFORE])
    running.wait_for_rows("silver.events", len(EVENTS) + 1)
    running.stop()
    return running


def block(heading: str, language: str) -> str:
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(rf"```{language}\n(.+?)```", section, re.DOTALL)[1]


def here(text: str, lake) -> str:
    assert LOCATION in text
    return text.replace(LOCATION, str(lake.data / "lake"))


def run(heading: str, lake):
    names: dict = {}
    exec(here(block(heading, "python"), lake), names)  # noqa: S102
    return names["by_day"]


def test_pandas(lake):
    assert list(run("pandas", lake).itertuples(index=False, name=None)) == BY_DAY


def test_polars(lake):
    assert run("Polars", lake).rows() == BY_DAY


def test_duckdb_over_arrow(lake):
    assert run("DuckDB over Arrow, without an extension", lake) == BY_DAY


def test_duckdb(lake):
    statements = [statement.strip() for statement in here(block("DuckDB", "sql"), lake).split(";") if statement.strip()]
    assert [statement.split()[0] for statement in statements] == ["INSTALL", "LOAD", "CREATE", "SELECT", "SELECT"]
    connection = duckdb.connect()
    # What would be fetched from DuckDB's server, and keys, which no folder needs.
    folder = Path(duckdb_extension_delta.__file__).parent / "extensions" / f"v{duckdb.__version__}"
    connection.execute(f"LOAD '{folder / 'delta.duckdb_extension'}'")
    assert connection.execute(statements[3]).fetchall() == BY_DAY
    assert connection.execute(statements[4]).fetchall() == [("/a", "https://www.example.com/a")] * len(EVENTS)


def test_athena_is_given_every_table_that_there_is(lake):
    text = re.sub("^--.*$", "", (AWS / "athena.sql").read_text(encoding="utf-8"), flags=re.MULTILINE)
    statements = [statement.strip() for statement in text.split(";") if statement.strip()]
    said = re.compile(r"CREATE EXTERNAL TABLE (\w+) LOCATION 'LAKE_LOCATION/([\w/]+)/' TBLPROPERTIES \('table_type' = 'DELTA'\)")
    tables = dict(said.fullmatch(statement).groups() for statement in statements)
    assert all(name == folder.replace("/", "_") for name, folder in tables.items())
    assert tables == folders()
    root = lake.data / "lake"
    assert set(tables.values()) == {str(log.parent.relative_to(root)) for log in root.rglob("_delta_log")}
