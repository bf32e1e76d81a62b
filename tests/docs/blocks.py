"""Reads the fenced blocks of a document: what is to be run, what is to be written to a file, and what is to be printed.

It runs nothing. CONTRIBUTING.md says how blocks are written.
"""

import functools
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>\S.*)$")
#: The first line of a block that is a file: its path in a comment, and what else there is to say.
FILE = re.compile(r"^(?:#|//|--) (?P<path>[\w./-]+\.(?:yaml|toml|py|js|ts|sql|json|csv|ndjson))\b")
#: What a block may need beside the product.
NEEDS = ("kafka", "s3", "aws", "psql", "jq", "openssl", "systemd")
OUTPUT = re.compile(r"^# ?(?P<line>.*)$")
EXIT_CODE = re.compile(r"^exit code (\d)")


@dataclass
class Block:
    """One fenced block."""

    language: str
    line: int
    text: str
    background: bool = False
    ready: str = ""
    needs: list[str] = field(default_factory=list)
    not_run_because: str = ""

    @property
    def path(self) -> str:
        """The file that the block is, where its first line names one."""
        found = FILE.match(self.text)
        return found["path"] if found else ""


@dataclass
class Command:
    """One command of a shell block, and what the document says that it prints and ends with."""

    text: str
    line: int
    output: list[str]
    exit_code: int = 0


def blocks(document: Path) -> list[Block]:
    """All fenced blocks that name a language.

    Raises ValueError for a fence that says what nothing here understands: a misspelt word must not turn a test off.
    """
    found, lines, open_at = [], document.read_text(encoding="utf-8").splitlines(), None
    fence = None
    for number, line in enumerate(lines, 1):
        if fence is None:
            if opening := FENCE.match(line):
                fence, open_at = opening, number
                body: list[str] = []
            elif line.strip().startswith("```"):
                # A picture in letters: nothing to run.
                fence, open_at, body = line, number, []
        elif line.strip() == "```":
            if not isinstance(fence, str):
                found.append(_block(fence["info"], open_at, "\n".join(body) + "\n", document))
            fence = None
        else:
            body.append(line.removeprefix(fence["indent"]) if not isinstance(fence, str) else line)
    if fence is not None:
        raise ValueError(f"{document.name}:{open_at}: this block has no end")
    return found


def _block(info: str, line: int, text: str, document: Path) -> Block:
    language, *words = shlex.split(info)
    block = Block(language, line, text)
    for word in words:
        name, _, value = word.partition("=")
        if name == "background":
            block.background = True
        elif name == "ready" and value:
            block.ready = value
        elif name == "reason" and value:
            block.not_run_because = value
        elif name in NEEDS:
            block.needs.append(name)
        elif name != "no-run":
            raise ValueError(f"{document.name}:{line}: nobody knows what {word!r} means in a fence; see CONTRIBUTING.md")
    if ("no-run" in words) != bool(block.not_run_because):
        raise ValueError(f"{document.name}:{line}: a block that is not run says why: no-run reason=\"…\"")
    return block


def commands(block: Block) -> list[Command]:
    """The commands of a shell block. Lines of comments right after a command are what it prints; above a command they are for the reader."""
    found: list[Command] = []
    pending: list[str] = []
    begins, after_command = 0, False
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if not pending and not line.strip():
            after_command = False
        elif not pending and (comment := OUTPUT.match(line)):
            if after_command:
                if code := EXIT_CODE.match(comment["line"]):
                    found[-1].exit_code = int(code[1])
                else:
                    found[-1].output.append(comment["line"].rstrip())
        else:
            begins = begins if pending else number
            pending.append(line)
            if _is_whole("\n".join(pending)):
                found.append(Command("\n".join(pending), begins, []))
                pending, after_command = [], True
    if pending:
        raise ValueError(f"line {begins}: bash waits for more: {pending}")
    return found


@functools.cache
def _is_whole(text: str) -> bool:
    """Whether bash would run this, rather than wait for more."""
    if text.endswith("\\"):
        return False
    done = subprocess.run(["bash", "-n"], input=text + "\n", capture_output=True, encoding="utf-8", timeout=60)
    # A text that was begun by << and has no end is only warned of.
    return done.returncode == 0 and not done.stderr


def is_as_said(said: list[str], printed: str) -> bool:
    """Whether a command printed what the document says. `…` stands for anything within a line, and as a line of its own for any lines."""
    expression = ""
    for line in said:
        expression += r"(?:.*\n)*" if line.strip() == "…" else ".*".join(re.escape(part) for part in line.split("…")) + r"\n"
    lines = "".join(line.rstrip() + "\n" for line in printed.rstrip("\n").splitlines())
    return re.fullmatch(expression, lines) is not None
