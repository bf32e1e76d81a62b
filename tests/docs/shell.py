"""One bash for one document, as somebody has who copies its blocks one after the other: variables, aliases and the folder last from block to block."""

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from blocks import Block, Command, commands, is_as_said
from server import free_port

READY_SECONDS_MAX = 60
#: A table follows the journal by a second or two, on a busy machine by more.
ASKED_AGAIN_SECONDS = 60
STOP_SECONDS_MAX = 10
#: Commands that change nothing. They are asked again until they print what the document says.
READS = re.compile(r"^(tidegate (query|gold list|dead-letters|trace|experiment|source list|journal|audit|engine)\b|curl (?!.*(-d|-X|--data))|psql\b)")
#: Where documents say that things listen. Each is replaced by a free port, for others may use them on this machine.
PORT = re.compile(r"(127\.0\.0\.1:|-p |port=)(8[01]\d\d)\b")


class Shell:
    """A bash that stops at the first command that fails."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.work = folder, folder / "work"
        self.steps = folder / "steps"
        self.steps.mkdir()
        self.ports: dict[str, str] = {}
        self.count = 0
        # The address that `tidegate serve` has where a document gives it none.
        default = self.replaced("127.0.0.1:8099")
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            cwd=self.work,
            env=environment | {"TIDEGATE_SERVER__LISTEN": default},
            # What it starts can be ended together, and nothing else with it.
            start_new_session=True,
        )
        self._say("shopt -s expand_aliases; set -eu -o pipefail")

    def replaced(self, text: str) -> str:
        """The text with free ports in the place of those that it names."""
        return PORT.sub(lambda match: match[1] + self.ports.setdefault(match[2], str(free_port())), text)

    def run(self, block: Block) -> None:
        """Runs a block; fails the test where a command fails, or prints something else than is said."""
        if block.background:
            self._background(block)
            return
        for command in commands(block):
            deadline = time.monotonic() + ASKED_AGAIN_SECONDS
            reads = READS.match(command.text) is not None
            while problem := self._problem(command, reads):
                if not reads or time.monotonic() > deadline:
                    raise AssertionError(f"line {command.line}: {command.text}\n{problem}\n{self._logs()}")
                time.sleep(0.5)

    def _problem(self, command: Command, reads: bool) -> str:
        """What is wrong with what a command did; nothing where all is as it should be."""
        step = self._step(command.text)
        # In a shell of its own, where it may fail and be tried again; else in this one, so that variables last.
        source = f'(set -eu -o pipefail; . "{step}")' if reads or command.exit_code else f'. "{step}"'
        allowed = "set +e; " if reads or command.exit_code else ""
        code = self._say(f'{allowed}{source} >"{step}.out" 2>"{step}.err" </dev/null; echo "ended $?"; set -e', wait=True)
        printed = Path(f"{step}.out").read_text(encoding="utf-8")
        told = Path(f"{step}.err").read_text(encoding="utf-8")
        if code != command.exit_code:
            return f"it ended with {code}, and {command.exit_code} is said:\n{printed}{told}"
        if command.output:
            said = self.replaced("\n".join(command.output)).splitlines()
            if not is_as_said(said, printed):
                return "it printed\n" + printed + told + "\nand the document says\n" + "\n".join(said)
        return ""

    def _background(self, block: Block) -> None:
        """Starts what goes on until it is stopped, as in another terminal that has the same variables."""
        step = self._step(block.text)
        self._say(f'{{ . "{step}"; }} >"{step}.out" 2>&1 </dev/null &')
        if not block.ready:
            return
        url, deadline = self.replaced(block.ready), time.monotonic() + READY_SECONDS_MAX
        while not answers(url):
            assert time.monotonic() < deadline, f"line {block.line}: {url} does not answer\n{self._logs()}"
            time.sleep(0.1)

    def _step(self, text: str) -> Path:
        self.count += 1
        step = self.steps / f"{self.count:03}.sh"
        step.write_text(self.replaced(text) + "\n", encoding="utf-8")
        return step

    def _say(self, line: str, wait: bool = False) -> int | None:
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        if not wait:
            return None
        answer = self.process.stdout.readline()
        if answer.startswith("ended "):
            return int(answer.split()[1])
        # `set -e` ended the shell, or bash complains: its exit code says what the command's was.
        return self.process.wait(timeout=10) if not answer else 2

    def _logs(self) -> str:
        """The end of what was printed in the background."""
        logs = sorted(self.steps.glob("*.out"))
        return "\n".join(f"--- {log.name}\n" + log.read_text(encoding="utf-8", errors="replace")[-2000:] for log in logs[-4:])

    def stop(self) -> None:
        """Ends what the document started and did not stop: at once, for its end is no part of the document."""
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while (left := members(self.process.pid) - {self.process.pid}) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def answers(url: str) -> bool:
    """Whether something answers there, with success or by asking who it is."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # it is there, and wants to know who asks
    except OSError:
        return False
    return True


def members(session: int) -> set[int]:
    """The processes of a session that still run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # After the name, which may hold anything: state, parent, group, session.
                state, _, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(of) == session and state != "Z":
                found.add(int(entry.name))
    return found
