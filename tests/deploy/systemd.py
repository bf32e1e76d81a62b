"""The programs of systemd: this machine's, or those of Debian's package, which is unpacked and not installed."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PROGRAMS = ("systemd-analyze", "systemd-sysusers")
WANTED = "units are checked with systemd-analyze and systemd-sysusers: have systemd, or a Debian whose apt-get can download its package"


@dataclass
class Tools:
    # Folders that come before the PATH, and variables that the programs need.
    path: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments, **options) -> subprocess.CompletedProcess:
        path = os.pathsep.join([*self.path, os.environ["PATH"]])
        environment = {"PATH": path, "LC_ALL": "C.UTF-8"} | self.environment
        return subprocess.run(arguments, env=environment, capture_output=True, encoding="utf-8", timeout=120, **options)


@cache
def tools() -> Tools:
    if all(shutil.which(program) for program in PROGRAMS):
        return Tools()
    return unpacked(Path(tempfile.gettempdir()) / f"tidegate-systemd-{os.getuid()}")


def unpacked(folder: Path) -> Tools:
    root = folder / "root"
    if not (root / "usr/bin/systemd-analyze").exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        downloaded = subprocess.run(["apt-get", "-qq", "download", "systemd", "libsystemd-shared"], cwd=folder, capture_output=True, encoding="utf-8")
        assert downloaded.returncode == 0, f"{WANTED}: {downloaded.stderr}"
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True)
    libraries = os.pathsep.join(str(path) for path in (*root.glob("usr/lib/*/systemd"), root / "usr/lib/systemd"))
    return Tools([str(root / "usr/bin"), str(root / "bin")], {"LD_LIBRARY_PATH": libraries})
