"""Makes the data of a release: python3 make.py PROGRAM NAME, with the finished program of that release and a name that is not taken yet, such as v2.

Makes NAME.tar.zst beside this file; README.md says what is in it. Needs Python 3.10 or newer and zstd.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

# The lake's location stands in its tables and in the index: a path that is nobody's.
PLACE = Path("/tmp/tidegate-formats")
# They let one in nowhere: whoever has the repository has them.
KEY, APP_KEY, OLD_KEY = "tg_formats_web", "tg_formats_app", "tg_formats_old"
PASSWORD = "formats-reader"
ERASED = "alice@formats.example"
SETTINGS = {
    "NO_COLOR": "1",
    # Few files, and journal files that are full.
    "TIDEGATE_PIPELINE__COMMIT_INTERVAL": "2s",
    "TIDEGATE_PIPELINE__GOLD_INTERVAL": "1h",
    "TIDEGATE_PIPELINE__LEDGER_INTERVAL": "1h",
    "TIDEGATE_JOURNAL__SEGMENT_BYTES": "16384",
    "TIDEGATE_JOURNAL__PARTITIONS": "2",
}
GATE_SETTINGS = {
    "NO_COLOR": "1",
    "TIDEGATE_JOURNAL__KIND": "kafka",
    # Nobody is there, so everything is spooled.
    "TIDEGATE_JOURNAL__KAFKA__BROKERS": "127.0.0.1:1",
    "TIDEGATE_JOURNAL__SPOOL__AFTER": "100ms",
    "TIDEGATE_SERVER__ROLES": "ingest",
}
PLAN = """\
version: formats-1
types:
  buy:
    properties:
      price: {type: number}
    required: [price]
