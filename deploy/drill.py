#!/usr/bin/env python3
"""Measures how long it takes to come back from what RUNBOOK.md calls disasters, on the machine where it runs: `python3 deploy/drill.py --folder /mnt/data/drill --events 1000000`.

A platform with its embedded journal is filled with events of its own, and then killed under load, robbed of its index, copied to another place, and given a new Silver.
After each of these an audit proves that nothing is missing. What comes out is a table to be put into the runbook, with what the machine is. It needs nothing but Python and
the program, and works in a new folder only, so that it cannot meet a platform that somebody needs.
"""

import argparse
import base64
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

KEY = "tg_of_the_drill"
READY_SECONDS_MAX = 600
SILVER_SECONDS_MAX = 3600
#: A stop brings everything to Gold first.
STOP_SECONDS_MAX = 1800
#: So many days the events are spread over: a table of one partition would be easier than most are.
DAYS = 3
#: What is sent while it is killed: small requests, so that many of them are in work, and several times what a fast machine takes in that time.
LOAD_EVENTS, LOAD_BATCH, LOAD_SECONDS = 100_000, 20, 0.5
GIB = 1 << 30


class Failed(Exception):
    """What went wrong, and where to look."""


@dataclass
class Measured:
    """One line of the table."""

    what: str
    size: str
    seconds: float
    per: str = ""

    def line(self) -> str:
        return f"| {self.what} | {self.size} | {self.seconds:.1f} | {self.per} |".replace("|  |", "| |")


def say(text: str) -> None:
    print(f"drill: {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Platform:
    """The platform on one data folder."""

    def __init__(self, program: str, data: Path) -> None:
        self.program, self.data = program, data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Away from any settings of whoever runs this.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "AWS_"))}
        self.environment["TIDEGATE_SERVER__SHUTDOWN_TIMEOUT"] = f"{STOP_SECONDS_MAX}s"
        self.log = data.with_name(f"{data.name}.log")
        self.process: subprocess.Popen | None = None

    def command(self, *arguments: str) -> str:
        """What a command on this data printed."""
        done = subprocess.run([self.program, *arguments, "--data", self.data], capture_output=True, encoding="utf-8", cwd=self.data.parent, env=self.environment)
        if done.returncode != 0:
            raise Failed(f"tidegate {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self) -> float:
        """Starts it; the seconds until it took events."""
        begun = time.monotonic()
        with open(self.log, "a", encoding="utf-8") as log:
            arguments = [self.program, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}"]
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.data.parent, env=self.environment)
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > begun + READY_SECONDS_MAX:
                raise Failed(f"it does not get ready; its log is {self.log}")
            time.sleep(0.01)
        return time.monotonic() - begun

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=STOP_SECONDS_MAX) != 0:
            raise Failed(f"it did not stop as it should; its log is {self.log}")

    def kill(self) -> None:
        self.process.kill()
        if self.process.wait() != -signal.SIGKILL:
            raise Failed(f"it ended before it was killed; its log is {self.log}")

    def post(self, event: dict) -> None:
        authorization = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
        headers = {"authorization": authorization, "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/v1/events", json.dumps(event).encode(), headers), timeout=60) as answer:
            if json.load(answer)["accepted"] != 1:
                raise Failed("an event of the drill was not accepted")

    def sender(self, file: Path, batch: int) -> subprocess.Popen:
        arguments = [self.program, "send", file, "--url", self.url, "--key", KEY, "--batch", str(batch), "--retry-for", str(READY_SECONDS_MAX)]
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.data.parent, env=self.environment)

    def in_silver(self, condition: str = "true") -> int:
        try:
            return json.loads(self.command("query", f"SELECT count(*) AS n FROM silver.events WHERE {condition}", "--format", "json"))[0]["n"]
        except Failed:
            # There is no table before the first event.
            return 0

    def wait_for(self, expected: int, condition: str = "true") -> None:
        deadline = time.monotonic() + SILVER_SECONDS_MAX
        while (found := self.in_silver(condition)) < expected:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"{expected} events are expected in Silver, and {found} are there; its log is {self.log}")
            time.sleep(0.1)

    def first_in_silver(self) -> float:
        """The seconds until an event that is sent now can be queried."""
        begun = time.monotonic()
        event = uuid.uuid4().hex
        self.post({"event_id": event, "event_type": "check", "anonymous_id": "drill"})
        self.wait_for(1, f"event_id = '{event}'")
        return time.monotonic() - begun


