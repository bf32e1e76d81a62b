"""Postgres clients that people have, reading while events come in: they see what Tidegate sees, and can do nothing else."""

import asyncio
import datetime
import json
import re
import threading
import time
from pathlib import Path

import asyncpg
import psycopg
import pytest

from events import send
from server import Server, free_port

DASHBOARD = Path(__file__).parents[3] / "deploy/grafana/dashboards/events.json"
EVENTS = 2_000
ENDLESS = "SELECT count(*) FROM silver.events a, silver.events b, silver.events c WHERE a.event_id < b.event_id AND b.event_id < c.event_id"


@pytest.fixture
def server(tmp_path):
    settings = {
        "TIDEGATE_POSTGRES__LISTEN": f"127.0.0.1:{free_port()}",
        "TIDEGATE_POSTGRES__ANSWER_BYTES_MAX": "100000",
        "TIDEGATE_LAKE__QUERY_MEMORY_BYTES_MAX": str(64 << 20),
        "TIDEGATE_LAKE__QUERY_SPILL_BYTES_MAX": str(1 << 20),
    }
    running = Server(tmp_path, settings=settings)
    running.password = running.command("reader", "add", "grafana").strip()
    send(running, 0, EVENTS)
    running.wait_for_rows("silver.events", EVENTS)
    yield running
    running.stop()


def address(server):
    host, port = server.environment["TIDEGATE_POSTGRES__LISTEN"].split(":")
    return {"host": host, "port": int(port), "user": "grafana", "password": server.password}


def connect(server, **options):
    return psycopg.connect(**address(server) | {"dbname": "tidegate", "autocommit": True} | options)


