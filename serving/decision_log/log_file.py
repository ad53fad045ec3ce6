"""The files of a log on SQLite: who may read them, and whether they are still those that were opened.

SQLite goes on writing into a file that was deleted, renamed or replaced, and a commit there is lost with the
process. So its files are compared with those that were opened, before and after each transaction.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from serving.decision_log.settings import LogError

if TYPE_CHECKING:
    from sqlalchemy import URL

_OWNER_ONLY = 0o600
_BESIDE = ("-wal", "-shm")


class LogFileChangedError(LogError):
    """The log's file is not the one that was opened; it has to be opened anew."""


def log_path(url: URL) -> Path | None:
    """The file of a log on SQLite; None where it has none of its own, as on PostgreSQL."""
    name = url.database or ""
    is_path = url.get_backend_name() == "sqlite" and name and not name.startswith("file:")
    return Path(name) if is_path else None


def create_owner_only(path: Path) -> None:
    """Create the file where there is none, readable by its owner alone; close one that all may read.

    SQLite gives the files beside it the same permissions. A group that was let in on purpose stays in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # One that is there is not opened: to close it would end the locks that SQLite has on it in this process,
    # and another process, which sees nobody then, would delete the write-ahead log.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY))
    for file in (path, *(Path(f"{path}{suffix}") for suffix in _BESIDE)):
        if file.exists() and file.stat().st_mode & stat.S_IRWXO and file.stat().st_uid == os.geteuid():
            file.chmod(_OWNER_ONLY)


class OpenedFiles:
    """The files of an open log on SQLite, by device and inode.

    Those who read the log verify them at any time, while the thread that writes adds the files beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._opened = {self._path: _identity(self._path)[0]}
        self._size = 0

    def verify(self) -> None:
        """Raise LogFileChangedError unless the files are still those that were opened.

        The files beside the database are known once ``add_files_beside`` was called.
        """
        # A file that grows has at least the size that was known before it was looked at.
        known_size = self._size
        for file, opened in self._opened.items():
            identity, size = _identity(file)
            if identity != opened:
                raise LogFileChangedError(_sentence(file, self._path))
            if file == self._path:
                if size < known_size:
                    msg = f"{file} was cut short: it had {known_size:,} bytes, and has {size:,}"
                    raise LogFileChangedError(msg)
                self._size = size

    def add_files_beside(self) -> None:
        """Remember the write-ahead log and its index, which are there since the first transaction."""
        if len(self._opened) == 1:
            beside = (f"{self._path}{suffix}" for suffix in _BESIDE)
            self._opened = self._opened | {file: _identity(file)[0] for file in beside}


def _identity(file: str) -> tuple[tuple[int, int] | None, int]:
    """Device and inode of a file and its size; None and 0 where there is none."""
    try:
        status = os.stat(file)  # noqa: PTH116  # with each commit: a Path takes twice as long
    except OSError:
        return None, 0
    return (status.st_dev, status.st_ino), status.st_size


def _sentence(file: str, path: str) -> str:
    state = "is not the file that was opened" if Path(file).exists() else "was deleted or moved away"
    return (
        f"{file} {state}; leadloop continues in {path} as it is now, where the records from before may be "
        "missing: put the old files back while no service runs, if they are needed"
    )
