"""What a machine does at its first boot, done for real: below a folder instead of /, with stand-ins only for what is the cloud's or the machine's."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from functools import partial
from hashlib import sha256, sha512
from pathlib import Path

import pytest

from systemd import tools
from templates import AWS, ROOT, Stack
from unit import START_SECONDS_MAX, Unit

sys.path[:0] = [str(AWS), str(ROOT / "tests/clients/python")]
import embed  # noqa: E402
from gateway import Gateway  # noqa: E402
from server import free_port  # noqa: E402

SCRIPTS = sorted([*AWS.glob("user-data/*.sh"), AWS / "files/fetch-secrets"])
BROKERS = "b-1.example:9096,b-2.example:9096,b-3.example:9096"
QUERYABLE_SECONDS_MAX = 120
# Stand-ins. Each notes what it was asked for; none decides anything that the scripts are to decide.
STUBS = {
    "aws": """
case "$1 $2" in
    "s3 cp") shift 2; while [[ $1 == --* ]]; do [[ $1 == --region ]] && shift; shift; done; cp "$BUCKETS/${1#s3://}" "$2" ;;
    "kafka get-bootstrap-brokers") echo "$BROKERS" ;;
    "secretsmanager get-secret-value") while [[ $1 != --secret-id ]]; do shift; done; cat "$SECRETS/$2" ;;
    *) exit 64 ;;
esac""",
    "apt-get": """if [[ $1 == install ]]; then touch "$STATE/packages"; fi""",
    "dpkg": """touch "$STATE/agent" """,
    "dpkg-query": """case "$*" in *amazon-ssm-agent*) test -e "$STATE/agent" ;; *) test -e "$STATE/packages" ;; esac""",
    "swapon": """if [[ $1 == --show=NAME ]]; then cat "$STATE/swap" 2> /dev/null || true; else echo "$1" > "$STATE/swap"; fi""",
    "systemctl": "",
}


class Machine:
    """A fresh machine: an empty root, an AWS that has what was put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        (self.root / "etc").mkdir(parents=True)
        (self.root / "etc/fstab").write_text("# of the image\n")
        for name in ("bin", "state", "buckets/artifacts", "secrets", "tmp"):
            (folder / name).mkdir(parents=True)
        for name, body in STUBS.items():
            stub = folder / "bin" / name
            stub.write_text(f'#!/bin/bash\necho "{name} $*" >> "$STATE/asked"\n{body}\n')
            stub.chmod(0o755)
        self.put("tidegate", b"#!/bin/sh\n")
        self.put("amazon-ssm-agent.deb", b"a package")

    def put(self, key: str, content: bytes) -> None:
        (self.folder / "buckets/artifacts" / key).write_bytes(content)

    def sum(self, key: str) -> str:
        return sha256((self.folder / "buckets/artifacts" / key).read_bytes()).hexdigest()

    def sums(self) -> dict[str, str]:
        return {"TidegateSha256": self.sum("tidegate"), "SsmAgentSha256": self.sum("amazon-ssm-agent.deb")}

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder / "bin"), *tools().path, os.environ["PATH"], "/usr/sbin", "/sbin"])
        where = {"ROOT": self.root, "STATE": self.folder / "state", "BUCKETS": self.folder / "buckets", "SECRETS": self.folder / "secrets", "TMPDIR": self.folder / "tmp"}
        return tools().environment | {name: str(value) for name, value in where.items()} | {"PATH": path, "BROKERS": BROKERS}

    def boot(self, user_data: str) -> subprocess.CompletedProcess:
        (self.folder / "state/asked").unlink(missing_ok=True)
        script = self.folder / "user-data"
        script.write_text(user_data)
        script.chmod(0o700)
        done = subprocess.run([script], env=self.environment(), capture_output=True, encoding="utf-8", timeout=120)
        # Nothing is left where everybody could read it.
        assert not list((self.folder / "tmp").iterdir())
        return done

    def asked(self, program: str) -> list[str]:
        lines = (self.folder / "state/asked").read_text().splitlines()
        return [line.removeprefix(f"{program} ") for line in lines if line.split()[0] == program]

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every file but the swap: its mode and its content."""
        found = (path for path in self.root.rglob("*") if path.is_file() and path.name != "swapfile")
        return {f"/{path.relative_to(self.root)}": (path.stat().st_mode & 0o777, path.read_bytes()) for path in found}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def kafka(tmp_path):
    """Apache's server, as far as this needs it: the address of a tarball, and its checksum."""
    site = tmp_path / "site"
    site.mkdir()

    def serve(jars: list[Path]) -> dict[str, str]:
        with tarfile.open(site / "kafka.tgz", "w:gz", compresslevel=1) as tarball:
            for jar in jars:
                tarball.add(jar, f"kafka_2.13-4.3.1/libs/{jar.name}")
        handler = partial(type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=site)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return {"KafkaUrl": f"http://127.0.0.1:{server.server_port}/kafka.tgz", "KafkaSha512": sha512((site / "kafka.tgz").read_bytes()).hexdigest()}

    running: list[http.server.ThreadingHTTPServer] = []
    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def jar(tmp_path):
    path = tmp_path / "some.jar"
    path.write_bytes(b"PK")
    return path


