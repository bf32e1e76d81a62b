"""Events on disk until they are answered: docs/sdk-contract.md, "The spool"."""

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ENDING = ".ndjson"


class SpoolFull(OSError):
    """The spool has reached its bound."""


@dataclass
class File:
    """A closed file: one batch."""

    path: Path
    events: int
    """How many, of this process; 0 where it is of an earlier one."""
    first: int = 0
    """The number that its first event has in this process."""


class Folder:
    """What one process has in the spool, locked while it lives."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def new(cls, spool: Path) -> "Folder":
        path = spool / f"{os.getpid()}-{os.urandom(6).hex()}"
        path.mkdir(parents=True, mode=0o700)
        folder = cls._locked(path)
        if folder is None:
            raise OSError(f"{path} cannot be locked")
        return folder

    @classmethod
    def orphans(cls, spool: Path) -> Iterator["Folder"]:
        """Takes over the folders of processes that are no more."""
        for path in sorted(spool.iterdir()) if spool.is_dir() else []:
            # One without a lock was made a moment ago, or is none of ours.
            if (path / "lock").is_file() and (folder := cls._locked(path)) is not None:
                yield folder

    @classmethod
    def _locked(cls, path: Path) -> "Folder | None":
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        if not (path / "lock").exists():
            # Whoever had it removed the folder while we waited.
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def files(self) -> list[Path]:
        return sorted(path for path in self.path.iterdir() if path.suffix == ENDING)

    def let_go(self) -> None:
        """Gives the lock up. A folder in which nothing is left is removed."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if not self.files():
                shutil.rmtree(self.path)
        self.forget()

    def forget(self) -> None:
        """As `let_go`, without a look at the folder: after a fork it is the parent's."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1


class Spool:
    """All of them. One thread writes, another one removes."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._own: Folder | None = None
        self._adopted: list[Folder] = []
        self._number = 0
        self._descriptor = -1
        self._open: File | None = None
        self._sizes: dict[Path, int] = {}
        self._lock = threading.Lock()
        """Over the sizes: the sender removes what the writer has made."""

    def adopt(self) -> list[File]:
        """The files of processes that are no more, oldest folder first."""
        files = []
        for folder in Folder.orphans(self._path):
            self._adopted.append(folder)
            for path in folder.files():
                with self._lock:
                    self._sizes[path] = path.stat().st_size
                files.append(File(path, 0))
        with self._lock:
            self._let_go_of_empty()
        return files

    def append(self, payloads: list[bytes], first: int) -> None:
        """Writes events and syncs them, all or none. Raises `OSError`; then the file is to be cut."""
        lines = b"".join(payload + b"}\n" for payload in payloads)
        with self._lock:
            size = sum(self._sizes.values())
        if size + len(lines) > self._bytes_max:
            raise SpoolFull(f"the spool has reached its bound of {self._bytes_max} bytes")
        file = self._open or self._begin(first)
        before = self._sizes[file.path]
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
            os.fsync(self._descriptor)
        except OSError:
            # What follows must not stand behind half a line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise
        file.events += len(payloads)
        self._sizes[file.path] = before + len(lines)

    @property
    def open_events(self) -> int:
        return 0 if self._open is None else self._open.events

    @property
    def open_bytes(self) -> int:
        return 0 if self._open is None else self._sizes[self._open.path]

    @property
    def open_first(self) -> int | None:
        return None if self._open is None or not self._open.events else self._open.first

    def cut(self) -> File | None:
        """Closes the file that is written to; it is a batch now."""
        file = self._open
        self._end()
        return file if file is not None and file.events else None

    def remove(self, file: File) -> None:
        """Its events are answered."""
        with contextlib.suppress(OSError):
            file.path.unlink()
        with self._lock:
            self._sizes.pop(file.path, None)
            self._let_go_of_empty()

    def close(self) -> None:
        self._end()
        for folder in [*self._adopted, *([self._own] if self._own else [])]:
            folder.let_go()
        self._own, self._adopted = None, []

    def forget(self) -> None:
        """After a fork: nothing of it is this process's."""
        for folder in [*self._adopted, *([self._own] if self._own else [])]:
            folder.forget()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _begin(self, first: int) -> File:
        if self._own is None:
            self._own = Folder.new(self._path)
        self._number += 1
        path = self._own.path / f"{self._number:020d}{ENDING}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._open = file = File(path, 0, first)
        with self._lock:
            self._sizes[path] = 0
        _sync_folder(self._own.path)
        return file

    def _end(self) -> None:
        if self._open is None:
            return
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1
        if not self._open.events:
            self.remove(self._open)
        self._open = None

    def _let_go_of_empty(self) -> None:
        for folder in [folder for folder in self._adopted if not any(path.parent == folder.path for path in self._sizes)]:
            folder.let_go()
            self._adopted.remove(folder)


def read(file: File) -> tuple[list[tuple[str, bytes]], int]:
    """The events of a file with their ids, each without the brace at its end; and how many lines are no events."""
    events, torn = [], 0
    lines = file.path.read_bytes().split(b"\n")
    # Each ends in a line feed: what stands behind the last one was not written whole.
    torn += bool(lines.pop())
    for line in lines:
        try:
            events.append((json.loads(line)["event_id"], line[:-1]))
        except (ValueError, KeyError, TypeError):
            torn += 1
    return events, torn


def _sync_folder(path: Path) -> None:
    """So that the file is still in it after the machine failed."""
    if os.name == "nt":
        return
    for folder in (path, path.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
