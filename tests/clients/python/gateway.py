"""A real S3 server for tests: the Versity S3 Gateway on a free port, which `cargo xtask test` has installed."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from server import free_port

READY_SECONDS_MAX = 20


class Gateway:
    """Objects are plain files below a folder; buckets are the folders in it."""

    access_key = "tidegate-test"
    secret_key = "tidegate-test-secret"
    region = "us-east-1"

    def __init__(self, folder: Path, bucket: str) -> None:
        (folder / "buckets" / bucket).mkdir(parents=True)
        (folder / "metadata").mkdir()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        self.process = subprocess.Popen(
            [os.environ["TIDEGATE_TEST_S3_PROGRAM"], "--port", self.address, "--quiet", "posix", "--sidecar", folder / "metadata", folder / "buckets"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | keys,
        )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.url, timeout=1).close()
        except urllib.error.HTTPError:  # refused, for want of a signature: it is there
            return True
        except OSError:
            return False
        return True

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
        }

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