def source(path: str) -> bytes:
    return embed.shortened((ROOT / path).read_text(encoding="utf-8")).encode()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_scripts_are_sound(script):
    subprocess.run(["bash", "-n", script], check=True)
    checked = subprocess.run([Path(sys.executable).with_name("shellcheck"), "--shell=bash", "--enable=quote-safe-variables", script], capture_output=True, encoding="utf-8")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("name", "template"), [("free-tier", "LaunchTemplate"), ("production", "GateTemplate"), ("production", "WorkerTemplate")])
def test_user_data_is_sound_as_a_whole(name, template, request, tmp_path):
    made = request.getfixturevalue({"free-tier": "small"}.get(name, name))
    whole = tmp_path / "user-data"
    whole.write_text(made.user_data(template))
    assert whole.read_text().startswith("#!/bin/bash\nset -euo pipefail\n")
    checked = subprocess.run([Path(sys.executable).with_name("shellcheck"), "--severity=warning", "--exclude=SC2155", whole], capture_output=True, encoding="utf-8")
    assert checked.returncode == 0, checked.stdout


def test_a_small_machine_is_made(machine, kafka, jar):
    made = Stack("free-tier", machine.sums() | kafka([jar]) | {"SwapMiB": "1", "CommitInterval": "30s"})
    done = machine.boot(made.user_data("LaunchTemplate"))
    assert done.returncode == 0, done.stderr
    files = machine.files()
    for name, target in (
        ("deploy/systemd/kafka.service", "/etc/systemd/system/kafka.service"),
        ("deploy/systemd/tidegate.service", "/etc/systemd/system/tidegate.service"),
        ("deploy/aws/files/small.conf", "/etc/systemd/system/tidegate.service.d/small.conf"),
        ("deploy/aws/files/journald.conf", "/etc/systemd/journald.conf.d/tidegate.conf"),
        ("deploy/aws/files/server.properties", "/etc/kafka/server.properties"),
        ("deploy/aws/files/log4j2.properties", "/etc/kafka/log4j2.properties"),
        ("deploy/aws/files/tidegate.toml", "/etc/tidegate/tidegate.toml"),
    ):
        assert files[target] == (0o644, source(name)), target
    assert files["/usr/local/bin/tidegate"] == (0o755, b"#!/bin/sh\n") and files["/opt/kafka/libs/some.jar"][1] == b"PK"
    mode, settings = files["/etc/tidegate/tidegate.env"]
    assert mode == 0o600 and settings.decode().split() == [
        f"TIDEGATE_LAKE__LOCATION=s3://{made.ids['LakeBucket']}/tidegate",
        "TIDEGATE_PIPELINE__COMMIT_INTERVAL=30s",
        "TIDEGATE_LAKE__S3__REGION=us-east-1",
    ]
    assert re.fullmatch(r"KAFKA_CLUSTER_ID=[A-Za-z0-9]{22}\n", files["/etc/kafka/kafka.env"][1].decode())
    assert {line.split(":")[0] for line in files["/etc/passwd"][1].decode().splitlines()} >= {"tidegate", "kafka"}
    assert files["/etc/fstab"][1].decode().splitlines() == ["# of the image", "/swapfile none swap sw 0 0"]
    swap = machine.root / "swapfile"
    assert swap.stat().st_mode & 0o777 == 0o600 and swap.read_bytes()[4086:4096] == b"SWAPSPACE2"
    assert machine.asked("systemctl")[-3:] == ["enable kafka tidegate", "restart kafka", "restart tidegate"]
    assert not list(machine.root.glob("var/cache/tidegate/kafka.tgz"))

    again = machine.boot(made.user_data("LaunchTemplate"))
    assert again.returncode == 0 and "is new" not in again.stdout and machine.files() == files
    # Nothing is fetched, installed or swapped to a second time.
    assert not machine.asked("apt-get") and not machine.asked("aws") and machine.asked("swapon") == ["--show=NAME --noheadings"]


