#!/usr/bin/env python3
"""What the small machine's processes need of its memory, with the bounds of their units, as root on a Linux with cgroups (see --help).

Kafka and Tidegate are started by the commands and settings that `deploy/aws/free-tier.yaml` brings along, each in a cgroup with its unit's bounds, and both in one that is as
large as a t3.micro less what its system takes. Events come at a given rate. What is printed is a table for deploy/aws/README.md, and the exit code is 1 where the kernel ended
one of them, or the books do not balance.
"""

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

from unit import START_SECONDS_MAX, Unit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/clients/python"))
from gateway import Gateway  # noqa: E402
from server import free_port  # noqa: E402

KEY = "tg_of_the_small_machine"
MIB = 1 << 20
SAMPLE_SECONDS = 0.5
EVENTS_IN_A_REQUEST_MAX = 500
SILVER_SECONDS_MAX = 600
#: Gold is made each five minutes there.
GOLD_SECONDS_MAX = 1_200
#: What of the repository is where on the machine.
PLACES = {
    "deploy/systemd/kafka.service": "etc/systemd/system/kafka.service",
    "deploy/systemd/tidegate.service": "etc/systemd/system/tidegate.service",
    "deploy/aws/files/small.conf": "etc/systemd/system/tidegate.service.d/small.conf",
    "deploy/aws/files/server.properties": "etc/kafka/server.properties",
    "deploy/aws/files/log4j2.properties": "etc/kafka/log4j2.properties",
    "deploy/aws/files/tidegate.toml": "etc/tidegate/tidegate.toml",
}


@dataclass
class Bounds:
    """`MemoryHigh` and `MemoryMax` of a unit, in bytes."""

    high: int
    most: int


def bounds(root: Path, unit: str, memory: int) -> Bounds:
    """The bounds of a unit with its drop-ins, of which the last one holds, on a machine with so much memory."""
    found = {}
    for file in [root / "etc/systemd/system" / unit, *sorted(root.glob(f"etc/systemd/system/{unit}.d/*.conf"))]:
        found |= dict(re.findall(r"^(MemoryHigh|MemoryMax)=(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE))
    return Bounds(in_bytes(found["MemoryHigh"], memory), in_bytes(found["MemoryMax"], memory))


def in_bytes(text: str, memory: int) -> int:
    number, sign = int(text[:-1]), text[-1]
    return memory * number // 100 if sign == "%" else number << {"K": 10, "M": 20, "G": 30}[sign]


class Group:
    """A cgroup with a bound, of either version."""

    def __init__(self, parent: Path, name: str, most: int, high: int | None = None) -> None:
        self.folder = parent / name
        self.folder.mkdir()
        self.is_new = (self.folder / "memory.max").exists()
        if self.is_new:
            self.write("memory.max", most)
            if high is not None:
                self.write("memory.high", high)
        else:
            # The first version has no MemoryHigh: nothing slows a process down before its bound.
            self.write("memory.limit_in_bytes", most)

    @staticmethod
    def parent() -> Path:
        """Where groups can be made."""
        second, first = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
        if (second / "cgroup.controllers").exists() and "memory" in (second / "cgroup.controllers").read_text().split():
            (second / "cgroup.subtree_control").write_text("+memory")
            return second
        if (first / "memory.limit_in_bytes").exists():
            return first
        raise OSError("this machine has no cgroups with memory in them")

    def write(self, file: str, value: int | str) -> None:
        (self.folder / file).write_text(str(value))

    def number(self, file: str, key: str = "") -> int:
        text = (self.folder / file).read_text()
        return int(text) if not key else int(dict(line.split() for line in text.splitlines())[key])

    def divide(self) -> None:
        """Lets groups in this one have bounds of their own."""
        if self.is_new:
            self.write("cgroup.subtree_control", "+memory")

    @property
    def entry(self) -> str:
        """What puts a shell into it."""
        return f"echo $$ > {self.folder}/cgroup.procs"

    def peak(self) -> int:
        return self.number("memory.peak" if self.is_new else "memory.max_usage_in_bytes")

    def held_back(self) -> int:
        """How often it came to a bound, and pages were taken from it."""
        return self.number("memory.events", "high") + self.number("memory.events", "max") if self.is_new else self.number("memory.failcnt")

    def killed(self) -> int:
        return self.number("memory.events" if self.is_new else "memory.oom_control", "oom_kill")

    def remove(self) -> None:
        deadline = time.monotonic() + 10
        while self.folder.exists():
            try:
                self.folder.rmdir()
            except OSError:
                # A process that was killed leaves it a moment later.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


class Watched:
    """A process in its group, and the most that it had of each kind of memory."""

    def __init__(self, name: str, unit: Unit, group: Group, bounds: Bounds, log: Path, more: dict[str, str]) -> None:
        self.name, self.group, self.bounds = name, group, bounds
        self.process = unit.start(log, group.entry, **more)
        self.resident = self.own = 0

    def sample(self) -> None:
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return
        found = {key: int(kib) << 10 for key, kib in re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB$", text, re.MULTILINE)}
        self.resident, self.own = max(self.resident, found.get("VmHWM", 0)), max(self.own, found.get("RssAnon", 0))

    def line(self) -> str:
        sizes = (self.bounds.high, self.bounds.most, self.group.peak(), self.resident, self.own)
        return f"| {self.name} | {' | '.join(f'{size // MIB} MiB' for size in sizes)} | {self.group.held_back():,} | {'**yes**' if self.group.killed() else 'no'} |"


class Traffic:
    """Events at a rate, in as few requests as a client makes that sends ten times a second."""

    def __init__(self, url: str, event_bytes: int) -> None:
        self.url, self.note = url, "x" * max(event_bytes - 250, 0)
        self.authorization = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
        self.made = self.taken = self.put_off = 0

    def send(self, count: int) -> None:
        """Sends so many, again where the gate says to wait."""
        while count > 0:
            part = [self.event() for _ in range(min(count, EVENTS_IN_A_REQUEST_MAX))]
            while not self.is_taken(part):
                self.put_off += 1
                time.sleep(1)
            count -= len(part)

    def is_taken(self, events: list[dict]) -> bool:
        headers = {"authorization": self.authorization, "content-type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.url}/v1/events", json.dumps(events).encode(), headers), timeout=60) as answer:
                self.taken += json.load(answer)["accepted"]
                return True
        except OSError:
            return False

    def event(self) -> dict:
        self.made += 1
        page = self.made % 500
        return {
            "event_id": str(uuid.uuid4()),
            "event_type": "page_view",
            "user_id": f"user-{self.made % 5_000}",
            "properties": {"url": f"https://www.example.com/page/{page}", "path": f"/page/{page}", "title": f"Page {page}", "note": self.note},
        }


def laid_out(root: Path, options: argparse.Namespace, lake: str) -> None:
    """The machine's files as its first boot lays them."""
    for source, target in PLACES.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, root / target)
    for target, source in {"opt/kafka/libs": options.kafka, "usr/local/bin/tidegate": options.program}.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / target).symlink_to(source.resolve())
    identity = base64.b64encode(uuid.uuid4().bytes, altchars=b"AB").decode().rstrip("=")
    (root / "etc/kafka/kafka.env").write_text(f"KAFKA_CLUSTER_ID={identity}\n")
    (root / "etc/tidegate/tidegate.env").write_text(f"TIDEGATE_LAKE__LOCATION={lake}\nTIDEGATE_PIPELINE__COMMIT_INTERVAL={options.commit_interval}\n")