"""
MAPPING = "event_type: {value: order}\nevent_time: created\nuser_id: customer\n"


class Server:
    """A program that serves a data folder, until it is stopped or killed."""

    def __init__(self, program, data, settings):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (PLACE / "serve.log").open("a")
        command = [program, "serve", "--data", str(data), "--listen", f"127.0.0.1:{port}"]
        self._process = subprocess.Popen(command, cwd=PLACE, env=environment(settings), stdout=self._log, stderr=self._log)
        wait("the server is ready", lambda: status(f"{self.url}/readyz") == 200)

    def send(self, key, events):
        request = urllib.request.Request(f"{self.url}/v1/events", json.dumps(events).encode(), {"content-type": "application/json"})
        request.add_header("authorization", "Basic " + b64encode(f"{key}:".encode()).decode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200, answer.status

    def stop(self, how=signal.SIGTERM):
        self._process.send_signal(how)
        ended = self._process.wait(120)
        assert ended == (0 if how == signal.SIGTERM else -how), ended
        self._log.close()


def environment(settings):
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    # Who began a job, and did what the audit log tells, is nobody of this machine.
    return {**ours, "TIDEGATE_JOB_BY": "formats", "TIDEGATE_PLAN__FILE": str(PLACE / "plan.yaml"), **settings}


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except (urllib.error.URLError, OSError):
        return 0


def wait(what, reached):
    until = time.monotonic() + 90
    while not reached():
        assert time.monotonic() < until, f"not within 90 seconds: {what}"
        time.sleep(0.2)


def run(program, data, *arguments, settings=SETTINGS):
    command = [program, *arguments, "--data", str(data)]
    done = subprocess.run(command, cwd=PLACE, env=environment(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def number(program, data, sql):
    rows = json.loads(run(program, data, "query", sql, "--format", "json"))
    return next(iter(rows[0].values()))


def view(number, user=None):
    """An event; every other one has a UUIDv7 for an id, so that the index has shards of days as well."""
    id = f"formats-{number}" if number % 2 else f"019ab0c1-{number:04x}-7000-8000-{number:012x}"
    return {
        "event_id": id,
        "event_type": "page_view",
        "event_time": f"2026-11-20T{number % 24:02}:30:00Z",
        "user_id": user or f"u{number % 20}",
        "anonymous_id": f"a{number % 20}",
        "properties": {"url": f"https://formats.example/{number % 7}", "n": number},
    }


def exposure(number):
    event = view(number)
    variation = "treatment" if number % 3 else "control"
    return {**event, "event_type": "feature_exposure", "properties": {"experiment_id": "button", "variation_id": variation}}


def buy(number, price):
    return {**view(number), "event_type": "buy", "properties": {"price": price}}


def without_type(number):
    event = view(number)
    del event["event_type"]
    return event


def make(program):
    """The data folders below PLACE; gives what is to be told of them."""
    (PLACE / "plan.yaml").write_text(PLAN)
    data = PLACE / "data"
    run(program, data, "source", "add", "web", "--key", KEY)
    run(program, data, "source", "add", "app", "--key", APP_KEY, "--event-type", "page_*", "--rate", "1000")
    run(program, data, "source", "add", "old", "--key", OLD_KEY)
    run(program, data, "source", "revoke", "old")
    run(program, data, "reader", "add", "rita", "--password", PASSWORD)
    tokens = {name: run(program, data, "token", "add", name, "--role", role).strip() for name, role in (("anna", "admin"), ("rudi", "read"))}

    # All of the path: events and exposures, copies, another event under an id that is taken, one that breaks the plan, one that is refused, and a person who is erased.
    first = [view(n) for n in range(120)] + [exposure(n) for n in range(120, 150)] + [buy(n, n) for n in range(150, 160)]
    hers = [view(n, ERASED) for n in range(160, 166)]
    bad = [buy(170, "dear"), {**view(3), "user_id": "another", "properties": {"n": -1}}]
    server = Server(program, data, SETTINGS)
    server.send(KEY, first + hers)
    server.send(APP_KEY, [view(n) for n in range(180, 190)])
    silver = len(first) + len(hers) + 10
    wait("Silver has the first part", lambda: number(program, data, "SELECT count(*) FROM silver.events") == silver)
    server.send(KEY, first[:20] + bad + [without_type(171)])
    wait("the dead letters are there", lambda: number(program, data, "SELECT count(*) FROM dead_letters") == len(bad) + 1)
    (PLACE / "orders.csv").write_text("number,created,customer\n" + "".join(f"{n},2026-11-19T{n:02}:00:00Z,c{n % 5}\n" for n in range(12)))
    (PLACE / "orders.yaml").write_text(MAPPING)
    run(program, data, "backfill", "orders.csv", "--mapping", "orders.yaml", "--url", server.url, "--key", KEY)
    silver += 12
    wait("Silver has the rows of the file", lambda: number(program, data, "SELECT count(*) FROM silver.events") == silver)
    server.stop()
    run(program, data, "erase", "--user", ERASED)
    silver -= len(hers)

    # Journal files that Bronze has taken, and, in the end, records that it has not: no stage runs, and the process is killed.
    server = Server(program, data, SETTINGS)
    server.send(KEY, [view(n) for n in range(200, 230)])
    silver += 30
    wait("Silver has the second part", lambda: number(program, data, "SELECT count(*) FROM silver.events") == silver)
    server.stop()
    run(program, data, "audit")
    bronze = number(program, data, "SELECT count(*) FROM bronze.events")
    server = Server(program, data, {**SETTINGS, "TIDEGATE_SERVER__ROLES": "ingest"})
    server.send(KEY, [view(n) for n in range(230, 250)] + first[:5])
    server.stop(signal.SIGKILL)

    # A gate in front of a Kafka that is away.
    gate = PLACE / "gate"
    run(program, gate, "source", "add", "web", "--key", KEY, settings=GATE_SETTINGS)
    server = Server(program, gate, GATE_SETTINGS)
    server.send(KEY, [view(n) for n in range(300, 325)])
    server.stop()

    return {
        "program": run_version(program),
        "lake": f"file://{data}/lake/",
        "keys": {"web": KEY, "app": APP_KEY},
        "revoked_key": OLD_KEY,
        "reader": {"name": "rita", "password": PASSWORD},
        "tokens": tokens,
        "erased_user": ERASED,
        "erased": len(hers),
        "bronze": bronze,
        "silver": silver,
        "dead_letters": len(bad) + 1,
        "waiting_records": 25,
        "waiting_events": 20,
        "backfilled_rows": 12,
        "spooled_events": 25,
        "partitions": int(SETTINGS["TIDEGATE_JOURNAL__PARTITIONS"]),
    }


def run_version(program):
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def pack(target):
    """What is below PLACE, without what no process needs."""

    def plain(entry):
        if entry.name.endswith(("/lock", ".lock", ".sock")):
            return None
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    packed = PLACE / "packed.tar"
    with tarfile.open(packed, "w") as archive:
        for name in ("data", "gate", "orders.csv", "orders.yaml", "plan.yaml", "told.json"):
            archive.add(PLACE / name, name, filter=plain)
    subprocess.run(["zstd", "-q", "-19", str(packed), "-o", str(target)], check=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, target = str(Path(sys.argv[1]).resolve()), Path(__file__).resolve().parent / f"{sys.argv[2]}.tar.zst"
    if target.exists():
        sys.exit(f"{target} is there already: the data of a release is made once, by that release")
    # Not removed where it is there: it may be another run's, or somebody else's.
    PLACE.mkdir(mode=0o700)
    try:
        told = make(program)
        (PLACE / "told.json").write_text(json.dumps(told, indent=2) + "\n")
        pack(target)
    except BaseException:
        print(f"what was made until then, and the log of the servers, is in {PLACE}", file=sys.stderr)
        raise
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
