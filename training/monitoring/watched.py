"""Reads what there is to monitor: scores as ``leadloop score`` writes them, and the outcomes that came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl
from scipy.special import expit

from features.clock import instant
from features.reading.mapping import Place
from features.reading.outcome import outcome
from features.reading.parsing import categories, cleaned, flags, numbers
from features.reading.quarantine import SourceError
from features.reading.tables import open_table
from features.reading.times import detected, times
from training.dataset import FLAT_AS_OF
from training.from_log import NothingLoggedError, labelled
from training.monitoring.groups import AT, MONTH, joined

if TYPE_CHECKING:
    from pathlib import Path

    from features.reading.tables import Table
    from models.conversion import ConversionModel
    from training.from_log import Logged, Question

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
class Seen:
    """The ``scores`` of a model, and the ``outcomes`` that came: lead_id, label, perhaps as_of."""

    scores: pl.DataFrame
    outcomes: pl.DataFrame

    @property
    def known(self) -> pl.DataFrame:
        """The scores with an outcome, and it."""
        return joined(self.scores, self.outcomes)


def seen_files(model: ConversionModel, scores: Path, outcomes: OutcomeFile) -> Seen:
    """Both files; the moment is that of the score, or of the outcome where scores have none."""
    scored, came = read_scores(model, scores), read_outcomes(outcomes)
    if MONTH in came and MONTH not in scored:
        when = came.select("lead_id", MONTH, AT)
        scored = scored.join(when, on="lead_id", how="left", maintain_order="left")
    return Seen(scored, came.select("lead_id", "label"))


def seen_log(model: ConversionModel, logged: Logged, asked: Question) -> Seen:
    """What one model decided, and what became of it once its time was over.

    Outcomes of windows that are still open would make the fast ones look common. Raises NothingLoggedError.
    """
    mine = logged.decisions.filter(model_version=model.version)
    if mine.is_empty():
        others = ", ".join(logged.decisions["model_version"].unique().sort()) or "none"
        msg = f"the log holds no decision of model {model.version}, only of: {others}; name it with --model"
        raise NothingLoggedError(msg)
    found = labelled(replace(logged, decisions=mine), asked).rows
    scores = found.with_columns(_month_of(found["at"]), as_of="at").drop("label", "settled_at", "matured")
    came = found.filter("matured").select("lead_id", pl.col("label").cast(pl.Float64), as_of="at")
    return Seen(scores, came)


def read_scores(model: ConversionModel, file: Path) -> pl.DataFrame:
    """``lead_id``, ``log_odds``, ``probability``, ``grade``; month and features where the file has them."""
    table = open_table(Place(file=file))
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
            categories(cleaned(raw["lead_id"])).alias("lead_id"),
            log_odds,
            pl.Series("probability", probability),
            pl.Series("grade", model.grades.grade_all(probability)),
            *(() if moments is None else (moments, _month_of(moments))),
            *([categories(cleaned(raw[WHY_NOT]))] if WHY_NOT in raw else ()),
            *(
                categories(cleaned(raw[spec.name])) if spec.is_category else _numbers(table, raw, spec.name)
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
    table = open_table(Place(file=source.file))
    table.require([source.id, source.label, *([source.time] if source.time else [])])
    raw = table.read()
    columns = [
        categories(cleaned(raw[source.id])).alias("lead_id"),
        _labels(cleaned(raw[source.label]), source).cast(pl.Float64).alias("label"),
        *(_dated(cleaned(raw[source.time])) if source.time else ()),
    ]
    known = pl.DataFrame(columns).drop_nulls(["lead_id", "label"])
    return known.sort("label", descending=True).unique("lead_id", keep="first", maintain_order=True)


def _numbers(table: Table, raw: pl.DataFrame, name: str) -> pl.Series:
    return numbers(cleaned(raw[name]), table.decimal).alias(name)


def _labels(column: pl.Series, source: OutcomeFile) -> pl.Series:
    """Outcomes; unlike in training they may all be the same yet, if they are a plain yes or no."""
    plain = flags(column)
    if source.positive is None and plain.null_count() == column.null_count():
        return plain
    return outcome(column, source.positive)


def _moments(as_of: pl.Series) -> pl.Series | None:
    """When each score was made; None where that means nothing, as of leads without dates."""
    whole = as_of.cast(pl.Int64).alias(AT)
    return None if (whole <= FLAT_AS_OF).any() else whole


def _dated(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    how = detected(column, share=0.5)
    if how is None:
        msg = f"column {column.name!r} holds no dates; leave --time out, or name one like 2026-02-28"
        raise SourceError(msg)
    moments = times(column, how).alias(AT)
    return moments, _month_of(moments)


def _month_of(moments: pl.Series) -> pl.Series:
    """The months of epoch seconds, as text: 2026-11."""
    names = [None if at is None else f"{instant(int(at)):%Y-%m}" for at in moments]
    return pl.Series(MONTH, names, pl.String)