def measure(folder: Path, options: argparse.Namespace, whole: Group) -> int:
    root = folder / "root"
    (folder / "s3").mkdir()
    os.environ["TIDEGATE_TEST_S3_PROGRAM"] = str(options.s3.resolve())
    store = Gateway(folder / "s3", "lake")
    laid_out(root, options, "s3://lake/tidegate")
    memory = options.memory_mib * MIB
    ports = {"127.0.0.1:9092": f"127.0.0.1:{free_port()}", "127.0.0.1:9093": f"127.0.0.1:{free_port()}"}
    gate = f"127.0.0.1:{free_port()}"
    here = store.environment | {"TIDEGATE_SERVER__LISTEN": gate, "TIDEGATE_JOURNAL__KAFKA__BROKERS": ports["127.0.0.1:9092"]}
    units = {name: Unit(root, f"{name}.service", ports) for name in ("kafka", "tidegate")}
    groups, watched = [], []
    try:
        whole.divide()

        def command(*arguments: str) -> str:
            program = [options.program, *arguments, "--config", root / "etc/tidegate/tidegate.toml"]
            return subprocess.run(program, env=units["tidegate"].environment | here, capture_output=True, encoding="utf-8", check=True, timeout=600).stdout

        command("source", "add", "web", "--key", KEY)
        for name, unit in units.items():
            bound = bounds(root, f"{name}.service", memory)
            groups.append(Group(whole.folder, name, bound.most, bound.high))
            watched.append(Watched(name, unit, groups[-1], bound, folder / f"{name}.log", here if name == "tidegate" else {}))

        def sample() -> None:
            for one in watched:
                one.sample()
                if one.process.poll() is not None:
                    raise RuntimeError(f"{one.name} ended with {one.process.returncode}{', killed by the kernel for its memory' if one.group.killed() else ''}")

        traffic = Traffic(f"http://{gate}", options.event_bytes)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_ready(traffic.url):
            sample()
            if time.monotonic() > deadline:
                raise RuntimeError("it does not get ready: " + (folder / "tidegate.log").read_text()[-2_000:])
            time.sleep(SAMPLE_SECONDS)
        stands = ""
        try:
            while traffic.made < options.before:
                traffic.send(min(EVENTS_IN_A_REQUEST_MAX, options.before - traffic.made))
                sample()
            begun, sampled = time.monotonic(), 0.0
            while (elapsed := time.monotonic() - begun) < options.seconds:
                traffic.send(int(options.rate * elapsed) - (traffic.made - options.before))
                if elapsed - sampled >= SAMPLE_SECONDS:
                    sample()
                    sampled = elapsed
                time.sleep(0.1)
            wait_for_silver(command, sample, traffic.taken)
            wait_for_gold(command, sample)
            command("audit")
        except (RuntimeError, subprocess.CalledProcessError) as error:
            stands = f"{error}{getattr(error, 'stderr', '') or ''}"
        report(options, whole, watched, traffic)
        if stands:
            print(f"\n{stands}", file=sys.stderr)
        return 1 if stands or any(group.killed() for group in groups) else 0
    finally:
        for one in watched:
            one.process.kill()
            one.process.wait()
        store.stop()
        for group in groups:
            group.remove()


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_for_silver(command, sample, expected: int) -> None:
    deadline = time.monotonic() + SILVER_SECONDS_MAX
    found = 0
    while found < expected:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{expected} events were taken, and {found} are in Silver")
        for _ in range(20):
            sample()
            time.sleep(SAMPLE_SECONDS)
        found = json.loads(command("query", "SELECT count(*) AS n FROM silver.events", "--format", "json"))[0]["n"]


