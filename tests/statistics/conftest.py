import json
import os
import subprocess

import pytest


@pytest.fixture(scope="session")
def ask():
    """What the crate answers to questions, in their order."""

    def answers(questions):
        lines = "".join(json.dumps(question) + "\n" for question in questions)
        done = subprocess.run([os.environ["TIDEGATE_EVALUATE"]], input=lines, capture_output=True, text=True, check=True, timeout=300)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == len(questions) and not [answer for answer in found if "error" in answer]
        return found

    return answers
