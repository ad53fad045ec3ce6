"""What runs in Spark's workers: cut rows into parts, read a part as one machine does, score it.

A worker gets batches of Arrow and answers with batches of Arrow. Nothing here imports PySpark.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.cohort import Snapshots, draw_snapshots, open_lead_snapshots
from features.ingest.history_parts import history_from_tables
from features.ingest.observation_end import TableEnd
from features.ingest.quarantine import QUARANTINE_SCHEMA, Quarantine
from features.ingest.read_history import read_history
from features.ingest.table_reports import RowCounts, TableReport
from features.labels import compute_labels
from features.number_marks import MarkEvidence
from features.warehouse.table_columns import FINGERPRINT, LABEL_COLUMNS, OBSERVED_UNTIL, table_columns
from models.artifact import load
from training.batch_scoring import score_open_leads
from training.data.dataset import compute_feature_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from features.cohort import CohortRule
    from features.history import LeadHistory
    from features.ingest.mapping import HistoryMapping, TableMapping
    from features.labels import LabelSpec
    from models.conversion import ConversionModel
    from training.batch_scoring import ScoringOptions

# The rows that wait in a worker until they are cut into parts, as many as make the pieces worth their heads.
_WAITING_ROWS = 500_000
PIECE_SCHEMA = "part long, source int, rows binary"
FRAME_SCHEMA = "part long, name string, rows binary"
REPORTS = "reports"
_FRAMES = ("leads", "accounts", "touchpoints", "transitions", "attributes")
_PIECE_TYPES = pa.schema([("part", pa.int64()), ("source", pa.int32()), ("rows", pa.binary())])
_FRAME_TYPES = pa.schema([("part", pa.int64()), ("name", pa.string()), ("rows", pa.binary())])


def cut_rows(
    batches: Iterable[pa.RecordBatch], source: int, names: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Rows of a table with their ``part`` as one binary piece for each part, of ``PIECE_SCHEMA``."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _WAITING_ROWS:
            yield _pieces(waiting, source, names)
            waiting = []
    if waiting:
        yield _pieces(waiting, source, names)


def _pieces(batches: list[pa.RecordBatch], source: int, names: tuple[str, ...]) -> pa.RecordBatch:
    rows = pa.Table.from_batches(batches)
    parts = rows.column("part").to_numpy()
    order = np.argsort(parts, kind="stable")
    numbers, first = np.unique(parts[order], return_index=True)
    ordered = rows.drop_columns(["part"]).rename_columns(names).take(order)
    ends = [*first[1:], len(order)]
    cut = [_to_bytes(ordered.slice(start, end - start)) for start, end in zip(first, ends, strict=True)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(numbers, pa.int64()),
            pa.array([source] * len(cut), pa.int32()),
            pa.array(cut, pa.binary()),
        ],
        schema=_PIECE_TYPES,
    )


@dataclass(frozen=True)
class PartReading:
    """How the rows of a part become a history.

    Attributes:
        mapping: How the tables map onto the data contract, wherever they were.
        now: Epoch seconds; rows at or after it are in the future.
        sources: By table of ``mapping.tables``, which source its rows come from.
        names: By source, what its columns are called.
    """

    mapping: HistoryMapping
    now: int
    sources: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]

    def read(self, pieces: Mapping[int, list[bytes]]) -> tuple[LeadHistory, tuple[TableReport, ...]]:
        """The history of a part, and the reports on its tables."""
        # Through Parquet, which keeps the types, so that there is one way of reading and not two.
        with tempfile.TemporaryDirectory(prefix="leadloop-") as folder:
            for source, names in enumerate(self.names):
                rows = [_from_bytes(each) for each in pieces.get(source, ())]
                table = pa.concat_tables(rows) if rows else pa.table({name: pa.nulls(0) for name in names})
                pq.write_table(table, _file(folder, source), compression="none", use_dictionary=False)
            reading = read_history(self._mapping_of(folder), self.now)
        return reading.history, reading.tables

    def _mapping_of(self, folder: str) -> HistoryMapping:
        sources = iter(self.sources)

        def moved(table: TableMapping) -> TableMapping:
            file = _file(folder, next(sources))
            return replace(
                table, title=table.name, file=file, database=None, table=None, query=None, max_share=1.0
            )

        # The limit for bad rows is of the whole history, not of a part.
        return replace(self.mapping.map_tables(moved), max_share=1.0, of_part=True)


def _file(folder: str, source: int) -> Path:
    return Path(folder) / f"{source}.parquet"


def read_parts(batches: Iterable[pa.RecordBatch], reading: PartReading) -> Iterator[pa.RecordBatch]:
    """The pieces of parts as the tables of their histories and the reports on them, of ``FRAME_SCHEMA``."""
    rows = (
        (part, source, cut)
        for batch in batches
        for part, source, cut in zip(*(batch.column(i).to_pylist() for i in range(3)), strict=True)
    )
    for part, pieces_of_part in groupby(rows, key=lambda row: row[0]):
        pieces: dict[int, list[bytes]] = {}
        for _, source, cut in pieces_of_part:
            pieces.setdefault(source, []).append(cut)
        history, reports = reading.read(pieces)
        frames = {name: _to_bytes(getattr(history, name).to_arrow()) for name in _FRAMES}
        cells = {REPORTS: reports_to_bytes(reports)} | frames
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([part] * len(cells), pa.int64()),
                pa.array(list(cells)),
                pa.array(list(cells.values())),
            ],
            schema=_FRAME_TYPES,
        )


def reports_to_bytes(reports: tuple[TableReport, ...]) -> bytes:
    """Reports on tables as JSON, without their notices and roles."""
    return json.dumps(
        [
            {
                "table": report.count.table,
                "file": report.count.file,
                "rows": report.count.rows,
                "accepted": report.count.accepted,
                "bad_rows": report.quarantine.rows,
                "bad_cells": report.quarantine.frame.to_dict(as_series=False),
                "end": None if report.end is None else [report.end.kind, report.end.name],
                "days": [] if report.end is None else [[day, *rows] for day, rows in report.end.days.items()],
                "names": sorted(report.names),
                "evidence": [
                    [
                        column,
                        name,
                        *map(sorted, (each.thousands, each.decimals, each.doubtful)),
                        each.whole,
                        each.long_whole,
                    ]
                    for column, by_name in report.evidence.items()
                    for name, each in by_name.items()
                ],
            }
            for report in reports
        ]
    ).encode()


def reports_from_bytes(text: bytes) -> tuple[TableReport, ...]:
    """The reports that ``reports_to_bytes`` wrote."""
    return tuple(map(_report_of, json.loads(text)))


def _report_of(each: dict[str, Any]) -> TableReport:
    days = {day: (count, newest) for day, count, newest in each["days"]}
    cells = pl.DataFrame(each["bad_cells"], schema=QUARANTINE_SCHEMA)
    evidence: dict[str, dict[str | None, MarkEvidence]] = {}
    for column, name, thousands, decimals, doubtful, whole, long_whole in each["evidence"]:
        evidence.setdefault(column, {})[name] = MarkEvidence(
            frozenset(thousands), frozenset(decimals), frozenset(doubtful), whole, long_whole
        )
    return TableReport(
        count=RowCounts(each["table"], each["file"], each["rows"], each["accepted"]),
        quarantine=Quarantine(cells, each["bad_rows"]),
        notices=(),
        end=TableEnd(each["end"][0], each["end"][1], days) if each["end"] else None,
        names=frozenset(each["names"]),
        evidence=evidence,
    )


@dataclass(frozen=True)
class ModelFiles:
    """The folder of a model, to be sent to workers.

    Attributes:
        files: The content of its files by their names.
    """

    files: tuple[tuple[str, bytes], ...]

    @classmethod
    def of_folder(cls, folder: Path) -> ModelFiles:
        """The files of a folder."""
        return cls(
            tuple((file.name, file.read_bytes()) for file in sorted(folder.iterdir()) if file.is_file())
        )

    def load(self) -> ConversionModel:
        """The model; a worker loads it once, however many parts it scores."""
        return _load_once(self)


@cache
def _load_once(model: ModelFiles) -> ConversionModel:
    with tempfile.TemporaryDirectory(prefix="leadloop-") as folder:
        for name, content in model.files:
            (Path(folder) / name).write_bytes(content)
        return load(Path(folder))


@dataclass(frozen=True)
class ScoreTask:
    """Scores the open leads of parts.

    Attributes:
        rule: Which stages close a lead.
        options: What is written of each lead.
    """

    rule: CohortRule
    options: ScoringOptions

    def __call__(self, model: ConversionModel, history: LeadHistory) -> pl.DataFrame:
        """The scores of a part."""
        return score_open_leads(model, history, self.options, self.rule).scores


@dataclass(frozen=True)
class FeatureTask:
    """Computes a model's features of the open leads of parts.

    Attributes:
        rule: Which stages close a lead.
    """

    rule: CohortRule

    def __call__(self, model: ConversionModel, history: LeadHistory) -> pl.DataFrame:
        """The features of a part, in the columns of a table of features."""
        rows = compute_feature_rows(model.features, history, open_lead_snapshots(history, self.rule))
        return _feature_table(model, rows)


@dataclass(frozen=True)
class LabelTask:
    """Draws the snapshots of parts, with labels and, if they are wanted, a model's features.

    Attributes:
        rule: When snapshots are taken.
        label: What is predicted.
        with_features: Whether the features of the model stand beside the labels.
    """

    rule: CohortRule
    label: LabelSpec
    with_features: bool

    def __call__(self, model: ConversionModel, history: LeadHistory) -> pl.DataFrame:
        """The labelled snapshots of a part; a label is null as long as it is not known."""
        history = history.map_frames(as_plain_text)
        labels = compute_labels(history, draw_snapshots(history, self.rule), self.label)
        if not self.with_features:
            return labels
        keys = Snapshots(labels.select("lead_id", "as_of"))
        rows = compute_feature_rows(model.features, history, keys)
        owned = labels.join(history.leads.select("lead_id", "account_id"), on="lead_id", how="left")
        known = owned.with_columns(pl.lit(history.observed_until, pl.Int64).alias(OBSERVED_UNTIL))
        return _feature_table(model, rows).join(
            known.select("lead_id", "as_of", *LABEL_COLUMNS), on=["lead_id", "as_of"]
        )


def _feature_table(model: ConversionModel, rows: pl.DataFrame) -> pl.DataFrame:
    """Feature rows under names that every table can have, with the fingerprint of the features."""
    columns = table_columns(model.features.names)
    fingerprint = pl.lit(model.features.fingerprint).alias(FINGERPRINT)
    return rows.select(
        "lead_id", "as_of", fingerprint, *(pl.col(name).alias(columns[name]) for name in columns)
    )


Task = ScoreTask | FeatureTask | LabelTask


def run_on_parts(
    batches: Iterable[pa.RecordBatch], task: Task, model: ModelFiles, observed_until: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """What a task makes of every part, as rows of ``schema``."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for history in _histories(batches, observed_until):
        if history.leads.height:
            rows = as_plain_text(task(model.load(), history)).to_arrow()
            yield from rows.rename_columns(schema.names).cast(schema).to_batches()


def _histories(batches: Iterable[pa.RecordBatch], observed_until: int) -> Iterator[LeadHistory]:
    cells = (
        pair
        for batch in batches
        for pair in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
    )
    frames: dict[str, pl.DataFrame] = {}
    for name, rows in cells:
        frames[name] = pl.DataFrame(_from_bytes(rows))
        if len(frames) == len(_FRAMES):
            yield history_from_tables(frames, observed_until, cleaned=True)
            frames = {}


def as_plain_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with codes as the text that they stand for."""
    codes = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Enum | pl.Categorical)]
    return frame.with_columns(pl.col(codes).cast(pl.String))


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table.combine_chunks())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _from_bytes(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()
