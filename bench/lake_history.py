"""Gives a Delta table a history: versions in which its files were replaced by copies of themselves, as joining files does it, again and again.

Its rows stay what they are. What is made is what a long time makes: a log of many versions, and many files that are no part of the table any more, named in
the log and in the checkpoint that the next writer makes of it.

    python3 lake_history.py LAKE/bronze/events LAKE/silver/events --files 100000
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

FILES_OF_A_VERSION = 50
"""Files that are replaced at a time."""
VERSION_DIGITS = 20

Action = dict[str, Any]


def live_files(log: Path) -> tuple[int, dict[str, Action]]:
    """The newest version, and what its log says of each file that is part of it."""
    versions = sorted(file for file in log.glob("*.json") if len(file.stem) == VERSION_DIGITS and file.stem.isdigit())
    if not versions or int(versions[0].stem) != 0:
        raise SystemExit(f"{log} does not begin with version 0: make the history of a new table")
    live: dict[str, Action] = {}
    for version in versions:
        for line in version.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                live[action["add"]["path"]] = action["add"]
            elif "remove" in action:
                live.pop(action["remove"]["path"], None)
    return int(versions[-1].stem), live


def replaced(add: Action, path: str, now: int) -> list[Action]:
    """The actions that put the same rows into another file."""
    removed = {"path": add["path"], "deletionTimestamp": now, "dataChange": False, "extendedFileMetadata": True}
    remove = removed | {"partitionValues": add["partitionValues"], "size": add["size"]}
    return [{"remove": remove}, {"add": add | {"path": path, "dataChange": False}}]


def make_history(table: Path, files: int) -> int:
    """Adds versions until so many files have been part of the table; how many versions there are then."""
    log = table / "_delta_log"
    version, live = live_files(log)
    if not live:
        raise SystemExit(f"{table} has no files: write something to it first")
    sources = {path: table / unquote(path) for path in live}
    queue = list(live)
    made = 0
    while made < files:
        version += 1
        now = time.time_ns() // 1_000_000
        actions: list[Action] = [{"commitInfo": {"timestamp": now, "operation": "OPTIMIZE", "operationParameters": {}}}]
        chosen, queue = queue[:FILES_OF_A_VERSION], queue[FILES_OF_A_VERSION:]
        for path in chosen:
            folder = path.rpartition("/")[0]
            made += 1
            new = f"{folder}/history-{version}-{made}.parquet".removeprefix("/")
            add = live.pop(path)
            actions += replaced(add, new, now)
            live[new] = add | {"path": new, "dataChange": False}
            sources[new] = sources.pop(path)
            queue.append(new)
        lines = "\n".join(json.dumps(action, separators=(",", ":")) for action in actions)
        with open(log / f"{version:0{VERSION_DIGITS}}.json", "x") as file:
            file.write(f"{lines}\n")
    for path, source in sources.items():
        target = table / unquote(path)
        if target != source:
            os.link(source, target)
    return version + 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Give Delta tables a history of files that were replaced")
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE", help="folder of a table that nobody writes to meanwhile")
    parser.add_argument("--files", type=int, default=100_000, help="files that are to have been part of each (%(default)s)")
    options = parser.parse_args()
    for table in options.tables:
        versions = make_history(table, options.files)
        print(f"{table}: {versions} versions")


if __name__ == "__main__":
    main()