@pytest.mark.parametrize("wrong", ["TidegateSha256", "SsmAgentSha256", "KafkaSha512"])
def test_what_is_not_what_its_checksum_says_is_not_used(machine, kafka, jar, wrong):
    sums = machine.sums() | kafka([jar]) | {"SwapMiB": "1"}
    sums[wrong] = "0" * len(sums[wrong])
    done = machine.boot(Stack("free-tier", sums).user_data("LaunchTemplate"))
    assert done.returncode != 0 and "is not what its checksum says" in done.stderr
    refused = {"TidegateSha256": "tidegate", "SsmAgentSha256": "amazon-ssm-agent.deb", "KafkaSha512": "kafka.tgz"}[wrong]
    assert not (machine.root / "var/cache/tidegate" / refused).exists() and not (machine.root / "usr/local/bin/tidegate").exists()
    assert not machine.asked("systemctl")


@pytest.mark.parametrize("role", ["gate", "worker"])
def test_a_machine_of_production_is_made(machine, role):
    made = Stack("production", machine.sums())
    data = made.user_data(f"{role.capitalize()}Template")
    done = machine.boot(data)
    assert done.returncode == 0, done.stderr
    files = machine.files()
    for name, target, mode in (
        (f"deploy/systemd/tidegate-{role}.service", f"/etc/systemd/system/tidegate-{role}.service", 0o644),
        ("deploy/aws/files/secrets.conf", f"/etc/systemd/system/tidegate-{role}.service.d/secrets.conf", 0o644),
        ("deploy/aws/files/tidegate-secrets.service", "/etc/systemd/system/tidegate-secrets.service", 0o644),
        ("deploy/aws/files/tidegate-secrets.timer", "/etc/systemd/system/tidegate-secrets.timer", 0o644),
        ("deploy/aws/files/fetch-secrets", "/usr/local/lib/tidegate/fetch-secrets", 0o755),
        ("deploy/aws/files/production.toml", "/etc/tidegate/tidegate.toml", 0o644),
    ):
        assert files[target] == (mode, source(name)), target
    mode, settings = files[f"/etc/tidegate/tidegate-{role}.env"]
    settings = dict(line.split("=", 1) for line in settings.decode().splitlines())
    assert mode == 0o600 and settings["TIDEGATE_JOURNAL__KAFKA__BROKERS"] == BROKERS
    assert settings["TIDEGATE_JOURNAL__KAFKA__SECURITY__USERNAME"] == f"tidegate-{role}"
    # A worker takes no events, so it knows no write keys.
    assert ("TIDEGATE_SERVER__KEY_FILE" in settings) == (role == "gate")
    assert bool(re.search("^KEYS_SECRET=.+$", files["/etc/tidegate/secrets.env"][1].decode(), re.MULTILINE)) == (role == "gate")
    assert machine.asked("systemctl")[-1] == f"restart tidegate-{role}"
    again = machine.boot(data)
    assert again.returncode == 0 and machine.files() == files


def test_a_cluster_without_brokers_stops_the_boot(machine, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "BROKERS", "None")
    done = machine.boot(Stack("production", machine.sums()).user_data("GateTemplate"))
    assert done.returncode != 0 and "names no brokers" in done.stderr


def fetch(machine, state: Path, keys: str = "keys") -> subprocess.CompletedProcess:
    environment = machine.environment() | {"REGION": "us-east-1", "KAFKA_SECRET": "kafka", "KEYS_SECRET": keys, "STATE_DIRECTORY": str(state)}
    return subprocess.run([AWS / "files/fetch-secrets"], env=environment, capture_output=True, encoding="utf-8", timeout=60)


