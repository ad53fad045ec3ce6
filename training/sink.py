"""Writes frames to a CSV or Parquet file a batch at a time; the file appears when it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

Sink = Callable[[pl.DataFrame], None]


@contextmanager
def sink(path: Path) -> Iterator[Sink]:
    """Calls append a frame; on the way out the file gets its name, unless something went wrong."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            yield from (_parquet if path.suffix == ".parquet" else _csv)(file)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


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
