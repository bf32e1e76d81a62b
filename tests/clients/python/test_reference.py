"""docs/reference/configuration.md names every setting of the product, and no other; http-api.md every path of the description."""

import json
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"
# How a heading or a paragraph says which section a table is of.
SECTION = re.compile(r"`\[([a-z0-9.]+)\]`")
ROW = re.compile(r"^\| `([a-z_.]+)` \|")


def leaves(settings: dict, prefix: str = "") -> set[str]:
    names = set()
    for name, value in settings.items():
        names |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return names


def documented() -> set[str]:
    names, sections = {"data"}, []
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if row := ROW.match(line):
            # One table has the keys of several sections, each with its section.
            names.add(row[1] if len(sections) > 1 else f"{sections[0]}.{row[1]}")
        elif found := SECTION.findall(line):
            sections = found
    return names


def test_every_setting_is_documented(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    done = subprocess.run(
        [os.environ["TIDEGATE_BIN"], "config", "--format", "json"], capture_output=True, encoding="utf-8", cwd=tmp_path, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert documented() == leaves(json.loads(done.stdout)["settings"])


def test_every_path_is_documented():
    paths = json.loads((ROOT / "crates/ingest/src/openapi/openapi.json").read_text(encoding="utf-8"))["paths"]
    text = (ROOT / "docs/reference/http-api.md").read_text(encoding="utf-8")
    # `/v1/pixel/{identify,track}` stands for both.
    lists = re.findall(r"(/[\w/.-]*)\{(\w+(?:,\w+)+)\}", text)
    named = {before + name for before, names in lists for name in names.split(",")} | set(re.findall(r"/[\w/.{}-]+", text))
    missing = {path for path in paths if path.rstrip("/") not in named}
    assert len(paths) > 10 and not missing, missing
