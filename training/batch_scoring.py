"""Scores whole files: a flat export in batches, or a configured history a part of its leads at a time.

Memory is bounded by the batch or part, not by the file; what is written appears under its name only when it
is complete.
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
from models.explanation import log_odds_to_points, render_sentence
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
    """What to write: scores to ``out``, so many ``reasons`` of each in words, all contributions elsewhere."""

    out: Path
    reasons: int = 0
    contributions: Path | None = None
    lang: str = "en"


@dataclass(frozen=True)
class ScoringResult:
    """How many leads were scored, the cells that could not be read, the rows whose id stands further up."""

    leads: int
    quarantine: Quarantine
    repeated: int = 0

    def in_words(self, out: Path) -> Iterator[str]:
        """What a reader must know of the scores in ``out``, a line each."""
        yield from self.quarantine.examples()
        if self.repeated:
            yield f"{self.repeated:,} rows have the id of a row further up; each row has a score of its own"
        bad = f": {self.quarantine.summary()}" if len(self.quarantine) else ""
        yield f"{self.leads:,} scores in {out}; {len(self.quarantine):,} cells or rows could not be read{bad}"

    def to_dict(self) -> dict[str, int]:
        """The counts, ready for JSON."""
        return {"leads": self.leads, "unreadable": len(self.quarantine), "repeated": self.repeated}


class ScoringError(ValueError):
    """The model and the leads do not go together; the message says why."""


def score_flat(model: ConversionModel, leads: Path, wanted: ScoringOptions, say: Say) -> ScoringResult:
    """Score a flat export row by row, in the order of the file."""
    if not model.card.flat:
        msg = "this model was trained on a history of events; score it with --config, not --leads"
        raise ScoringError(msg)
    columns = FlatColumns.from_features(model.features, model.card.id_column, model.card.missing or MISSING)
    quarantine = Quarantine()
    ids: list[pl.Series] = []

    def rows() -> Iterator[pl.DataFrame]:
        nonlocal quarantine
        for batch in iter_flat_batches(leads, columns):
            for notice in batch.notices:
                say(notice)
            quarantine = batch.quarantine
            ids.append(batch.leads["lead_id"].hash())
            if batch.leads.height:
                yield flat_rows(model.features, batch.leads)

    written = _write(model, rows(), wanted, say)
    return ScoringResult(written, quarantine, repeated=written - pl.concat(ids).n_unique())


def score_history(model: ConversionModel, config: Config, wanted: ScoringOptions, say: Say) -> ScoringResult:
    """Score every lead of a history that is open when its sources end."""
    if model.card.flat:
        msg = "this model was trained on a flat export; score it with --leads"
        raise ScoringError(msg)
    beside = wanted.out.with_name(f"{wanted.out.stem}.quarantine.csv")
    mapping, rule = replace(config.history_mapping, plain=_plain(model)), config.cohort_rule
    with read_partitioned(
        mapping, int(time.time()), config.quarantine.file or beside, leads=PART_LEADS
    ) as parts:
        _require(model, parts.reading.history)
        rows = (
            compute_feature_rows(model.features, part, open_lead_snapshots(part, rule))
            for part in parts.histories()
        )
        named = (frame.with_columns(pl.col("lead_id").cast(pl.String)) for frame in rows)
        return ScoringResult(_write(model, named, wanted, say), parts.reading.quarantine)


def _plain(model: ConversionModel) -> AttributeSelection:
    """The leads' own columns as the model learned them, whatever these leads make them look like."""
    wanted = FlatColumns.from_features(_columns(model)).roles
    return AttributeSelection(only=tuple(wanted), roles=wanted)


def _columns(model: ConversionModel) -> FeatureSet:
    return FeatureSet(tuple(spec for spec in model.features.specs if spec.reduce == "value"))


def _require(model: ConversionModel, history: LeadHistory) -> None:
    if missing := [name for name in _columns(model).names if name not in history.lead_columns]:
        msg = f"the leads lack columns that the model was trained on: {', '.join(missing)}"
        raise ScoringError(msg)


def _write(model: ConversionModel, batches: Iterator[pl.DataFrame], wanted: ScoringOptions, say: Say) -> int:
    done, started = 0, time.monotonic()
    with ExitStack() as files:
        scores = files.enter_context(frame_writer(wanted.out))
        weights = files.enter_context(_optional(wanted.contributions))
        for rows in batches:
            _write_batch(model, rows, wanted, scores, weights)
            done += rows.height
            say(f"{done:,} leads scored ({done / max(time.monotonic() - started, 1e-9):,.0f} a second)")
    return done


def _write_batch(
    model: ConversionModel, rows: pl.DataFrame, wanted: ScoringOptions, scores: Sink, weights: Sink | None
) -> None:
    scored = model.score_frame_with_intervals(rows)
    scored = scored.drop("as_of") if model.card.flat else scored
    if wanted.reasons or weights:
        base, explained = model.contributions(rows)
        frame = pl.DataFrame(explained, schema=list(model.features.names))
        if weights:
            weights(rows.select("lead_id", base=pl.lit(base)).hstack(frame.rename(_apart(frame.columns))))
        if wanted.reasons:
            scored = scored.hstack(_reasons(model, rows, frame, wanted))
    scores(scored)


def _apart(features: list[str]) -> dict[str, str]:
    """Another name for a feature that is called as the file calls a column of its own."""
    return {name: f"{name} (feature)" for name in features if name == "base"}


def _reasons(
    model: ConversionModel, rows: pl.DataFrame, explained: pl.DataFrame, wanted: ScoringOptions
) -> list[pl.Series]:
    """The weightiest reasons of each row, as points and words, one column a rank."""
    specs, count = model.features.specs, min(wanted.reasons, len(model.features))
    weights = explained.to_numpy()
    order = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :count]
    values = rows.select(model.features.names).rows()
    texts = [
        [
            f"{log_odds_to_points(weight[j]):+.1f} {render_sentence(specs[j], row[j], wanted.lang)}"
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
