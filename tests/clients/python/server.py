"""A real `tidegate serve` for tests: started on a free port with its own data folder, asked through `tidegate query`."""

import base64
import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

READY_SECONDS_MAX = 60
QUERYABLE_SECONDS_MAX = 60
STOP_SECONDS_MAX = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """The platform, all roles, on loopback."""

    def __init__(self, data: Path, key: str = "tg_test_key_of_the_client_tests", settings: dict[str, str] | None = None) -> None:
        self.binary = os.environ["TIDEGATE_BIN"]
        self.data = data
        self.key = key
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Away from any configuration of whoever runs the tests.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "AWS_"))}
        self.environment |= settings or {}
        self.command("source", "add", "web", "--key", key)
        self.log = open(data / "serve.log", "w")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--data", str(data), "--listen", f"127.0.0.1:{self.port}"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            cwd=data,
            env=self.environment,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.process.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.data / "serve.log").read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("not ready: " + (self.data / "serve.log").read_text())

    def command(self, *arguments: str) -> str:
        """Runs a subcommand on this server's data and returns what it printed; fails the test where the command fails."""
        done = self.run(*arguments, "--data", str(self.data))
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
        return done.stdout

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        """Runs the product away from this server's data."""
        return subprocess.run(
            [self.binary, *arguments], input=stdin, capture_output=True, encoding="utf-8", timeout=120, cwd=self.data, env=self.environment
        )

    def post(self, events: list[dict]) -> dict:
        """Sends native events; what the gate answered."""
        authorization = "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()
        headers = {"authorization": authorization, "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/events", json.dumps(events).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def query(self, sql: str) -> list[dict]:
        return json.loads(self.command("query", sql, "--format", "json"))

    def silver(self, expected: int) -> dict[str, dict]:
        """Silver's rows by event id, once there are `expected` of them."""
        self.wait_for_rows("silver.events", expected)
        return {row["event_id"]: row for row in self.query("SELECT * FROM silver.events")}

    def wait_for_rows(self, table: str, expected: int) -> None:
        """Waits until the table has `expected` rows; fails the test where it never has."""
        deadline = time.monotonic() + QUERYABLE_SECONDS_MAX
        found = None
        while time.monotonic() < deadline:
            try:
                found = self.query(f"SELECT count(*) AS n FROM {table}")[0]["n"]
            except AssertionError as error:  # the table may appear with the first event only
                found = str(error)
            if found == expected:
                return
            time.sleep(0.2)
        raise AssertionError(f"{expected} rows expected in {table}, found {found}")

    def stop(self) -> None:
        """Stops as an operator would, and asserts that the books balance."""
        self.process.terminate()
        try:
            assert self.process.wait(timeout=STOP_SECONDS_MAX) == 0, (self.data / "serve.log").read_text()
        finally:
            self.process.kill()
            self.log.close()
        self.command("audit")