def wait_for_gold(command, sample) -> None:
    """Until every model has the whole day, which is when most memory is needed."""
    deadline = time.monotonic() + GOLD_SECONDS_MAX
    while due := [model for model in json.loads(command("gold", "list", "--format", "json")) if model["due"]]:
        if time.monotonic() > deadline:
            raise RuntimeError("Gold is not up to date: " + "; ".join(f"{model['model']}: {model['why']}" for model in due))
        for _ in range(20):
            sample()
            time.sleep(SAMPLE_SECONDS)


def report(options: argparse.Namespace, whole: Group, watched: list[Watched], traffic: Traffic) -> None:
    version = "second version" if whole.is_new else "first version, which has no MemoryHigh"
    print(f"{options.before:,} events at once, then {options.rate:g} a second for {options.seconds} s, of {options.event_bytes} bytes: {traffic.taken:,} taken, {traffic.put_off:,} requests put off.")
    print(f"A machine of {options.memory_mib} MiB, {options.system_mib} of them the system's; cgroups of the {version}; swap: {swap_mib()} MiB.\n")
    print("| | `MemoryHigh` | `MemoryMax` | peak of the group, with page cache | resident | of that not backed by files | times at a bound | killed |\n|---|---|---|---|---|---|---|---|")
    for one in watched:
        print(one.line())
    limit = (options.memory_mib - options.system_mib) * MIB
    print(f"| both | | {limit // MIB} MiB | {whole.peak() // MIB} MiB | | | {whole.held_back():,} | {'**yes**' if whole.killed() else 'no'} |")


def swap_mib() -> int:
    return next(int(line.split()[1]) >> 10 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("SwapTotal"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures what fits in the memory of the small machine on AWS.", epilog="`cargo xtask test` installs Kafka and the S3 server in servers/ below the target folder.")
    parser.add_argument("--program", type=Path, required=True, help="the program, target/release/tidegate")
    parser.add_argument("--kafka", type=Path, required=True, help="the folder with Kafka's jars, servers/kafka below the target folder")
    parser.add_argument("--s3", type=Path, required=True, help="the S3 server, servers/s3/versitygw below the target folder")
    parser.add_argument("--rate", type=float, default=1, help="events a second [default: 1]")
    parser.add_argument("--seconds", type=int, default=600, help="for how long; Gold is made each five minutes [default: 600]")
    parser.add_argument("--before", type=int, default=0, help="so many events at once before that, for a day that has grown [default: 0]")
    parser.add_argument("--event-bytes", type=int, default=600, help="bytes of an event, about [default: 600]")
    parser.add_argument("--commit-interval", default="1m", help="the stack's CommitInterval [default: 1m]")
    parser.add_argument("--memory-mib", type=int, default=940, help="the machine's memory: a t3.micro has about 940 MiB for Debian [default: 940]")
    parser.add_argument("--system-mib", type=int, default=110, help="what of it the system and its agent take [default: 110]")
    options = parser.parse_args()
    for name in ("program", "kafka", "s3"):
        if not getattr(options, name).exists():
            parser.error(f"--{name}: there is no {getattr(options, name)}")
    options.program = options.program.resolve()
    return options


def main() -> int:
    options = arguments()
    try:
        whole = Group(Group.parent(), f"tidegate-budget-{os.getpid()}", (options.memory_mib - options.system_mib) * MIB)
    except OSError as error:
        print(f"{error}: run it as root where cgroups can be made, which a container is not allowed as it comes", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="tidegate-budget-") as folder:
            return measure(Path(folder), options, whole)
    finally:
        whole.remove()


if __name__ == "__main__":
    sys.exit(main())
