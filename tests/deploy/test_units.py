"""The units of systemd: understood by systemd itself, and shut off from what they do not need."""

import re
import shutil
from pathlib import Path

import pytest

from systemd import tools
from templates import AWS, ROOT

UNITS = sorted([*(ROOT / "deploy/systemd").glob("*.service"), AWS / "files/tidegate-secrets.service"])
# Of 10, which is a service that nothing is kept from. systemd says "OK" below 5, and gives 2.0 to what hardly any service reaches.
EXPOSURE_MAX = {"tidegate-secrets.service": 3.0}
EXPOSURE_MAX_OF_OTHERS = 1.5
SHUTDOWN_SECONDS = 60


def settings(unit: Path) -> list[tuple[str, str]]:
    lines = (line for line in unit.read_text(encoding="utf-8").splitlines() if "=" in line and not line.startswith("#"))
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


@pytest.fixture
def root(tmp_path):
    """A machine with the units, and with what they start."""
    folder = tmp_path / "etc/systemd/system"
    folder.mkdir(parents=True)
    for unit in (*UNITS, AWS / "files/tidegate-secrets.timer"):
        shutil.copy(unit, folder)
    for program in ("usr/local/bin/tidegate", "usr/local/lib/tidegate/fetch-secrets", "usr/bin/java", "bin/sh", "bin/kill"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    targets = ("sysinit", "basic", "shutdown", "network", "network-online", "multi-user", "timers")
    for target in targets:
        (folder / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    (folder / "system.slice").write_text("[Unit]\nDescription=slice\nDefaultDependencies=no\n")
    return tmp_path


def verify(root: Path, unit: str) -> str:
    done = tools().run("systemd-analyze", "verify", "--man=no", f"--root={root}", root / "etc/systemd/system" / unit)
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", [*(unit.name for unit in UNITS), "tidegate-secrets.timer"])
def test_systemd_understands_a_unit(root, unit):
    assert verify(root, unit) == ""


def test_systemd_says_where_it_does_not(root):
    unit = root / "etc/systemd/system/tidegate.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges=true", "NoNewPriviliges=true"))
    assert "NoNewPriviliges" in verify(root, "tidegate.service")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_shut_off(unit, tmp_path):
    done = tools().run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    assert exposure <= EXPOSURE_MAX.get(unit.name, EXPOSURE_MAX_OF_OTHERS), done.stdout


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.name != "tidegate-secrets.service"], ids=lambda unit: unit.name)
def test_a_unit_is_bounded_and_comes_back(unit):
    said = dict(settings(unit))
    assert said["Restart"] == "always" and int(said["LimitNOFILE"]) >= 65_536 and said["CapabilityBoundingSet"] == ""
    assert said["MemoryMax"] and said["MemoryHigh"] and int(said["TasksMax"]) > 0 and said["StartLimitIntervalSec"] == "0"
    if unit.name.startswith("tidegate"):
        # A stop may take server.shutdown_timeout, which is a minute.
        assert int(said["TimeoutStopSec"].removesuffix("s")) > SHUTDOWN_SECONDS
        documented = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
        assert re.search(r"^\| `shutdown_timeout` \| 1m \|", documented, re.MULTILINE)


def test_users_are_made(tmp_path):
    folder = tmp_path / "etc/sysusers.d"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/systemd/tidegate.sysusers", folder / "tidegate.conf")
    done = tools().run("systemd-sysusers", f"--root={tmp_path}", "tidegate.conf")
    assert done.returncode == 0, done.stderr
    users = {line.split(":")[0]: line.split(":")[5:] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    assert users["tidegate"] == ["/var/lib/tidegate", "/usr/sbin/nologin"] and users["kafka"] == ["/var/lib/kafka", "/usr/sbin/nologin"]
    for unit in UNITS:
        assert dict(settings(unit))["User"] in users


def test_the_small_machine_has_memory_for_both():
    kafka, tidegate = settings(ROOT / "deploy/systemd/kafka.service"), dict(settings(AWS / "files/small.conf"))
    assert any("-Xmx256m" in value for key, value in kafka if key == "Environment")
    # What Debian says a t3.micro has, and what the system itself takes of that: deploy/aws/README.md.
    total, system = 940, 100
    high, most = ([int(dict(kafka)[key].removesuffix("M")), total * int(tidegate[key].removesuffix("%")) // 100] for key in ("MemoryHigh", "MemoryMax"))
    assert all(low < up for low, up in zip(high, most, strict=True))
    assert sum(high) + system <= total and sum(most) <= total
