"""The call list: the best open leads of a file or a history, each with its reasons, for people."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

import polars as pl

from features.suggestions import suggest
from models.handover_lists import LeadPlacer, ListBuilder, ListWish
from models.handover_plan import ROW
from models.handover_selection import HandoverCandidate, HandoverRequest, lead_lot
from models.uncertainty import DORMANT
from training.batch_scoring import ScoringError, read_flat_leads, read_open_leads
from training.lead_attributes import comparable_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from features.messages import Lang
    from features.spec import DisplayText
    from models.conversion import ConversionModel
    from models.explanation import Explanation
    from models.handover_plan import HandoverPlan
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
        handover: Who takes which leads and how many, instead of the two. Default: nobody in particular.
        day: Epoch seconds of midnight, UTC, of the day of the list; by it equal leads are drawn with a plan.
    """

    top: int = 200
    owner: str | None = None
    columns: tuple[str, ...] = ()
    lang: Lang = "en"
    encoding: str | None = None
    capacity_each: int | None = None
    handover: HandoverPlan | None = None
    day: int = 0

    @property
    def carried(self) -> tuple[str, ...]:
        """The columns of the leads that are read for people, each once."""
        return tuple(dict.fromkeys(filter(None, (self.owner, *self.columns))))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of the leads that the plan decides by, without features of the model."""
        names = () if self.handover is None else self.handover.attributes
        return tuple(name for name in names if not name.startswith(ROW))


@dataclass(frozen=True, slots=True)
class ListedLead:
    """A lead to call.

    Attributes:
        explanation: Its score, parts and reasons.
        owner: Whose lead it is; None where nobody's, or not asked for.
        details: Its values in the columns to show.
        reserve: Whether it is only to be called where another lead of its owner cannot be.
    """

    explanation: Explanation
    owner: str | None
    details: tuple[str | None, ...]
    reserve: bool = False


@dataclass(frozen=True, slots=True)
class CallList:
    """The best open leads, the best first.

    Attributes:
        leads: The leads.
        open_leads: How many open leads there are, without dormant ones, as the console counts them.
        question: What the model predicts, as its card says it.
        model_version: The version of the model.
        as_of: Epoch seconds that the scores are of; None for a flat export, which has no time.
        columns: The columns that are shown.
        names: What the company calls its columns and values.
        excluded: How many other leads are on no list, by reason: dormant, or left out by a plan.
        unknown: Attributes that a plan decides by and of which no open lead has a value.
    """

    leads: tuple[ListedLead, ...]
    open_leads: int
    question: str
    model_version: str
    as_of: int | None
    columns: tuple[str, ...]
    names: Mapping[str, DisplayText]
    excluded: Mapping[str, int] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    @property
    def to_call(self) -> int:
        """How many of the listed leads are to be called: all but the reserve."""
        return sum(not lead.reserve for lead in self.leads)

    @property
    def expected(self) -> float:
        """How many of the listed leads are expected to convert: the sum of their probabilities."""
        return math.fsum(lead.explanation.score.probability for lead in self.leads if not lead.reserve)

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners of the listed leads, in alphabetical order."""
        return tuple(sorted({lead.owner for lead in self.leads if lead.owner is not None}, key=str.casefold))

    def in_words(self, page: Path) -> Iterator[str]:
        """What to know about the list on ``page``, as lines for a terminal."""
        yield f"{self.to_call:,} of {self.open_leads:,} open leads in {page}, the best first"
        if reserve := len(self.leads) - self.to_call:
            yield f"{reserve:,} more are the reserve, for leads that cannot be reached"
        if self.excluded:
            reasons = ", ".join(f"{leads:,} {reason}" for reason, leads in self.excluded.items())
            yield f"on no list: {reasons}"
        if self.excluded.get(DORMANT) and not self.open_leads:
            yield (
                "dormant leads are older, or have been inactive for longer, than all leads in training. If "
                "the export is new, please include older leads in training ([cohort] every), and train again"
            )
        for name in self.unknown:
            yield f"the plan decides by {name!r}, but no open lead has a value of it; check its spelling"

    def to_dict(self) -> dict[str, Any]:
        """The counts as ``leads --json`` writes them."""
        counts = {"leads": self.to_call, "open": self.open_leads, "expected": round(self.expected, 2)}
        reserve = len(self.leads) - self.to_call
        return counts | {"reserve": reserve, "excluded": dict(self.excluded)}


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
    carried = tuple(dict.fromkeys((*options.carried, *options.attributes)))
    open_leads = read_flat_leads(model, leads, carried, options.encoding, say)
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
    carried, attributes = options.carried, options.attributes
    with read_open_leads(model, config, carried, quarantine, attributes) as open_leads:
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
        The list, without dormant leads; of equal leads the one with the lower id comes first. With a plan the
        leads are those that the service hands over of leads with these scores, without exploration.

    Raises:
        ScoringError: The model gives no scores, because too few leads converted in training.
    """
    if model.uncertainty is not None and model.uncertainty.lacking is not None:
        reason = model.uncertainty.reason(math.inf, -1, options.lang)
        raise ScoringError(str(reason.message if reason else model.uncertainty.lacking))
    if options.handover is not None:
        return _list_by_plan(model, batches, options, options.handover)
    best, count, dormant = pl.DataFrame(), 0, 0
    for batch in batches:
        scored = model.score_frame_with_intervals(batch.rows)
        # Nobody works on a lead that is older than all that the model learned from.
        is_open = scored["insufficient"].ne_missing(DORMANT)
        count += int(is_open.sum())
        dormant += int((~is_open).sum())
        candidates = batch.rows.with_columns(scored["log_odds"].alias(_LOG_ODDS)).hstack(_own(batch))
        candidates = candidates.filter(is_open)
        ordered = pl.concat([best, candidates], how="diagonal_relaxed").sort(
            _LOG_ODDS, "lead_id", descending=[True, False]
        )
        best = _first_of_each_owner(ordered, options).head(options.top)
    leads = tuple(_listed_lead(model, row, options) for row in best.iter_rows(named=True))
    listed = _call_list(model, options, leads, count)
    return replace(listed, excluded={DORMANT: dormant} if dormant else {})


def _call_list(
    model: ConversionModel, options: CallListOptions, leads: tuple[ListedLead, ...], open_leads: int
) -> CallList:
    moments = [lead.explanation.score.as_of for lead in leads]
    return CallList(
        leads=leads,
        open_leads=open_leads,
        question=model.card.label,
        model_version=model.version,
        as_of=None if model.card.flat else max(moments, default=None),
        columns=options.columns,
        names=model.card.names,
    )


def _own(batch: LeadBatch) -> pl.DataFrame:
    return batch.carried.rename({name: _OWN + name for name in batch.carried.columns})


def _list_by_plan(
    model: ConversionModel, batches: Iterator[LeadBatch], options: CallListOptions, plan: HandoverPlan
) -> CallList:
    """The lists of a plan as the service makes them, the best leads first and the reserve last."""
    for name in plan.attributes:
        if name.startswith(ROW) and (feature := name.removeprefix(ROW)) not in model.features.names:
            msg = f"the plan decides by {name!r}, but the model has no such feature"
            raise ScoringError(msg + suggest(feature, model.features.names))
    planned = _PlannedLists(options, plan)
    for batch in batches:
        planned.add(model.score_frame_with_intervals(batch.rows), batch)
    leads = tuple(
        replace(_listed_lead(model, row, options), owner=owner, reserve=is_reserve)
        for row, owner, is_reserve in planned.entries()
    )
    unknown = tuple(planned.unknown) if planned.count else ()
    listed = _call_list(model, options, leads, planned.count - planned.dormant)
    return replace(listed, excluded=planned.excluded, unknown=unknown)


class _PlannedLists:
    """The lists of a plan from leads that come in batches, with the rows of leads that may be selected."""

    def __init__(self, options: CallListOptions, plan: HandoverPlan) -> None:
        request = HandoverRequest(options.day, options.top, reserve=plan.reserve)
        wish = ListWish(request, plan, by_owner=plan.has_owners)
        self._lists, self._placer = ListBuilder(wish), LeadPlacer(wish)
        self._rows = pl.DataFrame()
        self.count = self.dormant = 0
        self._attributes = plan.attributes
        self.unknown = list(plan.attributes)

    def add(self, scored: pl.DataFrame, batch: LeadBatch) -> None:
        """Take a batch with its scores into account."""
        numbers = pl.Series(_NUMBER, range(self.count, self.count + scored.height), pl.Int64)
        is_open = scored["insufficient"].ne_missing(DORMANT)
        self.count += scored.height
        self.dormant += scored.height - int(is_open.sum())
        leads = pl.DataFrame([scored["lead_id"], numbers, scored["probability"]])
        texts = pl.DataFrame(_decisive_column(batch, name).alias(name) for name in self._attributes)
        self.unknown = [name for name in self.unknown if texts[name].null_count() == texts.height]
        owners, excluding = (
            texts.select(names).rows() if names else [()] * scored.height
            for names in (self._placer.owner_names, self._placer.excluding_names)
        )
        for lead, whose, why in compress(zip(leads.rows(), owners, excluding, strict=True), is_open):
            lot = lead_lot(lead[0])
            place = self._placer.place(whose, why, lot)
            self._lists.add(partial(HandoverCandidate, *lead), lead[2], lot, place)
        rows = batch.rows.with_columns(numbers).hstack(_own(batch))
        selected = [lead.decision_id for _, lead, _ in self._selected()]
        self._rows = pl.concat([self._rows, rows], how="diagonal_relaxed").filter(
            pl.col(_NUMBER).is_in(selected)
        )

    def _selected(self) -> Iterator[tuple[str, HandoverCandidate, bool]]:
        """Of the leads so far each that is selected: its owner, and whether it is of the reserve."""
        for each in self._lists.finish():
            yield from ((each.request.owner, lead.candidate, False) for lead in each.selection.leads)
            yield from ((each.request.owner, lead, True) for lead in each.selection.reserve)

    def entries(self) -> Iterator[tuple[Mapping[str, Any], str | None, bool]]:
        """The rows of the selected leads in the order of the page, each with its owner."""
        rows = {row[_NUMBER]: row for row in self._rows.iter_rows(named=True)}
        # Equal leads of an owner stay in the order in which that owner's list has them.
        ordered = sorted(self._selected(), key=lambda entry: (entry[2], -entry[1].worth))
        return ((rows[lead.decision_id], owner or None, is_reserve) for owner, lead, is_reserve in ordered)

    @property
    def excluded(self) -> Mapping[str, int]:
        """By reason, how many of the leads so far are on no list."""
        return dict(sorted((self._lists.excluded + Counter({DORMANT: self.dormant})).items()))


def _decisive_column(batch: LeadBatch, name: str) -> pl.Series:
    """The values of each lead that a plan decides by, as texts to compare with."""
    if name in batch.attributes.columns:
        return batch.attributes[name]
    of_model = name.startswith(ROW)
    column = batch.rows[name.removeprefix(ROW)] if of_model else batch.carried[name]
    return comparable_texts(column.to_frame()).to_series()


def _first_of_each_owner(ordered: pl.DataFrame, options: CallListOptions) -> pl.DataFrame:
    """The first rows of each owner, as many as an owner can call."""
    if options.owner is None or options.capacity_each is None:
        return ordered
    return ordered.filter(pl.int_range(pl.len()).over(_OWN + options.owner) < options.capacity_each)


# Beside features of any name.
_LOG_ODDS, _NUMBER, _OWN = "leadloop.log_odds", "leadloop.number", "leadloop.own."


def _listed_lead(model: ConversionModel, row: Mapping[str, Any], options: CallListOptions) -> ListedLead:
    features = {name: row[name] for name in model.features.names}
    explanation = model.explain(features, row["lead_id"], row["as_of"], options.lang)
    owner = None if options.owner is None else row[_OWN + options.owner]
    return ListedLead(explanation, owner, tuple(row[_OWN + name] for name in options.columns))
