"""What README.md, RUNBOOK.md and the pages of docs/ tell people to type is typed here, block by block, each document in a clean folder, with the product.

CONTRIBUTING.md says how blocks are written. `cargo xtask test python` runs it.
"""

import ast
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from blocks import Block, blocks, commands, is_as_said
from gateway import Gateway
from kafka import Kafka
from shell import Shell

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "RUNBOOK.md", ROOT / "docs/tutorial.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
#: What of the repository a document finds in its folder, as in a clone.
CLONE = ("deploy/prometheus", "examples", "sdk/python")
#: A document that begins with this goes on from a server that runs, whose write key is in KEY.
SERVER = "<!-- commands: with a server -->"
START = Block("sh", 0, "tidegate serve\n", background=True, ready="http://127.0.0.1:8099/readyz")
KEY = Block("sh", 0, "KEY=$(tidegate source add web)\n")
PROGRAMS = ("psql", "jq", "openssl")
BUCKET = "documents"


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """The servers that this machine has, started when a document needs them: the variables that say where they are."""
    running: dict[str, Kafka | Gateway] = {}
    folder = tmp_path_factory.mktemp("servers")

    def variables(needs: set[str]) -> dict[str, str] | str:
        """The variables, or what is missing."""
        for need in sorted(needs - running.keys()):
            if need in PROGRAMS and shutil.which(need):
                continue
            if need == "kafka" and "TIDEGATE_TEST_KAFKA_JARS" in os.environ:
                running[need] = Kafka(folder / need)
            elif need == "s3" and "TIDEGATE_TEST_S3_PROGRAM" in os.environ:
                (folder / need).mkdir()
                running[need] = Gateway(folder / need, BUCKET)
            else:
                return need
        found = {"KAFKA": running["kafka"].address} if "kafka" in needs else {}
        return found | ({"BUCKET": BUCKET} | running["s3"].environment if "s3" in needs else {})

    yield variables
    for server in running.values():
        server.stop()


@pytest.fixture
def clone(tmp_path):
    """A folder as a document's reader has it, and the environment."""
    work, target = tmp_path / "work", tmp_path / "target/release"
    target.mkdir(parents=True)
    (target / "tidegate").symlink_to(os.environ["TIDEGATE_BIN"])
    for part in CLONE:
        shutil.copytree(ROOT / part, work / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "AWS_", "PG"))}
    return tmp_path, kept | {
        "CARGO_TARGET_DIR": str(tmp_path / "target"),
        "HOME": str(tmp_path),
        "PATH": f"{target}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_what_a_document_says_can_be_done(document, clone, servers):
    folder, environment = clone
    parts = blocks(document)
    skipped, needed = [], {}
    for need in sorted({need for block in parts if not block.not_run_because for need in block.needs}):
        found = servers({need})
        if isinstance(found, str):
            skipped.append(found)
        else:
            needed |= found
    shell = Shell(folder, environment)
    try:
        if document.read_text(encoding="utf-8").startswith(SERVER):
            shell.run(KEY)
            shell.run(START)
        for name, value in needed.items():
            shell.run(Block("sh", 0, f"export {name}={value}\n"))
        for block in parts:
            if block.not_run_because or set(block.needs) & set(skipped):
                continue
            if block.path:
                file = shell.work / block.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(shell.replaced(block.text), encoding="utf-8")
                check_file(file, shell)
            elif block.language == "sh":
                shell.run(block)
            else:
                check_text(block)
    finally:
        shell.stop()
    if skipped:
        print(f"{name_of(document)}: blocks that need {', '.join(skipped)} were left out")


def check_file(file: Path, shell: Shell) -> None:
    """What the product says of a file that a document shows."""
    if file.suffix == ".toml":
        product(shell, "config", "--config", str(file))
    elif file.name == "plan.yaml":
        product(shell, "plan", "check", str(file))
    elif file.parent.name == "experiments" and (file.parent / "metrics.yaml").exists():
        product(shell, "experiment", "check", str(file.parent))
    else:
        check_text(Block(file.suffix[1:], 1, file.read_text(encoding="utf-8")))


def product(shell: Shell, *arguments: str) -> None:
    done = subprocess.run([os.environ["TIDEGATE_BIN"], *arguments], capture_output=True, encoding="utf-8", cwd=shell.work, timeout=60)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"


def check_text(block: Block) -> None:
    """That a block in another language is one."""
    if block.language in ("py", "python"):
        ast.parse(block.text)
    elif block.language == "yaml":
        assert yaml.safe_load(block.text), block
    elif block.language == "json":
        json.loads(block.text)


def test_every_block_is_written_as_the_rules_say():
    """Of all documents, also of those whose commands are not run: no fence has a word that nobody knows."""
    counted = 0
    for document in DOCUMENTS:
        for block in blocks(document):
            counted += block.language == "sh" and not block.not_run_because
            if block.language == "sh":
                assert commands(block) or block.not_run_because, f"{name_of(document)}:{block.line}: nothing to run"
    assert counted > 20


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```sh no-run\na\n```\n", "says why"),
        ("```sh reason=\"x\"\na\n```\n", "says why"),
        ("```sh detached\na\n```\n", "detached"),
        ("```sh\na\n", "no end"),
    ],
)
def test_a_fence_that_would_turn_a_test_off_by_mistake_is_refused(tmp_path, text, problem):
    document = tmp_path / "a.md"
    document.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(problem)):
        blocks(document)


def test_commands_and_what_they_print_are_told_apart():
    text = "# for the reader\na b   # why\n# printed\n# two\n\n# for the reader too\ncat <<X\n# in it\nX\nfalse \\\n  x\n# exit code 1: it says so\n"
    found = commands(Block("sh", 10, text))
    assert [(command.text, command.line, command.output, command.exit_code) for command in found] == [
        ("a b   # why", 12, ["printed", "two"], 0),
        ("cat <<X\n# in it\nX", 17, [], 0),
        ("false \\\n  x", 20, [], 1),
    ]


def test_what_is_printed_is_compared():
    def check(said, printed, expected):
        assert is_as_said(said.split("|"), printed) is expected, (said, printed)

    check("a", "a\n", True)
    check("a", "ab\n", False)
    check("a…c", "abc\n", True)
    check("a…c", "a\nc\n", False)
    check("a|…|c", "a\nb\nb\nc\n", True)
    check("a|…|c", "a\nc\n", True)
    check("a|…", "b\n", False)
    check("a.c", "abc\n", False)


def test_a_command_that_fails_or_prints_something_else_fails_the_test(clone):
    folder, environment = clone
    shell = Shell(folder, environment)
    try:
        shell.run(Block("sh", 0, "alias greet='echo hello'\nNAME=x\n"))
        shell.run(Block("sh", 0, "greet $NAME\n# hello x\n\nfalse\n# exit code 1\n"))
        with pytest.raises(AssertionError, match="it printed"):
            shell.run(Block("sh", 0, "greet $NAME\n# hello y\n"))
        with pytest.raises(AssertionError, match="it ended with 3"):
            shell.run(Block("sh", 0, "(exit 3)\n"))
    finally:
        shell.stop()
