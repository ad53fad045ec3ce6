"""Which leads a CRM has acknowledged, in a file that outlives an interrupted push.

One JSON object a line: the first names what is pushed by its fingerprint, each further one the leads of an
exchange. A line counts from the moment it is on the disk; what a crash left of a last line does not.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from training.crm.protocol import PushError
from training.file_output import OWNER_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class DeliveryJournal:
    """The acknowledged leads of one push, and the file that keeps them."""

    acknowledged: frozenset[str]
    _file: IO[bytes]

    def add(self, lead_ids: Iterable[str]) -> None:
        """Write down that ``lead_ids`` were acknowledged; they are on the disk when this returns."""
        if listed := list(lead_ids):
            _write(self._file, {"acknowledged": listed})


def load_acknowledged(path: Path, fingerprint: str) -> frozenset[str]:
    """The leads that need not be sent again. Raises PushError where the journal is damaged.

    None of a journal with another fingerprint counts: it is about other scores, fields or another address.
    """
    if not path.exists():
        return frozenset()
    first, *lines = _whole_lines(path) or [{}]
    if first.get("push") != fingerprint:
        return frozenset()
    return frozenset(lead_id for line in lines for lead_id in line["acknowledged"])


@contextmanager
def journal(path: Path, fingerprint: str) -> Iterator[DeliveryJournal]:
    """The journal at ``path``, begun anew where it is about another push. Raises PushError while one runs."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
    with open(descriptor, "a+b") as file:  # noqa: PTH123  # the file is open already
        _lock(file, path)
        before = load_acknowledged(path, fingerprint)
        if before:
            file.truncate(_end(path))
        else:
            file.truncate(0)
            _write(file, {"push": fingerprint})
        yield DeliveryJournal(before, file)


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"{path} is in use: another push of the same scores is running; wait for it to end"
        raise PushError(msg) from error


def _write(file: IO[bytes], line: dict[str, object]) -> None:
    file.write(json.dumps(line).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _end(path: Path) -> int:
    """Where the last whole line ends."""
    return path.read_bytes().rfind(b"\n") + 1


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_bytes()[: _end(path)].splitlines()]
    except ValueError as error:
        msg = f"{path} is damaged ({error}); delete it to send all scores again"
        raise PushError(msg) from error
