"""What deploy/ and compose.yaml say agrees with the product."""

import json
import os
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
TOLD_SECONDS_MAX = 90
METRIC = re.compile(r"\btidegate_[a-z_]+[a-z]\b")


def expressions(panels: list) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", []) if "expr" in target]


def described() -> dict[str, dict]:
    """What the product says of its metrics, by name."""
    done = subprocess.run([os.environ["TIDEGATE_BIN"], "metrics", "--format", "json"], capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return {row["metric"]: row for row in json.loads(done.stdout)}


def named(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(text)}


def test_the_dashboard_shows_metrics_that_there_are():
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/tidegate.json").read_text(encoding="utf-8"))
    shown = set().union(*(named(text) for text in expressions(dashboard["panels"])))
    assert shown and shown <= set(described()), shown - set(described())


def test_every_alert_is_about_metrics_that_there_are_and_has_its_place_in_the_runbook():
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    headings = re.findall(r"^## (Tidegate\S+)$", (ROOT / "RUNBOOK.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == sorted(headings, key=[alert["alert"] for alert in alerts].index) and len(alerts) == len(headings) >= 8
    for alert in alerts:
        assert named(alert["expr"]) <= set(described()), alert
        assert alert["annotations"]["runbook_url"] == f"RUNBOOK.md#{alert['alert'].lower()}", alert
        assert alert["annotations"]["summary"] and alert["labels"]["severity"] in ("warning", "critical") and alert["for"], alert
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    assert config["rule_files"] == ["alerts.yml"]
    assert "./deploy/prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in (ROOT / "compose.yaml").read_text(encoding="utf-8")


def test_prometheus_own_reader_takes_what_is_told(server):
    view = {"event_type": "page_view", "anonymous_id": "a"}
    server.post([{**view, "event_id": "one"}, {**view, "event_id": "two", "properties": {"url": 7}}, {"event_id": "three"}])
    server.wait_for_rows("silver.events", 1)
    text, deadline = "", time.monotonic() + TOLD_SECONDS_MAX
    # How the tables stand is told at the next look.
    while "tidegate_watermark_timestamp_seconds" not in text:
        assert time.monotonic() < deadline, text
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            text = answer.read().decode()
        time.sleep(0.5)
    said, seen = described(), set()
    for family in text_string_to_metric_families(text):
        # The reader leaves off what every counter ends with.
        about = said.get(family.name) or said[f"{family.name}_total"]
        assert family.type == about["type"] and family.documentation.strip() == about["meaning"], family
        seen.add(about["metric"])
        for sample in family.samples:
            for label in set(sample.labels) - {"le", "quantile"}:
                assert re.search(rf"\b{label}\b", about["meaning"]), f"{sample}: its description says nothing of the label {label}"
    wanted = {"tidegate_ingest_received_total", "tidegate_ingest_request_seconds", "tidegate_silver_rows_total", "tidegate_table_rows", "tidegate_ledger_findings"}
    wanted |= {"process_resident_memory_bytes", "tidegate_disk_free_bytes", "tidegate_silver_queryable_seconds", "tidegate_watermark_timestamp_seconds"}
    assert wanted <= seen, wanted - seen


def test_every_port_is_published_on_loopback_and_every_image_has_a_version():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    ports = re.findall(r"^ +ports: (.+)$", text, re.MULTILINE)
    images = re.findall(r"^ +image: (.+)$", text, re.MULTILINE)
    assert ports and all(port.startswith('["127.0.0.1:') for port in ports), ports
    assert images and all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images), images
