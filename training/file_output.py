"""Writes frames to a CSV or Parquet file a batch at a time; the file appears when it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

Sink = Callable[[pl.DataFrame], None]


class OutputError(ValueError):
    """The name of a file has no format that can be written; the message says which can."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside ``path`` that takes its name on the way out; when that fails, the old one stays.

    Raises:
        OSError: the disk is full, or the like; it names ``path``, so that the reader knows what is missing.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as file:
            yield file
        fresh.replace(path)
    except OSError as error:
        if error.filename not in {None, str(fresh)}:
            raise
        why = error.strerror or str(error)
        raise OSError(error.errno, f"{why}; nothing was written", str(path)) from error
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode())


@contextmanager
def frame_writer(path: Path) -> Iterator[Sink]:
    """Write frames to one file, batch by batch.

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
    with atomic_write(path) as file:
        yield from _WAYS[path.suffix](file)


def _csv(file: IO[bytes]) -> Iterator[Sink]:
    first = True

    def append(frame: pl.DataFrame) -> None:
        nonlocal first
        frame.write_csv(file, include_header=first)
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
