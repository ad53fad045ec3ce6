"""Batch scoring of files: a flat export in batches, or a history a part of its leads at a time.

Memory is bounded by the batch or part, not by the file. An output file appears under its name only when it is
complete.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import open_lead_snapshots
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from features.ingest.mapping import AttributeSelection
from features.ingest.partitions import read_partitioned
from features.ingest.quarantine import Quarantine
from features.parsing import MISSING
from features.spec import FeatureSet
from models.explanation import log_odds_to_points
from training.data.dataset import compute_feature_rows, flat_rows
from training.file_output import Sink, frame_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from features.history import LeadHistory
    from models.conversion import ConversionModel
    from training.config.settings import Config

    Say = Callable[[str], None]


PART_LEADS = 25_000


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """What batch scoring writes.

    Attributes:
        out: The file of scores, CSV or Parquet.
        reasons: How many reasons per lead, in words.
        contributions: A file for the contribution of every feature to every lead's log-odds. Default: none.
        lang: The language of the reasons.
        encoding: How the characters of the file of leads are written. Default: as UTF-8 or as in training.
    """

    out: Path
    reasons: int = 0
    contributions: Path | None = None
    lang: str = "en"
    encoding: str | None = None


@dataclass(frozen=True)
class ScoringResult:
    """The counts of a run of batch scoring.

    Attributes:
        leads: How many leads were scored.
        quarantine: The cells and rows that could not be read.
        repeated: How many rows have the id of an earlier row; each has a score of its own. Default: 0.
    """

    leads: int
    quarantine: Quarantine
    repeated: int = 0

    def in_words(self, out: Path) -> Iterator[str]:
        """What to know about the scores in ``out``, as lines for a terminal."""
        yield from self.quarantine.examples()
        if self.repeated:
            yield f"{self.repeated:,} rows have the id of a row further up; each row has a score of its own"
        bad = f": {self.quarantine.summary()}" if len(self.quarantine) else ""
        yield f"{self.leads:,} scores in {out}; {len(self.quarantine):,} cells or rows could not be read{bad}"
        if self.quarantine.rows > len(self.quarantine):
            yield f"{self.quarantine.rows:,} rows of the file have no score"

    def to_dict(self) -> dict[str, int]:
        """The counts as ``score --json`` writes them."""
        return {"leads": self.leads, "unreadable": len(self.quarantine), "repeated": self.repeated}


class ScoringError(ValueError):
    """The model and the leads do not go together; the message says why."""


def score_flat(model: ConversionModel, leads: Path, options: ScoringOptions, say: Say) -> ScoringResult:
    """Score a flat export, in the order of its rows.

    Args:
        model: A model that was trained on a flat export.
        leads: The file.
        options: What to write.
        say: Called with lines about the progress.

    Returns:
        The counts.

    Raises:
        ScoringError: The model was trained on a history.
        SourceError: The file cannot be read, or lacks columns.
    """
    if not model.card.flat:
        msg = "this model was trained on a history of events; score it with --config, not --leads"
        raise ScoringError(msg)
    card = model.card
    columns = FlatColumns.from_features(model.features, card.id_column, card.missing or MISSING, card.marks)
    columns = replace(columns, encoding=card.encoding)
    quarantine = Quarantine()
    ids: list[pl.Series] = []

    def rows() -> Iterator[pl.DataFrame]:
        nonlocal quarantine
        for batch in iter_flat_batches(leads, columns, encoding=options.encoding):
            for notice in batch.notices:
                say(notice)
            quarantine = batch.quarantine
            ids.append(batch.leads["lead_id"].hash())
            if batch.leads.height:
                yield flat_rows(model.features, batch.leads)

    count = _write(model, rows(), options, say)
    return ScoringResult(count, quarantine, repeated=count - pl.concat(ids).n_unique())


def score_history(model: ConversionModel, config: Config, options: ScoringOptions, say: Say) -> ScoringResult:
    """Score every lead of a history that is open at the end of its sources.

    Args:
        model: A model that was trained on a history.
        config: Where the tables of the history are.
        options: What to write.
        say: Called with lines about the progress.

    Returns:
        The counts.

    Raises:
        ScoringError: The model was trained on a flat export, or the leads lack columns that it reads.
        SourceError: A table cannot be read.
    """
    if model.card.flat:
        msg = "this model was trained on a flat export; score it with --leads"
        raise ScoringError(msg)
    default_quarantine = options.out.with_name(f"{options.out.stem}.quarantine.csv")
    known = {
        "plain": _attribute_selection(model),
        "marks": model.card.marks,
        "extractions": model.features.extractions,
        "history_extractions": model.features.history_extractions,
    }
    mapping, rule = replace(config.history_mapping, **known), config.cohort_rule  # type: ignore[arg-type]
    with read_partitioned(
        mapping, int(time.time()), config.quarantine.file or default_quarantine, leads=PART_LEADS
    ) as parts:
        _require_columns(model, parts.reading.history)
        rows = (
            compute_feature_rows(model.features, part, open_lead_snapshots(part, rule))
            for part in parts.histories()
        )
        named = (frame.with_columns(pl.col("lead_id").cast(pl.String)) for frame in rows)
        return ScoringResult(_write(model, named, options, say), parts.reading.quarantine)


def _attribute_selection(model: ConversionModel) -> AttributeSelection:
    """The leads' own columns in the roles that the model learned them in."""
    columns = FlatColumns.from_features(_plain_features(model))
    return AttributeSelection(only=columns.needed, roles=columns.roles)


