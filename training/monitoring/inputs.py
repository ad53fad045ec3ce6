"""Reads what there is to monitor: scores as ``leadloop score`` writes them, and the outcomes that came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl
from scipy.special import expit

from features.clock import to_datetime
from features.ingest.mapping import TableSource
from features.ingest.outcome_column import parse_outcome
from features.ingest.quarantine import SourceError
from features.ingest.tables import open_table
from features.ingest.timestamps import detect_format, parse_timestamps
from features.parsing import parse_categories, parse_flags, parse_numbers, strip_missing
from training.data.dataset import FLAT_AS_OF
from training.data.log_dataset import EmptyLogError, label_decisions
from training.monitoring.windows import AT, MONTH, join_outcomes

if TYPE_CHECKING:
    from pathlib import Path

    from features.ingest.tables import TableReader
    from models.conversion import ConversionModel
    from training.data.log_dataset import DecisionLogFrames, OutcomeDefinition

AS_OF, WHY_NOT = "as_of", "insufficient"


@dataclass(frozen=True)
class OutcomeFile:
    """Where outcomes stand: the file, its column with the lead, with the outcome, and if any with a date.

    ``positive`` is the value of a conversion where that is not plain.
    """

    file: Path
    id: str
    label: str
    time: str | None = None
    positive: str | None = None


@dataclass(frozen=True)
class MonitoringData:
    """The ``scores`` of a model, and the ``outcomes`` that came: lead_id, label, perhaps as_of."""

    scores: pl.DataFrame
    outcomes: pl.DataFrame

    @property
    def known(self) -> pl.DataFrame:
        """The scores with an outcome, and it."""
        return join_outcomes(self.scores, self.outcomes)


def read_files(model: ConversionModel, scores: Path, outcomes: OutcomeFile) -> MonitoringData:
    """Both files; the moment is that of the score, or of the outcome where scores have none."""
    scored, came = read_scores(model, scores), read_outcomes(outcomes)
    if MONTH in came and MONTH not in scored:
        when = came.select("lead_id", MONTH, AT)
        scored = scored.join(when, on="lead_id", how="left", maintain_order="left")
    return MonitoringData(scored, came.select("lead_id", "label"))


def read_log(model: ConversionModel, logged: DecisionLogFrames, asked: OutcomeDefinition) -> MonitoringData:
    """What one model decided, and what became of it once its time was over.

    Outcomes of windows that are still open would make the fast ones look common. Raises NothingLoggedError.
    """
    mine = logged.decisions.filter(model_version=model.version)
    if mine.is_empty():
        others = ", ".join(logged.decisions["model_version"].unique().sort()) or "none"
        msg = f"the log holds no decision of model {model.version}, only of: {others}; name it with --model"
        raise EmptyLogError(msg)
    found = label_decisions(replace(logged, decisions=mine), asked).rows
    scores = found.with_columns(_month_of(found["at"]), as_of="at").drop("label", "settled_at", "matured")
    came = found.filter("matured").select("lead_id", pl.col("label").cast(pl.Float64), as_of="at")
    return MonitoringData(scores, came)


def read_scores(model: ConversionModel, file: Path) -> pl.DataFrame:
    """``lead_id``, ``log_odds``, ``probability``, ``grade``; month and features where the file has them."""
    table = open_table(TableSource(file=file))
    table.require(("lead_id", "log_odds"))
    raw = table.read()
    log_odds = _numbers(table, raw, "log_odds").fill_nan(None)
    if log_odds.null_count():
        msg = f"{file}: {log_odds.null_count():,} rows have no log_odds; did `leadloop score` write it?"
        raise SourceError(msg)
    probability = expit(log_odds.to_numpy())
    moments = _moments(_numbers(table, raw, AS_OF)) if AS_OF in raw else None
    return pl.DataFrame(
        [
            parse_categories(strip_missing(raw["lead_id"])).alias("lead_id"),
            log_odds,
            pl.Series("probability", probability),
            pl.Series("grade", model.grades.grade_all(probability)),
            *(() if moments is None else (moments, _month_of(moments))),
            *([parse_categories(strip_missing(raw[WHY_NOT]))] if WHY_NOT in raw else ()),
            *(
                parse_categories(strip_missing(raw[spec.name]))
                if spec.is_category
                else _numbers(table, raw, spec.name)
                for spec in model.features.specs
                if spec.name in raw
            ),
        ]
    )


def read_outcomes(source: OutcomeFile) -> pl.DataFrame:
    """``lead_id``, ``label`` (1.0 or 0.0) and, where dates are named, ``at`` and ``month``; one row a lead.

    Rows without an outcome are not known yet, and left out. A lead that stands there twice has converted if
    it ever did.
    """
    table = open_table(TableSource(file=source.file))
    table.require([source.id, source.label, *([source.time] if source.time else [])])
    raw = table.read()
    columns = [
        parse_categories(strip_missing(raw[source.id])).alias("lead_id"),
        _labels(strip_missing(raw[source.label]), source).cast(pl.Float64).alias("label"),
        *(_dated(strip_missing(raw[source.time])) if source.time else ()),
    ]
    known = pl.DataFrame(columns).drop_nulls(["lead_id", "label"])
    return known.sort("label", descending=True).unique("lead_id", keep="first", maintain_order=True)


def _numbers(table: TableReader, raw: pl.DataFrame, name: str) -> pl.Series:
    return parse_numbers(strip_missing(raw[name]), table.decimal).alias(name)


def _labels(column: pl.Series, source: OutcomeFile) -> pl.Series:
    """Outcomes; unlike in training they may all be the same yet, if they are a plain yes or no."""
    plain = parse_flags(column)
    if source.positive is None and plain.null_count() == column.null_count():
        return plain
    return parse_outcome(column, source.positive)


def _moments(as_of: pl.Series) -> pl.Series | None:
    """When each score was made; None where that means nothing, as of leads without dates."""
    whole = as_of.cast(pl.Int64).alias(AT)
    return None if (whole <= FLAT_AS_OF).any() else whole


def _dated(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    how = detect_format(column, share=0.5)
    if how is None:
        msg = f"column {column.name!r} holds no dates; leave --time out, or name one like 2026-02-28"
        raise SourceError(msg)
    moments = parse_timestamps(column, how).alias(AT)
    return moments, _month_of(moments)


def _month_of(moments: pl.Series) -> pl.Series:
    """The months of epoch seconds, as text: 2026-11."""
    names = [None if at is None else f"{to_datetime(int(at)):%Y-%m}" for at in moments]
    return pl.Series(MONTH, names, pl.String)
