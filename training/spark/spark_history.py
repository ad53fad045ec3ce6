"""A history in Spark: cut into parts of whole accounts, each read and scored as one machine does it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from features.history import ACCOUNT_PREFIX, LeadHistory
from features.ingest.joined_reading import join_readings
from features.ingest.schema import FREE_COLUMNS
from features.suggestions import suggest
from models.artifact import load
from training.batch_scoring import (
    PART_LEADS,
    ScoringError,
    ScoringOptions,
    ScoringResult,
    mapping_of_model,
)
from training.insufficient_scores import InsufficientScores
from training.spark.placement import place_leads
from training.spark.spark_tables import open_spark_tables
from training.spark.tasks import (
    FRAME_SCHEMA,
    PIECE_SCHEMA,
    REPORTS,
    FeatureTask,
    LabelTask,
    ModelFiles,
    PartReading,
    ScoreTask,
    as_plain_text,
    cut_rows,
    read_parts,
    reports_from_bytes,
    run_on_parts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from features.ingest.joined_reading import JoinedReading
    from features.ingest.mapping import HistoryMapping
    from features.ingest.quarantine import Quarantine
    from models.conversion import ConversionModel
    from training.config.settings import Config
    from training.spark.spark_tables import SparkTable
    from training.spark.tasks import Task


@dataclass(frozen=True)
class SparkHistory:
    """A history in Spark, in parts that hold leads with all of their accounts and events.

    Attributes:
        session: The Spark session.
        parts: The tables of each part, which Spark keeps until ``unpersist``.
        observed_until: The end of observation of the whole history, in epoch seconds.
        quarantine: The rows and cells that could not be read.
        notices: What to know about the tables.
    """

    session: SparkSession
    parts: DataFrame
    observed_until: int
    quarantine: Quarantine
    notices: tuple[str, ...]
    _config: Config
    _model: ModelFiles
    _carried: tuple[str, ...]

    def scores(
        self,
        reasons: int = 0,
        lang: str = "en",
        *,
        fit_and_engagement: bool = False,
        dates: bool = False,
    ) -> DataFrame:
        """Score every lead that is open at the end of observation.

        Args:
            reasons: How many reasons per lead, in words, a column each.
            lang: The language of the reasons.
            fit_and_engagement: Whether to split each score into fit and engagement.
            dates: Whether to add the day of ``as_of`` as ``as_of_date``.

        Returns:
            A Spark table with the columns of ``leadloop score``: ``lead_id``, ``as_of``, ``log_odds``,
            ``probability``, ``points``, ``grade``, the interval and so on. It is computed when it is used.

        Raises:
            ScoringError: The model has no fit and engagement.
        """
        options = ScoringOptions(
            Path(),
            reasons,
            parts=fit_and_engagement,
            lang=lang,
            carried=self._carried,
            dates=dates,
        )
        return self._run(ScoreTask(self._config.cohort_rule, options))

    def features(self) -> DataFrame:
        """Compute the features of the model for every open lead.

        Returns:
            ``lead_id``, ``as_of`` (epoch seconds), ``feature_set`` (the fingerprint of the features) and a
            column a feature, as ``leadloop features --sql`` names them, so that ``leadloop score --features``
            reads them.
        """
        return self._run(FeatureTask(self._config.cohort_rule))

    def labels(self) -> DataFrame:
        """Draw the snapshots of ``[cohort]`` and label them as ``[label]`` says.

        Returns:
            ``lead_id``, ``as_of``, ``label`` (null as long as it is not known), ``settled_at`` (when it
            became known) and ``matured`` (whether the window is over).
        """
        return self._run(self._label_task(with_features=False))

    def training_set(self) -> DataFrame:
        """Draw the snapshots of ``labels`` with the features of the model.

        Returns:
            The columns of ``features``, then ``account_id``, ``label``, ``settled_at``, ``matured`` and
            ``observed_until``: ``leadloop train --training-set`` learns from it.
        """
        return self._run(self._label_task(with_features=True))

    def count_scores(self, scores: DataFrame) -> ScoringResult:
        """Count scores that were written, and those of them that are not to be relied on.

        Args:
            scores: The rows of ``scores``, as they were written.

        Returns:
            The counts.
        """
        rows = scores.groupBy("insufficient").count().collect()
        leads = sum(count for _, count in rows)
        codes = Counter({code: count for code, count in rows if code is not None})
        return ScoringResult(leads, self.quarantine, insufficient=InsufficientScores(leads, codes))

    def unpersist(self) -> None:
        """Let Spark forget the parts; frames that were made of them read the tables again."""
        self.parts.unpersist()

    def _label_task(self, *, with_features: bool) -> LabelTask:
        return LabelTask(self._config.cohort_rule, self._config.label_spec, with_features)

    def _run(self, task: Task) -> DataFrame:
        model = self._model.load()
        frame = as_plain_text(task(model, _nobody(model, self._carried)))
        names = [f"c{i}" for i in range(frame.width)]
        schema = frame.to_arrow().schema
        types = [_plain_type(kind) for kind in schema.types]
        rows = self.parts.where(f"name != '{REPORTS}'").select("name", "rows")
        run = partial(
            run_on_parts,
            task=task,
            model=self._model,
            observed_until=self.observed_until,
            schema=pa.schema(list(zip(names, types, strict=True))),
        )
        declared = ", ".join(
            f"{name} {_SPARK_TYPES[str(kind)]}" for name, kind in zip(names, types, strict=True)
        )
        return rows.mapInArrow(run, declared).toDF(*frame.columns)


def _read(
    pieces: DataFrame, reading: PartReading, quarantine_file: Path | None
) -> tuple[DataFrame, JoinedReading]:
    """The tables of the parts, which Spark keeps, and what their readings say together."""
    frames = pieces.mapInArrow(partial(read_parts, reading=reading), FRAME_SCHEMA).persist()
    rows = frames.where(f"name = '{REPORTS}'").select("rows").collect()
    reports = [reports_from_bytes(bytes(row[0])) for row in rows]
    return frames, join_readings(reading.mapping, reports, quarantine_file)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Spark knows one type of text."""
    is_text = pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.string() if is_text else kind