def _plain_features(model: ConversionModel) -> FeatureSet:
    return FeatureSet(tuple(spec for spec in model.features.specs if spec.reduce == "value"))


def _require_columns(model: ConversionModel, history: LeadHistory) -> None:
    needed = {spec.of: spec.column for spec in _plain_features(model).specs}
    if missing := list(
        dict.fromkeys(column for name, column in needed.items() if name not in history.lead_columns)
    ):
        msg = f"the leads lack columns that the model was trained on: {', '.join(missing)}"
        raise ScoringError(msg)


def _write(model: ConversionModel, batches: Iterator[pl.DataFrame], options: ScoringOptions, say: Say) -> int:
    count, started = 0, time.monotonic()
    with ExitStack() as files:
        scores = files.enter_context(frame_writer(options.out))
        weights = files.enter_context(_optional(options.contributions))
        for rows in batches:
            _write_batch(model, rows, options, scores, weights)
            count += rows.height
            say(f"{count:,} leads scored ({count / max(time.monotonic() - started, 1e-9):,.0f} a second)")
    return count


def _write_batch(
    model: ConversionModel, rows: pl.DataFrame, options: ScoringOptions, scores: Sink, weights: Sink | None
) -> None:
    scored = model.score_frame_with_intervals(rows)
    scored = scored.drop("as_of") if model.card.flat else scored
    if options.reasons or weights:
        base, explained = model.contributions(rows)
        frame = pl.DataFrame(explained, schema=list(model.features.names))
        if weights:
            weights(
                rows.select("lead_id", base=pl.lit(base)).hstack(
                    frame.rename(_contribution_columns(frame.columns))
                )
            )
        if options.reasons:
            scored = scored.hstack(_reasons(model, rows, frame, options))
    scores(scored)


def _contribution_columns(features: list[str]) -> dict[str, str]:
    """New names for features that are called like a column of the file of contributions."""
    return {name: f"{name} (feature)" for name in features if name == "base"}


def _reasons(
    model: ConversionModel, rows: pl.DataFrame, explained: pl.DataFrame, options: ScoringOptions
) -> list[pl.Series]:
    """The weightiest reasons of each row as points and words, one column per rank."""
    specs, count = model.features.specs, min(options.reasons, len(model.features))
    weights = explained.to_numpy()
    order = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :count]
    values = rows.select(model.features.names).rows()
    texts = [
        [
            f"{log_odds_to_points(weight[j]):+.1f} "
            f"{model.render_reason(specs[j], row[j], float(weight[j]), options.lang)}"
            for j in best
        ]
        for row, weight, best in zip(values, weights, order, strict=True)
    ]
    return [
        pl.Series(f"reason_{rank + 1}", [text[rank] for text in texts], pl.String) for rank in range(count)
    ]


@contextmanager
def _optional(path: Path | None) -> Iterator[Sink | None]:
    if path is None:
        yield None
    else:
        with frame_writer(path) as opened:
            yield opened
