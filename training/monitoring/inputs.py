"""Reads scores and outcomes to monitor, from files or from a decision log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl
from scipy.special import expit

from features.clock import to_datetime
from features.ingest.lead_ids import match_emails
from features.ingest.mapping import TableSource
from features.ingest.outcome_column import OutcomeCondition, parse_outcome
from features.ingest.quarantine import MAX_SHARE, SourceError, raise_above_limit
from features.ingest.repeated_events import hash_rows
from features.ingest.tables import open_table
from features.ingest.timestamps import detect_format, parse_known_times
from features.messages import Message
from features.parsing import clean_text, parse_categories, parse_flags, parse_numbers, strip_missing
from features.spreadsheet import unescape_formulas
from training.data.dataset import FLAT_AS_OF
from training.data.log_dataset import OVERRIDDEN_TEXT, EmptyLogError, first_ends, label_decisions
from training.monitoring.scores_in_force import ENDPOINT, ScoresInForce
from training.monitoring.windows import AT, MONTH, join_outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from features.ingest.tables import TableReader
    from models.conversion import ConversionModel
    from training.data.log_dataset import DecisionLogFrames, OutcomeDefinition

AS_OF, WHY_NOT = "as_of", "insufficient"


@dataclass(frozen=True)
class OutcomeFile:
    """A file of outcomes.

    Attributes:
        file: CSV or Parquet.
        id: The column with the lead's id.
        label: The column with the outcome.
        time: The column with a date, if any.
        positive: The value of a conversion, where that is not clear, or a condition such as ``filled``.
        encoding: How the characters of a text file are written. Default: found out.
    """

    file: Path
    id: str
    label: str
    time: str | None = None
    positive: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name in ("id", "label", "time"):
            column = getattr(self, name)
            object.__setattr__(self, name, None if column is None else clean_text(column))

    @property
    def place(self) -> TableSource:
        """The file as a table."""
        return TableSource(file=self.file, encoding=self.encoding)


@dataclass(frozen=True)
class MonitoringData:
    """The ``scores`` of a model, and ``outcomes``: ``lead_id``, ``label`` (1.0 or 0.0), maybe ``as_of``.

    ``notices`` are sentences on the files. ``in_force`` are the scores of a service that scores leads of its
    own accord.
    """

    scores: pl.DataFrame
    outcomes: pl.DataFrame
    notices: tuple[str | Message, ...] = ()
    in_force: ScoresInForce | None = None

    @property
    def known(self) -> pl.DataFrame:
        """The scores that have an outcome, joined with it."""
        return join_outcomes(self.scores, self.outcomes)


def read_files(model: ConversionModel, scores: Path, outcomes: OutcomeFile) -> MonitoringData:
    """Read both files; scores without dates get those of their outcomes."""
    tables = [open_table(place) for place in (TableSource(file=scores), outcomes.place)]
    scored = _scores_of(model, tables[0])
    rows = _outcomes_of(outcomes, tables[1], model.card.positive)
    known = _one_a_lead(rows)
    for table in tables:
        _refuse_damaged(table)
    notices = tuple(notice for table in tables for notice in _notices_of(table))
    if blank := rows["label"].null_count():
        notices += (f"{outcomes.place.name}: {blank:,} rows have no outcome yet and are left out",)
    known, changed = _spelled_like(known, scored["lead_id"])
    if changed:
        text = (
            "outcomes name a lead by an address that differs in capital letters alone; they are that lead's"
        )
        notices += (f"{outcomes.place.name}: {changed:,} {text}",)
    if MONTH in known and MONTH not in scored:
        when = known.select("lead_id", MONTH, AT)
        scored = scored.join(when, on="lead_id", how="left", maintain_order="left")
    return MonitoringData(scored, known.select("lead_id", "label"), notices)


def _spelled_like(outcomes: pl.DataFrame, lead_id: pl.Series) -> tuple[pl.DataFrame, int]:
    """The outcomes, one a lead, with addresses as the scores write them, and how many were other."""
    matched = match_emails(outcomes["lead_id"], lead_id)
    changed = int((matched != outcomes["lead_id"]).sum())
    return (_one_a_lead(outcomes.with_columns(matched.alias("lead_id"))) if changed else outcomes), changed


def _one_a_lead(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Of the outcomes of a lead the best: it has converted if it ever did."""
    known = outcomes.drop_nulls(["lead_id", "label"])
    return known.sort("label", descending=True).unique("lead_id", keep="first", maintain_order=True)


