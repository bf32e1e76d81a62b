"""What deploy/ and compose.yaml say agrees with the product."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
METRIC = re.compile(r"\btidegate_[a-z_]+[a-z]\b")


def expressions(panels: list) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", []) if "expr" in target]


def test_the_dashboard_shows_metrics_that_there_are():
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("crates/*/src/metrics.rs"))
    described = set(METRIC.findall(sources))
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/tidegate.json").read_text(encoding="utf-8"))
    shown = {name.removesuffix("_bucket") for text in expressions(dashboard["panels"]) for name in METRIC.findall(text)}
    assert shown and shown <= described, shown - described


def test_every_port_is_published_on_loopback_and_every_image_has_a_version():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    ports = re.findall(r"^ +ports: (.+)$", text, re.MULTILINE)
    images = re.findall(r"^ +image: (.+)$", text, re.MULTILINE)
    assert ports and all(port.startswith('["127.0.0.1:') for port in ports), ports
    assert images and all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images), images
