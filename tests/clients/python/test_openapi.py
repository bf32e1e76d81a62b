"""schemathesis asks the gate whatever its description allows and much that it does not: no answer may be a 5xx, or one that is not described, and what fits
the description is taken and what does not is refused.

A run of this test is bounded and the same every time. To look for longer, at every path and with another seed:

    TIDEGATE_TEST_OPENAPI_EXAMPLES=2000 TIDEGATE_TEST_OPENAPI_SEED=42 cargo xtask test python

`TIDEGATE_TEST_OPENAPI_FILE` names a description to go by in place of the one that is served, to try a change without a build.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="schemathesis needs Python 3.11")

FOLDER = Path(__file__).parent / "openapi"
EXAMPLES = 40
# One of each kind. The others are the same under other names, and are asked where someone has the time.
PATHS = [
    "/v1/events",
    "/v1/batch",
    "/v1/identify",
    "/v1/track",
    "/v1/pixel/identify",
    "/v1/pixel/track",
    "/pixel/v1/track",
    "/pixel/v1/page",
    "/v1/m",
    "/v1/projects/{key}/settings",
    "/openapi.json",
]
# Well below what a run asks: that it asked at all.
CASES_MIN = 2_000


def test_no_answer_is_a_fault_or_undescribed(server, tmp_path):
    examples, seed = os.environ.get("TIDEGATE_TEST_OPENAPI_EXAMPLES"), os.environ.get("TIDEGATE_TEST_OPENAPI_SEED")
    description = os.environ.get("TIDEGATE_TEST_OPENAPI_FILE", f"{server.url}/openapi.json")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", FOLDER / "schemathesis.toml", "run", description, "--url", server.url]
    command += ["--no-color", "--max-examples", examples or str(EXAMPLES)]
    command += ["--seed", seed] if seed else []
    command += [] if examples else [f"--include-path={path}" for path in PATHS]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        # Its folders of what it found go where the test's own things are.
        cwd=tmp_path,
        env=os.environ | {"TIDEGATE_TEST_KEY": server.key, "PYTHONPATH": str(FOLDER)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases and int(cases[1]) >= CASES_MIN, done.stdout
