#!/usr/bin/env python3
"""How long somebody needs who has never seen this: from a clone to an event of their own in Silver, by README.md alone, block by block.

    python3 tests/docs/newcomer.py target/release/tidegate

Compiling is left out: that is the machine's time, and decision 1 says how long it is. What is measured is what the commands take; what is added is the time to read the page
up to there. The exit code is 1 where the commands of the page do not work, or it takes longer than ten minutes.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests/clients/python")]
from blocks import Block, blocks, commands  # noqa: E402
from shell import Shell  # noqa: E402

README = ROOT / "README.md"
MINUTES_MAX = 10
#: What people read of a page like this in a minute, with some looking at what came of it.
WORDS_A_MINUTE = 150
#: The command after which somebody has seen an event of their own.
SEEN = "FROM silver.events"


@dataclass
class Step:
    """A block, what it took, and how much of the page stands before its end, in words."""

    name: str
    seconds: float
    words: int


def walk(program: Path, folder: Path) -> list[Step]:
    """Does what the page says, up to the first event in Silver.

    Raises AssertionError where a command of the page does not do what the page says.
    """
    work, release = folder / "work", folder / "target/release"
    begun = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", "--no-local", ROOT, work], check=True)
    steps = [Step("git clone", time.monotonic() - begun, 0)]
    release.mkdir(parents=True)
    (release / "tidegate").symlink_to(program.resolve())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "AWS_"))}
    shell = Shell(folder, kept | {"CARGO_TARGET_DIR": str(folder / "target"), "HOME": str(folder)})
    lines = README.read_text(encoding="utf-8").splitlines()
    try:
        for block in blocks(README):
            if block.language != "sh" or block.not_run_because:
                continue
            begun = time.monotonic()
            shell.run(block)
            steps.append(Step(named(block), time.monotonic() - begun, words("\n".join(lines[: block.line]) + block.text)))
            if SEEN in block.text:
                return steps
    finally:
        shell.stop()
    raise AssertionError(f"README.md has no command with {SEEN}")


def named(block: Block) -> str:
    first = commands(block)[0].text.splitlines()[0]
    return f"line {block.line}: {first if len(first) < 70 else first[:67] + '…'}"


def words(text: str) -> int:
    """What there is to read: without the addresses of links, and what is only for the eye."""
    return len(re.findall(r"\w+", re.sub(r"\]\([^)]*\)", "]", text)))


def total_minutes(steps: list[Step]) -> float:
    return sum(step.seconds for step in steps) / 60 + steps[-1].words / WORDS_A_MINUTE


def table(steps: list[Step]) -> str:
    lines = ["| step | seconds | words read by then |", "|---|---|---|"]
    lines += [f"| {step.name.replace('|', chr(92) + '|')} | {step.seconds:.1f} | {step.words} |" for step in steps]
    seconds = sum(step.seconds for step in steps)
    lines.append(f"\n{seconds:.0f} s for the commands, {steps[-1].words / WORDS_A_MINUTE:.1f} minutes to read {steps[-1].words} words: {total_minutes(steps):.1f} minutes besides compiling.")
    return "\n".join(lines)


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("say where the program is: python3 tests/docs/newcomer.py target/release/tidegate", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="tidegate-newcomer-") as folder:
        try:
            steps = walk(Path(sys.argv[1]), Path(folder))
        except AssertionError as error:
            print(error, file=sys.stderr)
            return 1
    print(table(steps))
    return 0 if total_minutes(steps) < MINUTES_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