def test_secrets_come_to_files_for_their_owner_only(machine, tmp_path):
    state = tmp_path / "tidegate-secrets"
    state.mkdir()
    secrets = {"sources.json": '{"version": 1}\n', "pii.key": "ab" * 32, "signing.key": "cd" * 32}
    (machine.folder / "secrets/kafka").write_text(json.dumps({"username": "tidegate-gate", "password": "s3cret"}))
    (machine.folder / "secrets/keys").write_text(json.dumps(secrets))
    done = fetch(machine, state)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in state.iterdir()} == secrets | {"kafka-password": "s3cret"}
    assert {path.stat().st_mode & 0o777 for path in state.iterdir()} == {0o600}
    assert not any(secret in done.stdout + done.stderr for secret in ("s3cret", "abab"))

    # Unchanged, nothing is touched; changed, one file is.
    before = {path.name: path.stat().st_ino for path in state.iterdir()}
    (machine.folder / "secrets/keys").write_text(json.dumps(secrets | {"sources.json": '{"version": 1, "sources": {}}'}))
    assert fetch(machine, state).stdout == "sources.json is new\n"
    assert {path.name for path in state.iterdir() if path.stat().st_ino != before[path.name]} == {"sources.json"}

    # What is broken replaces nothing.
    (machine.folder / "secrets/keys").write_text("{}")
    assert fetch(machine, state).returncode != 0
    assert (state / "sources.json").read_text() == '{"version": 1, "sources": {}}'
    (machine.folder / "secrets/kafka").write_text(json.dumps({"password": ""}))
    assert fetch(machine, state, keys="").returncode != 0 and (state / "kafka-password").read_text() == "s3cret"


def test_what_a_small_machine_installed_takes_an_event_to_a_table(machine, kafka, tmp_path):
    program = Path(os.environ["TIDEGATE_BIN"])
    shutil.copy(program, machine.folder / "buckets/artifacts/tidegate")
    jars = sorted(Path(os.environ["TIDEGATE_TEST_KAFKA_JARS"]).glob("*.jar"))
    made = Stack("free-tier", machine.sums() | kafka(jars) | {"SwapMiB": "1", "CommitInterval": "1s"})
    done = machine.boot(made.user_data("LaunchTemplate"))
    assert done.returncode == 0, done.stderr
    (tmp_path / "s3").mkdir()
    store = Gateway(tmp_path / "s3", made.ids["LakeBucket"])
    ports = {"127.0.0.1:9092": f"127.0.0.1:{free_port()}", "127.0.0.1:9093": f"127.0.0.1:{free_port()}"}
    gate = f"127.0.0.1:{free_port()}"
    here = store.environment | {"TIDEGATE_SERVER__LISTEN": gate, "TIDEGATE_JOURNAL__KAFKA__BROKERS": ports["127.0.0.1:9092"]}
    processes = []
    try:
        broker, platform = Unit(machine.root, "kafka.service", ports), Unit(machine.root, "tidegate.service", ports)
        assert platform.environment["MALLOC_ARENA_MAX"] == "2" and "-Xmx256m" in broker.environment["KAFKA_MEMORY"]
        settings = ["--config", str(machine.root / "etc/tidegate/tidegate.toml")]

        def command(*arguments: str) -> str:
            made_of = [machine.root / "usr/local/bin/tidegate", *arguments, *settings]
            return subprocess.run(made_of, env=platform.environment | here, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout

        command("source", "add", "web", "--key", "tg_test_key_of_the_small_machine")
        processes.append(broker.start(tmp_path / "kafka.log"))
        processes.append(platform.start(tmp_path / "tidegate.log", **here))
        event = json.dumps({"event_id": "first-1", "event_type": "page_view", "event_time": "2026-11-23T10:00:00Z", "user_id": "u1", "properties": {"url": "https://www.example.com/", "path": "/"}})
        until(START_SECONDS_MAX, lambda: status(f"http://{gate}/readyz") == 200)
        send = ["send", "-", "--url", f"http://{gate}", "--key", "tg_test_key_of_the_small_machine", "--format", "json"]
        sent = subprocess.run([machine.root / "usr/local/bin/tidegate", *send], input=event, env=platform.environment, capture_output=True, encoding="utf-8", timeout=60)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        statement = "SELECT event_id, page_path FROM silver.events"
        until(QUERYABLE_SECONDS_MAX, lambda: rows(command, statement) == [{"event_id": "first-1", "page_path": "/"}])
        assert (machine.root / "var/lib/kafka/log/meta.properties").exists()
        command("audit")
    except BaseException:
        for log in ("kafka.log", "tidegate.log"):
            if (tmp_path / log).exists():
                print(log, (tmp_path / log).read_text()[-4_000:])
        raise
    finally:
        for process in processes:
            process.kill()
            process.wait()
        store.stop()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status
    except OSError:
        return 0


def rows(command, statement: str) -> list[dict]:
    try:
        return json.loads(command("query", statement, "--format", "json"))
    except subprocess.CalledProcessError as failed:
        # The table is made with its first commit.
        assert "silver" in failed.stderr, failed.stderr
        return []


def until(seconds: float, true) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
