"""A real Kafka broker for the documents: Apache Kafka from the jars that `cargo xtask test` has installed."""

import base64
import os
import socket
import subprocess
import time
import uuid
from pathlib import Path

from server import free_port

READY_SECONDS_MAX = 120
#: `ApiVersions` in version 0 with the correlation 7 and no client id: its length, then its head.
QUESTION = bytes([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xFF, 0xFF])


class Kafka:
    """A broker that is its own controller, with its data below a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port, controller = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        properties = folder / "server.properties"
        properties.write_text(
            f"""process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{self.address}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder / "log"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
""",
            encoding="utf-8",
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
        subprocess.run([*self._java(), "kafka.tools.StorageTool", "format", "--standalone", "--config", properties, "--cluster-id", cluster], check=True, capture_output=True, env=self._environment(), timeout=READY_SECONDS_MAX)
        self.log = open(folder / "kafka.log", "w")
        self.process = subprocess.Popen([*self._java(), "kafka.Kafka", properties], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self._environment())
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline, (folder / "kafka.log").read_text()
            time.sleep(0.1)

    @staticmethod
    def _environment() -> dict[str, str]:
        return os.environ | {"CLASSPATH": os.path.join(os.environ["TIDEGATE_TEST_KAFKA_JARS"], "*")}

    @staticmethod
    def _java() -> list[str]:
        return ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(QUESTION)
                return len(connection.recv(8)) == 8
        except OSError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
