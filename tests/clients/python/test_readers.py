"""Readers that people have, on a lake in S3 while it is written: they see the rows that Tidegate sees."""

import json
from pathlib import Path

import duckdb
import duckdb_extension_delta
import duckdb_extension_httpfs
import pytest
from deltalake import DeltaTable

from events import send
from gateway import Gateway
from server import Server

BUCKET = "lake"
EVENTS = 3_000


@pytest.fixture
def gateway(tmp_path):
    (tmp_path / "s3").mkdir()
    running = Gateway(tmp_path / "s3", BUCKET)
    yield running
    running.stop()


@pytest.fixture
def server(tmp_path, gateway):
    (tmp_path / "data").mkdir()
    settings = gateway.environment | {"TIDEGATE_LAKE__LOCATION": f"s3://{BUCKET}/events"}
    running = Server(tmp_path / "data", settings=settings)
    yield running
    running.stop()


def duck(gateway):
    connection = duckdb.connect()
    for package, name in ((duckdb_extension_httpfs, "httpfs"), (duckdb_extension_delta, "delta")):
        folder = Path(package.__file__).parent / "extensions" / f"v{duckdb.__version__}"
        connection.execute(f"LOAD '{folder / name}.duckdb_extension'")
    connection.execute(
        f"CREATE SECRET lake (TYPE s3, PROVIDER config, KEY_ID '{gateway.access_key}', SECRET '{gateway.secret_key}', REGION '{gateway.region}', "
        f"ENDPOINT '{gateway.address}', URL_STYLE 'path', USE_SSL false)"
    )
    return connection


def test_duckdb_and_delta_rs_count_what_tidegate_counts(server, gateway):
    for first in range(0, EVENTS, 500):
        send(server, first, 500)
        send(server, first, 50)  # copies
    server.wait_for_rows("silver.events", EVENTS)
    server.wait_for_rows("bronze.events", EVENTS + EVENTS // 10)

    by_day = "SELECT CAST(event_date AS VARCHAR) AS day, event_type, count(*) AS n, count(DISTINCT event_id) AS ids FROM {} GROUP BY 1, 2 ORDER BY 1, 2"
    ours = [tuple(row.values()) for row in server.query(by_day.format("silver.events"))]
    assert sum(row[2] for row in ours) == EVENTS
    connection = duck(gateway)
    assert connection.execute(by_day.format(f"delta_scan('s3://{BUCKET}/events/silver/events')")).fetchall() == ours
    assert connection.execute(f"SELECT count(*) FROM delta_scan('s3://{BUCKET}/events/bronze/events')").fetchone()[0] == EVENTS + EVENTS // 10

    options = gateway.environment | {"AWS_S3_ALLOW_UNSAFE_RENAME": "false"}
    silver = DeltaTable(f"s3://{BUCKET}/events/silver/events", storage_options=options).to_pyarrow_table(columns=["event_id", "event_date", "event_type"])
    connection.register("silver_of_delta_rs", silver)
    assert connection.execute(by_day.format("silver_of_delta_rs")).fetchall() == ours


def test_rows_that_another_engine_deleted_are_named_and_taken_back(server, gateway):
    send(server, 0, 300)
    server.wait_for_rows("silver.events", 300)
    before = json.loads(server.command("restore", "silver.events", "--format", "json"))[0]
    assert before["by"] == "tidegate"
    options = gateway.environment | {"AWS_S3_ALLOW_UNSAFE_RENAME": "false"}
    deleted = DeltaTable(f"s3://{BUCKET}/events/silver/events", storage_options=options).delete("event_id = 'e7'")
    assert deleted["num_deleted_rows"] == 1
    send(server, 300, 30)
    server.wait_for_rows("silver.events", 329)
    audit = server.run("audit", "--data", str(server.data))
    assert audit.returncode == 1 and "web/e7" in audit.stdout + audit.stderr

    versions = json.loads(server.command("restore", "silver.events", "--format", "json"))
    assert [version["what"] for version in versions if version["by"] != "tidegate"] == ["DELETE"]
    told = json.loads(server.command("restore", "silver.events", "--version", str(before["version"]), "--dry-run", "--format", "json"))[0]
    assert told["rows_back"] - told["rows_out"] == 1
    server.wait_for_rows("silver.events", 329)
    server.command("restore", "silver.events", "--version", str(before["version"]))
    server.wait_for_rows("silver.events", 330)
    server.command("compact", "--cluster")
    server.command("audit", "--deep")
