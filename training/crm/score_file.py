"""Reads files of scores into records of a CRM, with the trend against an earlier file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from features.ingest.tables import parquet_files
from features.spreadsheet import unescape_formulas
from features.suggestions import suggest
from training.crm.protocol import CrmRecord, PushError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NEEDED = ("lead_id", "probability", "points", "grade")
_NONSENSE = (
    (pl.col("lead_id").is_null(), "has no lead_id"),
    (pl.col("lead_id").is_duplicated(), "has a lead_id that another row has, too"),
    (~pl.col("probability").is_between(0, 1).fill_null(value=False), "has a probability outside [0, 1]"),
    (~pl.col("grade").is_in(["A", "B", "C", "D"]).fill_null(value=False), "has no grade A to D"),
)


def read_score_file(scores: Path, earlier: Path | None = None) -> pl.DataFrame:
    """The scores with three more columns: ``score``, the probability of 100, its ``trend``, and ``state``.

    The trend against the ``earlier`` scores is improving, steady or declining, in whole points as the CRM
    shows them; unknown where the lead had no score; dormant where the lead is, so that nobody takes its score
    for fresh. The state is open or dormant. Raises PushError, which names the row.
    """
    frame = _read(scores)
    before = _read(earlier) if earlier else frame.clear()
    joined = frame.join(before.select("lead_id", _before="score"), on="lead_id", how="left")
    change = pl.col("score") - pl.col("_before")
    dormant = pl.lit("dormant")
    is_dormant = (
        (pl.col("insufficient") == "dormant").fill_null(value=False)
        if "insufficient" in joined.columns
        else pl.lit(False)  # noqa: FBT003  # a literal of an expression
    )
    trend = (
        pl.when(is_dormant)
        .then(dormant)
        .when(change > 0)
        .then(pl.lit("improving"))
        .when(change < 0)
        .then(pl.lit("declining"))
        .when(change == 0)
        .then(pl.lit("steady"))
        .otherwise(pl.lit("unknown"))
    )
    state = pl.when(is_dormant).then(dormant).otherwise(pl.lit("open"))
    return joined.with_columns(trend=trend, state=state).drop("_before")


def records(frame: pl.DataFrame, fields: Mapping[str, str]) -> Iterator[CrmRecord]:
    """One record a row; ``fields`` names the CRM's field for a column."""
    for row in frame.iter_rows(named=True):
        yield CrmRecord(row["lead_id"], {field: row[column] for field, column in fields.items()})


def require_columns(frame: pl.DataFrame, fields: Mapping[str, str], path: Path) -> None:
    """Raises PushError where ``fields`` names a column that is not there."""
    for column in fields.values():
        if column not in frame.columns:
            hint = suggest(column, frame.columns)
            msg = f"{path} has no column {column!r}{hint}; its columns: {', '.join(frame.columns)}"
            raise PushError(msg)


def _read(path: Path) -> pl.DataFrame:
    frame = _table(path)
    if missing := [name for name in _NEEDED if name not in frame.columns]:
        msg = f"{path} has no column {', '.join(missing)}; give the file that `leadloop score` wrote"
        raise PushError(msg)
    frame = frame.with_columns(pl.col("lead_id").cast(pl.String))
    for wrong, what in _NONSENSE:
        _refuse(path, frame, wrong, what)
    whole = (100 * pl.col("probability")).round().cast(pl.Int64)
    return frame.with_columns(cs.float().fill_nan(None)).with_columns(score=whole)


def _table(path: Path) -> pl.DataFrame:
    if not path.exists():
        msg = f"{path} does not exist; give the file that `leadloop score` wrote"
        raise PushError(msg)
    if path.suffix == ".parquet":
        return pl.read_parquet(parquet_files(path), hive_partitioning=False)
    types = {"lead_id": pl.String, "grade": pl.String, "probability": pl.Float64}
    try:
        return unescape_formulas(pl.read_csv(path, schema_overrides=types, infer_schema_length=None))
    except pl.exceptions.PolarsError as error:
        msg = f"{path} cannot be read as CSV: {str(error).splitlines()[0]}"
        raise PushError(msg) from error


def _refuse(path: Path, frame: pl.DataFrame, wrong: pl.Expr, what: str) -> None:
    rows = frame.select(pl.arg_where(wrong)).to_series()
    if len(rows):
        msg = f"{path}: row {rows[0] + 1} {what} ({len(rows):,} such rows); nothing was sent"
        raise PushError(msg)