def test_grafana_style_panels_and_psql_style_catalog(server):
    connection = connect(server)
    # As Grafana's query builder and its macros write them: $__timeGroup, $__timeFilter, $__timeEpoch.
    series = connection.execute(
        "SELECT floor(extract(epoch from event_time)/86400)*86400 AS \"time\", event_type AS metric, count(*) AS value FROM silver.events "
        "WHERE event_time BETWEEN '2026-03-01T00:00:00Z' AND '2026-03-28T23:59:59Z' GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()
    ours = server.query(
        "SELECT date_part('epoch', date_trunc('day', event_time)) AS t, event_type, count(*) AS n FROM silver.events GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert [(float(t), kind, n) for t, kind, n in series] == [(float(row["t"]), row["event_type"], row["n"]) for row in ours]
    assert sum(n for _, _, n in series) == EVENTS

    # What psql asks for \dt *.* and \d silver.events, and what Grafana and BI tools ask to offer tables and columns.
    relations = connection.execute(
        "SELECT n.nspname, c.relname, CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END, pg_catalog.pg_get_userbyid(c.relowner) "
        "FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v') ORDER BY 1,2"
    ).fetchall()
    named = {(schema, name): kind for schema, name, kind, _ in relations}
    assert named[("silver", "events")] == "table" and named[("events", "page_view")] == "view" and ("gold", "sessions") in named
    columns = connection.execute(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'silver' AND c.relname = 'events' AND a.attnum > 0 ORDER BY a.attnum"
    ).fetchall()
    assert dict(columns)["event_time"] == "timestamp with time zone" and dict(columns)["event_date"] == "date"
    listed = connection.execute(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY 1, 2"
    ).fetchall()
    assert ("silver", "exposures") in listed
    # What Grafana asks first: the version, and the tables beside those that the search path finds.
    assert connection.execute("SELECT current_setting('server_version_num')::int/100 AS version").fetchone() == (1600,)
    assert connection.execute("SELECT version()").fetchone()[0].startswith("PostgreSQL 16")
    tables = connection.execute(
        "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables "
        "WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') AND current_setting('search_path') = 'public' ORDER BY 1"
    ).fetchall()
    assert {("silver.events",), ("gold.sessions",), ("public.ledger",)} <= set(tables), tables
    connection.close()


def test_the_panels_of_the_dashboard_show_what_there_is(server):
    server.command("gold", "run")
    connection = connect(server)
    shown = {}
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            # As Grafana does it: https://grafana.com/docs/grafana/latest/datasources/postgres/, macros.
            within = r"\1 BETWEEN '2026-02-01T00:00:00Z' AND '2027-12-31T00:00:00Z'"
            rows = connection.execute(re.sub(r"\$__timeFilter\((\w+|CAST\(\w+ AS TIMESTAMP\))\)", within, target["rawSql"])).fetchall()
            shown[panel["title"]] = rows
    assert sum(value for _, _, value in shown["Events"]) == EVENTS
    assert {kind for kind, _, _ in shown["Late, and by bots"]} == {"page_view", "conversion"}
    assert len(shown["Active people"]) == 28 and len(shown["Sessions"]) == 28, shown
    assert shown["Experiments"] == [] and shown["What was not accepted"] == []


def test_prepared_statements_see_the_tables_as_they_are_when_they_run(server):
    async def ask():
        connection = await asyncpg.connect(database="tidegate", ssl=False, **address(server))
        prepared = await connection.prepare("SELECT count(*) FROM silver.events WHERE event_date >= $1 AND event_type <> $2")
        day = datetime.date(2026, 1, 1)
        before = await prepared.fetchval(day, "none")
        send(server, EVENTS, 300)
        server.wait_for_rows("silver.events", EVENTS + 300)
        after = await prepared.fetchval(day, "none")
        # Binary values of each type that Silver has.
        row = await connection.fetchrow("SELECT * FROM silver.events WHERE event_id = $1", "e7")
        try:
            await connection.fetch("SELECT * FROM bronze.events")
        except asyncpg.PostgresError as error:
            refused = error
        async with connection.transaction():
            streamed = 0
            async for _ in connection.cursor("SELECT event_id, properties FROM silver.events", prefetch=100):
                streamed += 1
        await connection.close()
        return before, after, row, refused, streamed

    before, after, row, refused, streamed = asyncio.run(ask())
    assert (before, after, streamed) == (EVENTS, EVENTS + 300, EVENTS + 300)
    assert row["event_time"] == datetime.datetime(2026, 3, 8, 12, tzinfo=datetime.timezone.utc) and row["is_bot"] in (True, False)
    assert refused.sqlstate == "54000" and "postgres.answer_bytes_max" in refused.hint


def test_a_large_answer_comes_through_a_cursor_and_in_one_piece(server):
    with connect(server, autocommit=False) as connection:
        with connection.cursor(name="all") as cursor:
            cursor.itersize = 150
            cursor.execute("SELECT event_id, payload FROM bronze.events")
            assert len({row[0] for row in cursor}) == EVENTS
    # A simple statement is sent as it is made, whatever its size.
    simple = psycopg.ClientCursor(connect(server))
    assert len(simple.execute("SELECT event_id, payload FROM bronze.events").fetchall()) == EVENTS


WRITING = [
    "INSERT INTO ledger VALUES (1)",
    "DELETE FROM silver.events",
    "UPDATE silver.events SET source = 'x'",
    "TRUNCATE ledger",
    "DROP TABLE ledger",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "COPY silver.events TO '/tmp/x'",
    "SELECT * INTO t FROM ledger",
    "EXPLAIN ANALYZE INSERT INTO ledger VALUES (1)",
    "WITH gone AS (DELETE FROM ledger RETURNING *) SELECT * FROM gone",
    "PREPARE p AS INSERT INTO ledger VALUES (1)",
    "SET datafusion.runtime.memory_limit = '100G'",
    "SET \"datafusion\".\"execution\".batch_size = 1",
]
WRONG = [
    ("SELEC 1", "42601", ""),
    ("SELECT * FROM silver.evnts", "42P01", "silver.events"),
    ("SELECT evnt_id FROM silver.events", "42703", ""),
    ("SELECT no_such_function(1)", "42883", ""),
    ("SELECT 1/0", "22000", ""),
]


def test_nothing_can_be_changed_and_what_is_wrong_is_said(server):
    connection = connect(server)
    for kind in (psycopg.ClientCursor, psycopg.Cursor):
        cursor = kind(connection)
        for statement in WRITING:
            with pytest.raises(psycopg.Error) as refused:
                cursor.execute(statement)
            # A few the parser does not even know.
            assert refused.value.sqlstate in ("25006", "42601"), (statement, refused.value)
        for statement, code, hint in WRONG:
            with pytest.raises(psycopg.Error) as refused:
                cursor.execute(statement)
            assert refused.value.sqlstate == code and hint in (refused.value.diag.message_hint or ""), (statement, refused.value)
        # The connection is as good as before.
        assert cursor.execute("SELECT count(*) FROM silver.events").fetchone() == (EVENTS,)
    server.wait_for_rows("silver.events", EVENTS)


def test_a_statement_ends_when_its_time_is_up_its_memory_or_the_patience_of_its_client(server):
    connection = connect(server)
    began = time.monotonic()
    connection.execute("SET statement_timeout = '500ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(ENDLESS)
    connection.execute("SET statement_timeout = 0")
    threading.Timer(1.0, connection.cancel).start()
    with pytest.raises(psycopg.errors.QueryCanceled, match="cancelled by the client"):
        connection.execute(ENDLESS)
    assert time.monotonic() - began < 30
    with pytest.raises(psycopg.errors.OutOfMemory) as refused:
        connection.execute("SELECT count(*) FROM (SELECT DISTINCT a.event_id || b.event_id AS x FROM silver.events a, silver.events b)")
    assert "query_memory_bytes_max" in refused.value.diag.message_hint
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_only_readers_come_in(server):
    for wrong in ({"password": "wrong"}, {"user": "nobody"}, {"password": ""}):
        with pytest.raises(psycopg.OperationalError) as refused:
            connect(server, **wrong)
        assert server.password not in str(refused.value)
    log = (server.data / "serve.log").read_text()
    file = (server.data / "readers.json").read_text()
    assert server.password not in log + file
    server.command("reader", "revoke", "grafana")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server)
