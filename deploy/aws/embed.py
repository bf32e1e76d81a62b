#!/usr/bin/env python3
"""Puts the files that the templates bring along into them: `python3 deploy/aws/embed.py`, after a file or a template's list of them was changed.

A template names a file in a comment, `# from deploy/systemd/kafka.service`, and the block scalar in the line after it is that file. Comment lines are left out,
for user data may have 16 KiB. A test fails where a template and a file differ.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ("free-tier.yaml", "production.yaml")
BLOCK = re.compile(r"^(?P<indent> +)# from (?P<path>\S+)\n(?P<head> +(?:- )?\|)\n(?P<body>(?:(?P=indent) +.*\n|\n)*)", re.MULTILINE)


def shortened(text: str) -> str:
    """Without the lines that are comments; a first line that says what runs the file stays."""
    lines = text.splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines) if not line.lstrip().startswith("#") or (number == 0 and line.startswith("#!"))]
    return "".join(line for number, line in enumerate(kept) if line.strip() or number > 0)


def embedded(template: str) -> str:
    def block(found: re.Match) -> str:
        deeper = found["indent"] + "  "
        text = shortened((ROOT / found["path"]).read_text(encoding="utf-8"))
        body = "".join(deeper + line if line.strip() else line for line in text.splitlines(keepends=True))
        return f"{found['indent']}# from {found['path']}\n{found['head']}\n{body}"

    return BLOCK.sub(block, template)


def main() -> int:
    for name in TEMPLATES:
        path = ROOT / "deploy/aws" / name
        before = path.read_text(encoding="utf-8")
        after = embedded(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} was changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
