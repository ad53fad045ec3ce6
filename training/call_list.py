"""The call list: the best open leads of a file or a history, each with its reasons, for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from models.uncertainty import DORMANT
from training.batch_scoring import ScoringError, read_flat_leads, read_open_leads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from features.messages import Lang
    from features.spec import DisplayText
    from models.conversion import ConversionModel
    from models.explanation import Explanation
    from training.batch_scoring import LeadBatch
    from training.config.settings import Config


@dataclass(frozen=True, slots=True)
class CallListOptions:
    """Which leads are listed, and with what.

    Attributes:
        top: How many leads at most.
        owner: The column that says whose lead it is. Default: none.
        columns: Further columns of the leads to show, such as the name.
        lang: The language of the reasons.
        encoding: How the characters of a file are written. Default: as UTF-8 or as in training.
        capacity_each: How many leads of each owner at most; those of nobody are as one owner's. Default: as
            many as are among the best.
    """

    top: int = 200
    owner: str | None = None
    columns: tuple[str, ...] = ()
    lang: Lang = "en"
    encoding: str | None = None
    capacity_each: int | None = None

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns of the leads that are read for people, each once."""
        return tuple(dict.fromkeys(filter(None, (self.owner, *self.columns))))


@dataclass(frozen=True, slots=True)
class ListedLead:
    """A lead to call.

    Attributes:
        explanation: Its score, parts and reasons.
        owner: Whose lead it is; None where nobody's, or not asked for.
        details: Its values in the columns to show.
    """

    explanation: Explanation
    owner: str | None
    details: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class CallList:
    """The best open leads, the best first.

    Attributes:
        leads: The leads.
        open_leads: How many open leads there are.
        question: What the model predicts, as its card says it.
        model_version: The version of the model.
        as_of: Epoch seconds that the scores are of; None for a flat export, which has no time.
        columns: The columns that are shown.
        names: What the company calls its columns and values.
    """

    leads: tuple[ListedLead, ...]
    open_leads: int
    question: str
    model_version: str
    as_of: int | None
    columns: tuple[str, ...]
    names: Mapping[str, DisplayText]

    @property
    def expected(self) -> float:
        """How many of the listed leads are expected to convert: the sum of their probabilities."""
        return math.fsum(lead.explanation.score.probability for lead in self.leads)

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners of the listed leads, in alphabetical order."""
        return tuple(sorted({lead.owner for lead in self.leads if lead.owner is not None}, key=str.casefold))

    def to_dict(self) -> dict[str, Any]:
        """The counts as ``leads --json`` writes them."""
        return {"leads": len(self.leads), "open": self.open_leads, "expected": round(self.expected, 2)}


def call_list_of_file(
    model: ConversionModel, leads: Path, options: CallListOptions, say: Callable[[str], None]
) -> CallList:
    """List the best leads of a flat export.

    Args:
        model: A model that was trained on a flat export.
        leads: The file.
        options: Which leads, and with what.
        say: Called with sentences about the file.

    Returns:
        The list.

    Raises:
        ScoringError: The model was trained on a history, or gives no scores.
        SourceError: The file cannot be read, or lacks columns.
    """
    open_leads = read_flat_leads(model, leads, options.carried, options.encoding, say)
    return list_best_leads(model, open_leads.batches, options)


def call_list_of_history(
    model: ConversionModel, config: Config, options: CallListOptions, page: Path
) -> CallList:
    """List the best leads of a history among those that are open at the end of its sources.

    Args:
        model: A model that was trained on a history.
        config: Where the tables of the history are.
        options: Which leads, and with what.
        page: The page that is written; bad rows go to a file beside it.

    Returns:
        The list.

    Raises:
        ScoringError: The model was trained on a flat export, gives no scores, or the leads lack columns.
        SourceError: A table cannot be read.
    """
    quarantine = page.with_name(f"{page.stem}.quarantine.csv")
    with read_open_leads(model, config, options.carried, quarantine) as open_leads:
        return list_best_leads(model, open_leads.batches, options)


def list_best_leads(
    model: ConversionModel, batches: Iterator[LeadBatch], options: CallListOptions
) -> CallList:
    """List the best of some leads; memory holds no more than a batch and the list.

    Args:
        model: The model.
        batches: The leads.
        options: Which leads, and with what.

    Returns:
        The list, without dormant leads; of equal leads the one with the lower id comes first.

    Raises:
        ScoringError: The model gives no scores, because too few leads converted in training.
    """
    if model.uncertainty is not None and model.uncertainty.lacking is not None:
        reason = model.uncertainty.reason(math.inf, -1, options.lang)
        raise ScoringError(str(reason.message if reason else model.uncertainty.lacking))
    best, count = pl.DataFrame(), 0
    for batch in batches:
        scored = model.score_frame_with_intervals(batch.rows)
        count += scored.height
        own = batch.carried.rename({name: _OWN + name for name in batch.carried.columns})
        candidates = batch.rows.with_columns(scored["log_odds"].alias(_LOG_ODDS)).hstack(own)
        # Nobody works on a lead that is older than all that the model learned from.
        candidates = candidates.filter(scored["insufficient"].ne_missing(DORMANT))
        ordered = pl.concat([best, candidates], how="diagonal_relaxed").sort(
            _LOG_ODDS, "lead_id", descending=[True, False]
        )
        best = _first_of_each_owner(ordered, options).head(options.top)
    return CallList(
        leads=tuple(_listed_lead(model, row, options) for row in best.iter_rows(named=True)),
        open_leads=count,
        question=model.card.label,
        model_version=model.version,
        as_of=None if model.card.flat or best.is_empty() else best["as_of"].max(),  # type: ignore[arg-type]
        columns=options.columns,
        names=model.card.names,
    )


def _first_of_each_owner(ordered: pl.DataFrame, options: CallListOptions) -> pl.DataFrame:
    """The first rows of each owner, as many as an owner can call."""
    if options.owner is None or options.capacity_each is None:
        return ordered
    return ordered.filter(pl.int_range(pl.len()).over(_OWN + options.owner) < options.capacity_each)


# Beside features of any name.
_LOG_ODDS, _OWN = "leadloop.log_odds", "leadloop.own."


def _listed_lead(model: ConversionModel, row: Mapping[str, Any], options: CallListOptions) -> ListedLead:
    features = {name: row[name] for name in model.features.names}
    explanation = model.explain(features, row["lead_id"], row["as_of"], options.lang)
    owner = None if options.owner is None else row[_OWN + options.owner]
    return ListedLead(explanation, owner, tuple(row[_OWN + name] for name in options.columns))
