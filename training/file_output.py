"""Writes frames to a CSV or Parquet file a batch at a time; the file appears when it is complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import polars as pl

from features.spreadsheet import escape_formulas

if TYPE_CHECKING:
    from pathlib import Path

# The mode of files that hold data of leads.
OWNER_ONLY = 0o600
Sink = Callable[[pl.DataFrame], None]


class OutputError(ValueError):
    """The name of a file has no format that can be written; the message says which can."""


@contextmanager
def atomic_write(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A new file beside ``path`` that takes its name on the way out; when that fails, the old one stays.

    Args:
        path: The file.
        private: Whether it holds data of leads: then only its owner may read it, from its first byte on.

    Raises:
        OSError: the disk is full, or the like; it names ``path``, so that the reader knows what is missing.
    """
    # A name that nobody can have put a link at.
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, OWNER_ONLY if private else 0o666)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # the file is open already
            yield file
        fresh.replace(path)
    except OSError as error:
        if error.filename not in {None, str(fresh)}:
            raise
        why = error.strerror or str(error)
        raise OSError(error.errno, f"{why}; nothing was written", str(path)) from error
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write a text file atomically, in UTF-8; ``private`` as in ``atomic_write``."""
    with atomic_write(path, private=private) as file:
        file.write(text.encode())


@contextmanager
def frame_writer(path: Path) -> Iterator[Sink]:
    """Write frames to one file, batch by batch; they hold data of leads, so only its owner may read it.

    In CSV, text that a spreadsheet would run as a formula is escaped (``features.spreadsheet``).

    Args:
        path: A ``.csv`` or ``.parquet`` file; it appears when the context ends without an error.

    Yields:
        A function that appends a frame.

    Raises:
        OutputError: The suffix is another.
        OSError: The file cannot be written.
    """
    if path.suffix not in _WAYS:
        msg = f"{path}: leadloop writes {' and '.join(_WAYS)} files; end the name with one of them"
        raise OutputError(msg)
    with atomic_write(path, private=True) as file:
        yield from _WAYS[path.suffix](file)


def _csv(file: IO[bytes]) -> Iterator[Sink]:
    first = True

    def append(frame: pl.DataFrame) -> None:
        nonlocal first
        escape_formulas(frame).write_csv(file, include_header=first)
        first = False

    yield append


def _parquet(file: IO[bytes]) -> Iterator[Sink]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only where Parquet is asked for

    writer: pq.ParquetWriter | None = None

    def append(frame: pl.DataFrame) -> None:
        nonlocal writer
        table = frame.to_arrow()
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)

    try:
        yield append
    finally:
        if writer is not None:
            writer.close()


_WAYS: dict[str, Callable[[IO[bytes]], Iterator[Sink]]] = {".csv": _csv, ".parquet": _parquet}
