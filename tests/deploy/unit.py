"""A unit of systemd, run without systemd."""

import os
import re
import subprocess
from pathlib import Path

# Far longer than it takes, on a machine that is busy with other things.
START_SECONDS_MAX = 240


class Unit:
    """A unit's commands with its environment, as systemd would run them, below a root and with other ports."""

    def __init__(self, root: Path, name: str, replaced: dict[str, str]) -> None:
        self.root, self.replaced = root, replaced
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(root)}
        self.commands: dict[str, str] = {}
        drop_ins = sorted(root.glob(f"etc/systemd/system/{name}.d/*.conf"))
        for file in [root / "etc/systemd/system" / name, *drop_ins]:
            for line in file.read_text().splitlines():
                key, _, value = line.partition("=")
                if key == "Environment":
                    variable, _, text = self.here(value.strip('"')).partition("=")
                    self.environment[variable] = text
                elif key == "EnvironmentFile":
                    self.environment |= dict(one.split("=", 1) for one in Path(self.here(value.lstrip("-"))).read_text().splitlines())
                elif key == "StateDirectory":
                    (root / "var/lib" / value).mkdir(parents=True, exist_ok=True)
                elif key in ("ExecStartPre", "ExecStart"):
                    self.commands[key] = self.here(value)

    def here(self, text: str) -> str:
        text = text.replace("%S", "/var/lib")
        text = re.sub(r"(?<![\w.])(/(?:etc|opt|usr/local|var/lib)/)", rf"{self.root}\1", text)
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def start(self, log: Path, first: str = "", **more: str) -> subprocess.Popen:
        """Starts it, with what else is in the environment; `first` is said in its shell before it becomes the program."""
        for path in self.root.glob("etc/kafka/*.properties"):
            if str(self.root) not in path.read_text():
                path.write_text(self.here(path.read_text()))
        environment = self.environment | more
        with open(log, "w") as out:
            # In the shell, too, a variable without quotes falls apart at blanks.
            if "ExecStartPre" in self.commands:
                subprocess.run(["bash", "-c", self.commands["ExecStartPre"]], env=environment, stdout=out, stderr=out, check=True, timeout=START_SECONDS_MAX)
            return subprocess.Popen(["bash", "-c", f"{first}\nexec {self.commands['ExecStart']}"], env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