def _notices_of(table: TableReader) -> Iterator[str]:
    """Sentences on a table that was read: how, and which of its rows could not be."""
    yield from table.notices
    for reject in table.rejected()[:_MAX_REJECTS]:
        yield f"{table.place.name}, row {reject['line']}: {reject['reason']}"
    if table.rejected_rows:
        yield f"{table.place.name}: {table.rejected_rows:,} rows could not be read"


_MAX_REJECTS = 3
# Those of every file of scores.
_COLUMNS_OF_SCORES = frozenset(
    ("lead_id", "as_of", "log_odds", "probability", "points", "grade", "low", "high", "sufficient", WHY_NOT)
) | {"model_version"}


def _refuse_damaged(table: TableReader) -> None:
    """Raise where more rows of a table that was read are lost than a verdict may rest on."""
    lost = table.rejected_rows
    if lost:
        first = table.rejected()[0]
        rows = lost + sum(batch.frame.height for batch in table.batches(columns=table.columns[:1]))
        where = f"{table.place.name}, row {first['line']}: {first['reason']}"
        raise_above_limit(MAX_SHARE, lost, rows, where)


def read_log(
    model: ConversionModel, frames: DecisionLogFrames, definition: OutcomeDefinition
) -> MonitoringData:
    """The decisions of one model, with the outcomes of those whose window is over.

    Outcomes of windows that are still open would overstate fast conversions.

    Args:
        model: The model; decisions of other versions are left out.
        frames: The log.
        definition: The label.

    Returns:
        Scores and outcomes, by lead and ``as_of``.

    Raises:
        EmptyLogError: The log holds no decision of this model.
    """
    decisions_of_model = frames.decisions.filter(model_version=model.version)
    if decisions_of_model.is_empty():
        others = ", ".join(frames.decisions["model_version"].unique().sort()) or "none"
        msg = f"the log holds no decision of model {model.version}, only of: {others}; name it with --model"
        raise EmptyLogError(msg)
    labelled = label_decisions(replace(frames, decisions=decisions_of_model), definition)
    decisions = labelled.rows
    scores = decisions.with_columns(_month_of(decisions["at"]), as_of="at").drop(
        "label", "settled_at", "matured"
    )
    outcomes = decisions.filter("matured").select("lead_id", pl.col("label").cast(pl.Float64), as_of="at")
    overridden = (f"{labelled.overridden:,} decisions {OVERRIDDEN_TEXT}: left out",)
    in_force = ScoresInForce.of(scores, first_ends(frames.outcomes)) if ENDPOINT in scores else None
    notices: tuple[str | Message, ...] = overridden if labelled.overridden else ()
    newest = int(scores["at"].max() or 0)  # type: ignore[arg-type]  # epoch seconds
    if in_force is not None and in_force.why_not_comparable(newest) is None:
        day = f"{to_datetime(in_force.since):%Y-%m-%d}"
        notices += (Message("monitor.scores_in_force", day=day),)
    return MonitoringData(scores, outcomes, notices, in_force)


def read_scores(model: ConversionModel, file: Path) -> pl.DataFrame:
    """``lead_id``, ``log_odds``, ``probability``, ``grade``; month and ``features`` where the file has them.

    ``features`` is a struct: a feature may be called ``grade``, too.
    """
    return _scores_of(model, open_table(TableSource(file=file)))