class Drill:
    """What is done to it, one after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chance = random.Random(options.seed)
        self.platform = Platform(options.program, options.folder / "data")
        self.measured: list[Measured] = []
        # How many events Silver must have.
        self.expected = 0

    def run(self) -> list[Measured]:
        self.platform.data.mkdir(parents=True)
        self.platform.command("source", "add", "drill", "--key", KEY)
        try:
            for step in (self.fill, self.kill, self.index, self.restore, self.replay):
                say(step.__doc__.split(".")[0])
                step()
            self.platform.stop()
        finally:
            if self.platform.process is not None and self.platform.process.poll() is None:
                self.platform.process.kill()
                self.platform.process.wait()
        return self.measured

    def events(self, name: str, count: int) -> Path:
        """A file of page views of the last days, in order of time, with ids that grow with it."""
        file = self.options.folder / name
        end = datetime.now(timezone.utc)
        step = timedelta(days=DAYS) / count
        with open(file, "w", encoding="utf-8") as out:
            for number in range(count):
                at = end - step * (count - number)
                milliseconds = int(at.timestamp() * 1000)
                identity = uuid.UUID(int=milliseconds << 80 | 7 << 76 | self.chance.getrandbits(12) << 64 | 2 << 62 | self.chance.getrandbits(62))
                page = self.chance.randrange(500)
                event = {
                    "event_id": str(identity),
                    "event_type": "page_view",
                    "event_time": at.isoformat(timespec="milliseconds"),
                    "user_id": f"user-{self.chance.randrange(1 + count // 20)}",
                    "properties": {"url": f"https://www.example.com/page/{page}", "path": f"/page/{page}", "title": f"Page {page}"},
                }
                room = self.options.event_bytes - len(json.dumps(event)) - len(',"note":""')
                # Half of it is new in each event: what people send packs less well than what repeats.
                event["properties"]["note"] = (self.chance.randbytes(max(room, 0) // 4).hex() + " " * max(room, 0))[: max(room, 0)]
                out.write(json.dumps(event, separators=(",", ":")) + "\n")
        return file

    def millions(self) -> float:
        return self.expected / 1e6

    def audit(self, of: Platform | None = None) -> float:
        """The seconds of an audit, which fails where anything is missing."""
        begun = time.monotonic()
        (of or self.platform).command("audit")
        return time.monotonic() - begun

    def fill(self) -> None:
        """Filling it with events."""
        file = self.events("events.ndjson", self.options.events)
        self.platform.start()
        begun = time.monotonic()
        if self.platform.sender(file, 500).wait() != 0:
            raise Failed(f"not all events were taken; its log is {self.platform.log}")
        self.expected = self.options.events
        self.platform.wait_for(self.expected)
        seconds = time.monotonic() - begun
        self.measured.append(Measured("events sent, until all are in Silver", f"{self.expected:,} events", seconds, f"{seconds / self.millions():.0f} s a million"))
        file.unlink()

    def kill(self) -> None:
        """Killing it under load, and starting it again."""
        ready, first = [], []
        for number in range(self.options.rounds):
            file = self.events("load.ndjson", LOAD_EVENTS)
            load = self.platform.sender(file, LOAD_BATCH)
            time.sleep(LOAD_SECONDS)
            if load.poll() is not None:
                raise Failed(f"{LOAD_EVENTS} events were sent before it was killed: this machine is faster than the drill; raise LOAD_EVENTS")
            self.platform.kill()
            ready.append(self.platform.start())
            first.append(ready[-1] + self.platform.first_in_silver())
            if load.wait() != 0:
                raise Failed("what was sent while it was killed was not taken in the end")
            self.expected += LOAD_EVENTS + 1
            self.platform.wait_for(self.expected)
            say(f"round {number + 1} of {self.options.rounds}: ready after {ready[-1]:.2f} s")
        self.audit()
        size = f"{self.expected:,} events; {len(ready)} times"
        for what, seconds in (("killed under load (SIGKILL), started at once, until it takes events", ready), ("the same, until a new event is in Silver", first)):
            self.measured.append(Measured(what, size, statistics.median(seconds), f"at most {max(seconds):.1f} s"))

    def index(self) -> None:
        """Taking its index away."""
        seconds = {}
        for index in ("there", "gone"):
            self.platform.stop()
            if index == "gone":
                shutil.rmtree(self.platform.data / "index")
            begun = time.monotonic()
            self.platform.start()
            self.platform.first_in_silver()
            self.expected += 1
            seconds[index] = time.monotonic() - begun
        anew = max(seconds["gone"] - seconds["there"], 0) / self.millions()
        self.measured.append(Measured("started, until a new event is in Silver", f"{self.expected:,} events", seconds["there"]))
        self.measured.append(Measured("the same without `index/`, which is made anew", f"{self.expected:,} events", seconds["gone"], f"{anew:.1f} s a million more"))

    def restore(self) -> None:
        """Copying its folder, as from a backup, and starting the copy."""
        self.platform.stop()
        copy = Platform(self.options.program, self.options.folder / "copy")
        begun = time.monotonic()
        shutil.copytree(self.platform.data, copy.data, ignore=lambda folder, names: ["index"] if Path(folder) == self.platform.data else [])
        # On the disk, and not only on its way there.
        os.sync()
        copied = time.monotonic() - begun
        size = sum(file.stat().st_size for file in copy.data.rglob("*") if file.is_file()) / GIB
        self.measured.append(Measured("a backup copied back", f"{size:.2f} GiB", copied, f"{copied / size:.0f} s a GiB"))
        try:
            ready = copy.start()
            ready += copy.first_in_silver()
            audit = self.audit(copy)
            copy.stop()
        finally:
            if copy.process is not None and copy.process.poll() is None:
                copy.process.kill()
                copy.process.wait()
        self.measured.append(Measured("the copy started, until a new event is in Silver", f"{self.expected:,} events", ready))
        self.measured.append(Measured("its audit", f"{self.expected:,} events", audit, f"{audit / self.millions():.1f} s a million"))
        shutil.rmtree(copy.data)

    def replay(self) -> None:
        """Making Silver and Gold anew from Bronze."""
        self.platform.start()
        begun = time.monotonic()
        self.platform.command("replay", "--cut-over")
        seconds = time.monotonic() - begun
        self.audit()
        if (found := self.platform.in_silver()) != self.expected:
            raise Failed(f"{self.expected} events are expected in the new Silver, and {found} are there")
        self.measured.append(Measured("`tidegate replay --cut-over`, the server running", f"{self.expected:,} events", seconds, f"{seconds / self.millions():.0f} s a million"))


def machine(folder: Path) -> str:
    """The machine, in a sentence."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    _, kind = max((mount for mount in mounts if folder.is_relative_to(mount[0])), key=lambda mount: len(mount[0]))
    return f"{len(os.sched_getaffinity(0))} cores ({models[0] if models else platform.machine()}), {memory / (1 << 20):.0f} GiB of memory, {kind}, Linux {platform.release()}; load {os.getloadavg()[0]:.1f} before"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures how long it takes to come back, and prints a table for RUNBOOK.md.")
    parser.add_argument("--folder", type=Path, required=True, help="a folder, new or empty, on the disk that is to be measured; about three times the data's size is needed")
    parser.add_argument("--program", default=os.environ.get("TIDEGATE_BIN") or shutil.which("tidegate"), help="the program [default: $TIDEGATE_BIN, or tidegate on the PATH]")
    parser.add_argument("--events", type=int, default=100_000, help="how many events it is filled with [default: 100000]")
    parser.add_argument("--event-bytes", type=int, default=600, help="bytes of each, about [default: 600]")
    parser.add_argument("--rounds", type=int, default=5, help="how often it is killed [default: 5]")
    parser.add_argument("--seed", type=int, default=7, help="what chance begins with [default: 7]")
    options = parser.parse_args()
    if not options.program:
        parser.error("there is no tidegate on the PATH: build it with `cargo build --release`, and say where it is with --program")
    options.program, options.folder = str(Path(options.program).resolve()), options.folder.resolve()
    if options.events < 1 or options.rounds < 1:
        parser.error("--events and --rounds are 1 at least")
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty: name a folder that is new or empty")
    return options


def main() -> int:
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    where = machine(options.folder)
    try:
        version = subprocess.run([options.program, "--version"], capture_output=True, encoding="utf-8", check=True).stdout.strip()
        lines = Drill(options).run()
    except (Failed, OSError, subprocess.SubprocessError) as error:
        say(str(error))
        return 1
    print(f"`deploy/drill.py --events {options.events} --rounds {options.rounds}`, {version}, events of {options.event_bytes} bytes, on {where}:\n")
    print("| what | size | seconds | |\n|---|---|---|---|")
    print("\n".join(line.line() for line in lines))
    for left in options.folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