def _nobody(model: ConversionModel, carried: Sequence[str]) -> LeadHistory:
    """A history of one lead of which nothing is known, to see which columns come out."""
    specs = [spec for spec in model.features.specs if spec.reduce == "value"]
    values = {
        str(spec.of): pl.Series([None], dtype=pl.String if spec.is_category else pl.Float64) for spec in specs
    }
    values |= {name: pl.Series([None], dtype=pl.String) for name in carried}
    of_account = {name for name in values if name.startswith(ACCOUNT_PREFIX)}
    history = LeadHistory.from_leads(
        pl.DataFrame(
            {"lead_id": [""], "created_at": [0], "account_id": [""]}
            | {name: column for name, column in values.items() if name not in of_account}
        ),
        observed_until=1,
    )
    accounts = {name.removeprefix(ACCOUNT_PREFIX): values[name] for name in sorted(of_account)}
    return replace(history, accounts=pl.DataFrame({"account_id": [""]} | accounts))


def _require_lead_columns(
    mapping: HistoryMapping, tables: Sequence[SparkTable], carried: Sequence[str]
) -> None:
    """Refuse leads without a column that the model or the user asks for, before Spark has work with them."""
    known = {
        (ACCOUNT_PREFIX if table.kind == "accounts" else "") + name
        for table in tables
        if table.kind in FREE_COLUMNS
        for name in (*table.names, *table.mapping.attributes)
    }
    missing = [name for name in mapping.plain.only if name not in {*known, NO_COLUMN}]
    if own := [name for name in missing if name in carried]:
        msg = (
            f"the leads have no column {own[0]!r} to write beside the scores{suggest(own[0], sorted(known))}"
        )
        raise ScoringError(msg)
    if missing:
        msg = f"the leads lack columns that the model was trained on: {', '.join(missing)}"
        raise ScoringError(msg)


def _distinct_sources(tables: Sequence[SparkTable]) -> tuple[tuple[int, ...], list[SparkTable]]:
    """Which source each table is read from; sections that read events from the leads' own table share it."""
    leads = next(table for table in tables if table.kind == "leads")
    distinct: list[SparkTable] = []
    sources = []
    for table in tables:
        if table.kind != "leads" and table.mapping.location == leads.mapping.location and leads in distinct:
            sources.append(distinct.index(leads))
        else:
            sources.append(len(distinct))
            distinct.append(table)
    return tuple(sources), distinct


NO_COLUMN = "leadloop.no_column"

_SPARK_TYPES = {
    "string": "string",
    "double": "double",
    "int64": "bigint",
    "int32": "int",
    "int8": "tinyint",
    "bool": "boolean",
    "date32[day]": "date",
}


def read_spark_history(  # noqa: PLR0913 - the one call that users need
    session: SparkSession,
    config: Config,
    model: Path,
    carried: Sequence[str] = (),
    *,
    leads_a_part: int = PART_LEADS,
    quarantine_file: Path | None = None,
) -> SparkHistory:
    """Read the history of a configuration from Spark tables and Parquet files, as a model needs it.

    Spark cuts the rows into parts and keeps them; each part is read and checked as one machine reads a whole
    history. Leadloop must be installed where Spark's workers run.

    Args:
        session: The Spark session.
        config: Where the tables are; ``database = "spark://"`` stands for the catalog of the session.
        model: The folder of a model that was trained on a history.
        carried: Columns of the leads that scores carry along as they are.
        leads_a_part: About how many leads a part has.
        quarantine_file: Where bad rows are written as CSV, on this machine; None for nowhere.

    Returns:
        The history. Its scores, features and labels are tables of Spark.

    Raises:
        ScoringError: The model was trained on a flat export, or the leads lack columns.
        SourceError: A table cannot be read, or the configuration says what Spark cannot do.
        TooManyBadRowsError: More rows are bad than the configuration allows.
    """
    loaded = load(model)
    mapping = mapping_of_model(loaded, config, carried)
    if not mapping.plain.only:  # nothing at all, where no names would mean all columns
        mapping = replace(mapping, plain=replace(mapping.plain, only=(NO_COLUMN,)))
    tables = open_spark_tables(session, mapping)
    _require_lead_columns(mapping, tables, carried)
    placement = place_leads(session, tables, leads_a_part)
    sources, distinct = _distinct_sources(tables)
    reading = PartReading(mapping, int(time.time()), sources, tuple(table.names for table in distinct))
    pieces = [
        placement.place(table).mapInArrow(partial(cut_rows, source=source, names=table.names), PIECE_SCHEMA)
        for source, table in enumerate(distinct)
    ]
    shuffled = reduce(lambda first, second: first.unionByName(second), pieces).repartition(
        len(placement.keys), "part"
    )
    shuffled = shuffled.sortWithinPartitions("part")
    frames, joined = _read(shuffled, reading, quarantine_file)
    if not joined.agreed:
        # What a mark in a number means is settled by all rows of a table, never by those of a part.
        frames.unpersist()
        mapping = replace(mapping, evidence=joined.evidence)
        frames, joined = _read(shuffled, replace(reading, mapping=mapping), quarantine_file)
    if placement.cached is not None:
        placement.cached.unpersist()
    return SparkHistory(
        session,
        frames,
        joined.observed_until,
        joined.quarantine,
        joined.notices,
        config,
        ModelFiles.of_folder(model),
        tuple(carried),
    )