def _scores_of(model: ConversionModel, table: TableReader) -> pl.DataFrame:
    file = table.place.name
    table.require(("lead_id", "log_odds"))
    raw = table.read() if table.dialect is None else unescape_formulas(table.read())
    raw = _each_once(raw)
    log_odds = _numbers(table, raw, "log_odds").fill_nan(None)
    if log_odds.null_count():
        msg = f"{file}: {log_odds.null_count():,} rows have no log_odds; did `leadloop score` write it?"
        raise SourceError(msg)
    probability = expit(log_odds.to_numpy())
    moments = _moments(_numbers(table, raw, AS_OF)) if AS_OF in raw else None
    features = [
        (
            parse_categories(strip_missing(raw[column])) if spec.is_category else _numbers(table, raw, column)
        ).alias(spec.name)
        for spec in model.features.specs
        for column in _columns_of_feature(spec.name)
        if column in raw
    ]
    return pl.DataFrame(
        [
            parse_categories(strip_missing(raw["lead_id"])).alias("lead_id"),
            log_odds,
            pl.Series("probability", probability),
            pl.Series("grade", model.grades.grade_all(probability)),
            *(() if moments is None else (moments, _month_of(moments))),
            *([parse_categories(strip_missing(raw[WHY_NOT]))] if WHY_NOT in raw else ()),
            *([pl.DataFrame(features).to_struct("features")] if features else ()),
        ]
    )


def _columns_of_feature(name: str) -> tuple[str, ...]:
    """What a feature may be called in a file of scores, where ``leadloop score --with`` wrote it."""
    return (f"{name} (lead)",) if name in _COLUMNS_OF_SCORES else (name,)


def _each_once(scores: pl.DataFrame) -> pl.DataFrame:
    """The scores without rows that are there twice, the same in all cells: a file that was appended twice."""
    whole = hash_rows(scores)
    return scores if whole.n_unique() == len(whole) else scores.filter(whole.is_first_distinct())


def read_outcomes(source: OutcomeFile) -> pl.DataFrame:
    """``lead_id``, ``label`` (1.0 or 0.0) and, where dates are named, ``at`` and ``month``; one row a lead.

    Rows without an outcome are not known yet, and left out. A lead that stands there twice has converted if
    it ever did.
    """
    return _one_a_lead(_outcomes_of(source, open_table(source.place)))


def _outcomes_of(source: OutcomeFile, table: TableReader, usual: str | None = None) -> pl.DataFrame:
    table.require([source.id, source.label, *([source.time] if source.time else [])])
    raw = table.read()
    columns = [
        parse_categories(strip_missing(raw[source.id])).alias("lead_id"),
        _labels(strip_missing(raw[source.label]), source, usual).cast(pl.Float64).alias("label"),
        *(_dated(strip_missing(raw[source.time])) if source.time else ()),
    ]
    return pl.DataFrame(columns)


def _numbers(table: TableReader, raw: pl.DataFrame, name: str) -> pl.Series:
    return parse_numbers(strip_missing(raw[name]), table.decimal).alias(name)


def _labels(column: pl.Series, source: OutcomeFile, usual: str | None) -> pl.Series:
    """The outcomes; unlike in training a yes-or-no column may hold one of them only.

    Where no success is named for this file, the ``usual`` one of the training data counts, if it fits.
    """
    if condition := OutcomeCondition.parse(source.positive or usual, column):
        return condition.labels(column)
    plain = parse_flags(column)
    if source.positive is None and plain.null_count() == column.null_count():
        return plain
    words = parse_categories(column).str.to_lowercase()
    known = usual if usual is not None and (words == usual.lower()).any() else None
    return parse_outcome(column, source.positive or known)


def _moments(as_of: pl.Series) -> pl.Series | None:
    """The moment of each score; None where ``as_of`` has no meaning, as for leads without dates."""
    whole = as_of.cast(pl.Int64).alias(AT)
    return None if (whole <= FLAT_AS_OF).any() else whole


def _dated(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    how = detect_format(column, share=0.5)
    if how is None:
        msg = f"column {column.name!r} holds no dates; leave --time out, or name one like 2026-02-28"
        raise SourceError(msg)
    moments = parse_known_times(column, how).alias(AT)
    return moments, _month_of(moments)


def _month_of(moments: pl.Series) -> pl.Series:
    """The months of epoch seconds, as text: 2026-11."""
    names = [None if at is None else f"{to_datetime(int(at)):%Y-%m}" for at in moments]
    return pl.Series(MONTH, names, pl.String)
