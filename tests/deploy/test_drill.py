"""deploy/drill.py does what it says: each part of it once, with few events."""

import os
import re
import subprocess
import sys
from pathlib import Path

from templates import ROOT

DRILL = ROOT / "deploy/drill.py"


def drill(folder: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, DRILL, "--program", os.environ["TIDEGATE_BIN"], "--folder", folder, *more], capture_output=True, encoding="utf-8", timeout=900)


def test_every_part_is_measured_and_nothing_is_left(tmp_path):
    done = drill(tmp_path / "new", "--events", "3000", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line.startswith("| ")]
    parts = "\n".join(row[0] for row in rows[1:])
    for part in ("sent", "killed under load", "without `index/`", "a backup copied back", "its audit", "replay --cut-over"):
        assert part in parts, done.stdout
    assert all(re.fullmatch(r"\d+\.\d", row[2]) for row in rows[1:])
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("data")
    done = drill(tmp_path)
    assert done.returncode == 2 and "is not empty" in done.stderr and [path.name for path in tmp_path.iterdir()] == ["precious"]
