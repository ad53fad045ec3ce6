"""Offers and touchpoint paths before conversion, compared with matched controls.

Compared with all leads, those who take an offer look good because they are the active ones: whatever a lead
does just now foretells something. So takers are compared twice. Beside them stand leads that took *another*
offer at about the same age and time and in the same score band; and their conversions stand beside those that
the model's score just before the take expected. An offer is only named where both differ, in the same
direction and beyond the chance of many offers. What is left is an association: a taker may still have been
the keener one. Paths are the last steps before a conversion, beside those of leads still open at the same
age.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.catalogue import REQUESTS
from features.clock import DAY
from features.point_in_time import is_visible
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.analysis.not_applicable import NotApplicable
from training.analysis.risk_set_matching import (
    KEPT,
    MatchedControls,
    RiskSets,
    ScoreStrata,
    index_of,
    match_controls,
    match_other_takes,
    risk_sets,
    score_strata,
)
from training.analysis.stage_entries import NEVER
from training.stats.intervals import wilson_interval
from training.stats.significance import (
    FEWEST_LEADS,
    FEWEST_SQLS,
    ORDER,
    Verdict,
    benjamini_hochberg,
    both_tests,
    observed_expected_ratio,
    rate_ratio,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import StageEntries, Times
    from training.stats.significance import RatioTest

# Steps of a path.
LAST = 3
# Leads that are matched with controls; more are sampled.
MOST_WON, MOST_TAKERS = 4000, 4000
MOST_PATHS, MOST_OFFERS = 12, 20
_TINY = 1e-6
# Offer stages in the order of the funnel.
_STAGES = ("awareness", "consideration", "decision")


@dataclass(frozen=True, slots=True)
class TouchpointPath:
    """The last different steps of a lead in order; no step at all is a path too.

    Attributes:
        steps: Kinds of touchpoints.
        won: Converted leads with this path.
        share: Their share among the converted leads.
        others: The path's share among controls, open at the same age.
        ratio: share / others with its interval; None where conversions are few.
        verdict: What the ratio shows, after Benjamini-Hochberg.
    """

    steps: tuple[str, ...]
    won: int
    share: float
    others: float
    ratio: Interval | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class OfferEffect:
    """An offer, or a whole offer stage, beside takers of other offers and beside the model's scores.

    Attributes:
        name: The offer or the stage.
        kind: The most frequent kind of touchpoint it was taken by; None for a stage.
        stage: Its most frequent offer stage; None for a stage.
        takers: Leads that took it while open.
        compared: Those of them with matched takers of other offers.
        rate: Conversion of these within the horizon.
        similar: Conversion of the matched takers of other offers.
        ratio: rate / similar with its interval; None where conversions are few.
        verdict: What both ratios show, after Benjamini-Hochberg.
        scored: Takers with a score just before.
        ratio_to_score: Their conversions over those that these scores expected, with its interval; None where
            they are few.
    """

    name: str
    kind: str | None
    stage: str | None
    takers: int
    compared: int
    rate: Interval | None
    similar: float | None
    ratio: Interval | None
    verdict: Verdict
    scored: int = 0
    ratio_to_score: Interval | None = None


@dataclass(frozen=True, slots=True)
class Offers:
    """Offers, offer stages and paths, each compared with matched controls.

    Attributes:
        days: The horizon.
        since: Only offers taken from here on count: earlier there are no out-of-sample scores.
        beside: Most controls of a lead.
        offers: Effects by offer, significant ones first.
        stages: Effects by offer stage, in the order of the funnel.
        steps: Kinds of touchpoints in the paths.
        paths: The most frequent paths to conversion.
    """

    days: float
    since: int
    beside: int
    offers: tuple[OfferEffect, ...]
    stages: tuple[OfferEffect, ...]
    steps: tuple[str, ...]
    paths: tuple[TouchpointPath, ...]


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The leads that takers are matched with, their score strata, and the start of out-of-sample scores."""

    sets: RiskSets
    strata: ScoreStrata
    since: int


def offer_effects(inputs: ReportInput) -> Offers | NotApplicable:
    """Compare the offers of a report's history with matched controls."""
    entries = inputs.stage_entries
    if isinstance(entries, NotApplicable):
        return entries
    touches = _with_lead_index(entries, _steps_and_takes(entries.history.touchpoints))
    takes = touches.filter(pl.col("offer").is_not_null())
    if takes.is_empty():
        return NotApplicable("no_offers")
    comparison = _make_comparison(inputs, entries)
    steps, paths = frequent_paths(comparison.sets, touches)
    offers, stages = _compare_offers(comparison, takes)
    return Offers(
        days=entries.spec.horizon / DAY,
        since=comparison.since,
        beside=KEPT,
        offers=offers,
        stages=stages,
        steps=steps,
        paths=paths,
    )


def _make_comparison(inputs: ReportInput, entries: StageEntries) -> _Comparison:
    scores = inputs.scores.filter(pl.col("lead_id").is_in(entries.lead_id.implode()))
    strata = score_strata(
        index_of(scores["lead_id"], entries.lead_id),
        scores["as_of"].to_numpy(),
        scores["probability"].to_numpy(),
    )
    return _Comparison(risk_sets(entries), strata, int(inputs.scores["as_of"].to_numpy().min()))


def _steps_and_takes(touchpoints: pl.DataFrame) -> pl.LazyFrame:
    """The touchpoints of offers and of kinds that may be steps, in the columns that are read of them.

    Visits and opened e-mails, which are most of a history, are neither.
    """
    columns = touchpoints.lazy().select("lead_id", "kind", "offer", "offer_stage", "occurred_at", "known_at")
    return columns.filter(pl.col("offer").is_not_null() | pl.col("kind").is_in(steps(touchpoints)))


def _with_lead_index(entries: StageEntries, touchpoints: pl.LazyFrame) -> pl.DataFrame:
    """Touchpoints of known leads with the lead's index, dated no earlier than its creation."""
    leads = pl.LazyFrame(
        {"lead_id": entries.lead_id, "lead": np.arange(len(entries.created)), "created_at": entries.created}
    )
    return (
        touchpoints.join(leads, on="lead_id", maintain_order="left")
        .with_columns(moment=pl.max_horizontal("occurred_at", "created_at"))
        .drop("lead_id", "created_at")
        .collect()
    )


def _compare_offers(
    comparison: _Comparison, takes: pl.DataFrame
) -> tuple[tuple[OfferEffect, ...], tuple[OfferEffect, ...]]:
    """The effects of offers and of offer stages, whose tests are corrected together."""
    columns = ("offer", "offer_stage")
    effects = {column: _offer_effects(comparison, takes, column) for column in columns}
    verdicts = iter(benjamini_hochberg([test for pairs in effects.values() for _, test in pairs]))
    offers, stages = (
        _sort_effects([replace(effect, verdict=next(verdicts)) for effect, _ in effects[column]], column)
        for column in columns
    )
    return offers, stages


def _offer_effects(
    comparison: _Comparison, takes: pl.DataFrame, column: str
) -> list[tuple[OfferEffect, RatioTest | None]]:
    counted = takes[column].drop_nulls().value_counts(name="rows")
    names = counted.sort("rows", column, descending=[True, False])[column]
    return [_offer_effect(comparison, takes, column, name) for name in names[:MOST_OFFERS]]


def _sort_effects(effects: Sequence[OfferEffect], column: str) -> tuple[OfferEffect, ...]:
    def stage(offer: OfferEffect) -> int:
        return _STAGES.index(offer.name) if offer.name in _STAGES else len(_STAGES)

    if column == "offer_stage":
        return tuple(sorted(effects, key=lambda effect: (stage(effect), effect.name)))
    return tuple(
        sorted(effects, key=lambda effect: (ORDER.index(effect.verdict), -effect.takers, effect.name))
    )


def _offer_effect(
    comparison: _Comparison, takes: pl.DataFrame, column: str, name: str
) -> tuple[OfferEffect, RatioTest | None]:
    """The effect of one offer, yet without a verdict, and its test."""
    sets, own = comparison.sets, takes.filter(pl.col(column) == name)
    lead, moment = _first_takes(sets, own)
    took_at = np.full(len(sets.created), NEVER)
    took_at[lead] = moment
    included = np.flatnonzero(_is_counted(comparison, lead, moment))
    if len(included) > MOST_TAKERS:
        included = np.sort(np.random.default_rng(0).choice(included, MOST_TAKERS, replace=False))
    case = lead[included], moment[included]
    other = _other_takes(comparison, takes.filter(pl.col(column).ne_missing(name)), took_at)
    matched = match_other_takes(sets, case, other, comparison.strata)
    outcome = sets.won(matched.lead, matched.moment)
    cases, controls = matched.groups(outcome, sets.won(matched.control, matched.control_moment))
    enough = (
        len(outcome) >= FEWEST_LEADS
        and outcome.sum() >= FEWEST_SQLS
        and controls.weight @ controls.y >= FEWEST_SQLS
    )
    test = rate_ratio(cases, controls, len(took_at)) if enough else None
    scored, against_score = _compare_with_score(comparison, *case)
    offer = OfferEffect(
        name=name,
        kind=_most_frequent(own["kind"]) if column == "offer" else None,
        stage=_most_frequent(own["offer_stage"]) if column == "offer" else None,
        takers=len(lead),
        compared=len(outcome),
        rate=wilson_interval(float(outcome.sum()), len(outcome)) if len(outcome) else None,
        similar=controls.rate if len(outcome) else None,
        ratio=test.ratio if test else None,
        verdict="few",
        scored=scored,
        ratio_to_score=against_score.ratio if against_score else None,
    )
    return offer, both_tests(test, against_score)


def _is_counted(comparison: _Comparison, lead: Times, moment: Times) -> NDArray[np.bool_]:
    """(n,) whether takes fall into the time of out-of-sample scores, of leads then at risk."""
    return np.asarray((moment >= comparison.since) & comparison.sets.at_risk(lead, moment))


def _other_takes(comparison: _Comparison, takes: pl.DataFrame, took_at: Times) -> tuple[Times, Times]:
    """Takes of other offers by leads that had not taken the offer by then.

    A taker's own earlier takes were not of the offer either. So where offers are taken by chance, takers of
    each are as active as those of any other, however rare it is.
    """
    lead, moment = takes["lead"].to_numpy(), takes["moment"].to_numpy()
    counted = _is_counted(comparison, lead, moment) & (moment < took_at[lead])
    return lead[counted], moment[counted]


def _compare_with_score(comparison: _Comparison, lead: Times, moment: Times) -> tuple[int, RatioTest | None]:
    """The takers with a score just before, and the test of their conversions over the expected ones."""
    expected = comparison.strata.probability_at(lead, moment)
    known = np.isfinite(expected)
    p = np.clip(expected[known], _TINY, 1 - _TINY)
    if known.sum() < FEWEST_LEADS or min(p.sum(), (1 - p).sum()) < FEWEST_SQLS:
        return int(known.sum()), None
    outcome = comparison.sets.won(lead[known], moment[known])
    return len(p), observed_expected_ratio(outcome, p)


def _first_takes(sets: RiskSets, takes: pl.DataFrame) -> tuple[Times, Times]:
    """The leads that took an offer while they were open, and when each first did."""
    first = takes.group_by("lead").agg(pl.col("moment").min()).sort("lead")
    lead, moment = first["lead"].to_numpy(), first["moment"].to_numpy()
    open_then = moment < sets.open_until[lead]
    return lead[open_then], moment[open_then]


def _most_frequent(words: pl.Series) -> str | None:
    """The most frequent word, or None."""
    known = words.drop_nulls().value_counts(name="rows").sort("rows", words.name, descending=[True, False])
    return None if known.is_empty() else str(known[words.name][0])


def frequent_paths(
    sets: RiskSets, touches: pl.DataFrame
) -> tuple[tuple[str, ...], tuple[TouchpointPath, ...]]:
    """Compare the most frequent paths to conversion with those of leads open at the same age.

    Each conversion is matched with leads created in the same month that were open at the same age: incidence
    density sampling (Prentice and Breslow 1978).

    Args:
        sets: The leads.
        touches: Touchpoints with the index ``lead`` of their lead.

    Returns:
        The kinds of touchpoints that count as steps, and the paths, the most frequent first.
    """
    won = np.flatnonzero(sets.won_at < NEVER)
    if len(won) > MOST_WON:
        won = np.sort(np.random.default_rng(0).choice(won, MOST_WON, replace=False))
    kinds = steps(touches)
    touchpoints = touches.filter(pl.col("kind").is_in(kinds)).select(
        "lead", "occurred_at", "known_at", "kind"
    )
    matched = match_controls(sets, won, sets.won_at[won], sets.won_at, None)
    return kinds, _compare_paths(matched, touchpoints, len(sets.created))


def steps(touches: pl.DataFrame) -> tuple[str, ...]:
    """The kinds of touchpoints that count as steps: requests and those that offers were taken by.

    All kinds where there are none of these. Visits and opened mails are so many that every path would consist
    of them.
    """
    selected = touches.filter(pl.col("offer").is_not_null() | pl.col("kind").is_in(REQUESTS))
    return tuple((touches if selected.is_empty() else selected)["kind"].unique().sort())


def last_touchpoints(touchpoints: pl.DataFrame, lead: Times, moment: Times) -> pl.Series:
    """The last ``LAST`` different steps that each lead was known to have taken before a moment.

    A step repeated at once counts once. Steps of the same second are ordered by name.

    Args:
        touchpoints: ``lead``, ``kind``, ``occurred_at`` and ``known_at`` of touchpoints.
        lead: (n,) index of the lead.
        moment: (n,) epoch seconds.

    Returns:
        (n,) lists of kinds.
    """
    queries = pl.DataFrame({"lead": lead, "as_of": moment}).with_row_index("row")
    visible = queries.join(touchpoints, on="lead").filter(
        is_visible(pl.col("occurred_at"), pl.col("known_at"), pl.col("as_of"))
    )
    changes = visible.sort("row", "occurred_at", "kind").filter(
        (pl.col("kind") != pl.col("kind").shift()).over("row").fill_null(value=True)
    )
    last = changes.group_by("row", maintain_order=True).agg(pl.col("kind").tail(LAST))
    return queries.join(last, on="row", how="left", maintain_order="left")["kind"].fill_null([])


def _compare_paths(
    matched: MatchedControls, touchpoints: pl.DataFrame, leads: int
) -> tuple[TouchpointPath, ...]:
    case_paths = last_touchpoints(touchpoints, matched.lead, matched.moment)
    control_paths = np.full(matched.control.shape, "", dtype=object)
    control_paths[matched.is_matched] = _path_names(
        last_touchpoints(
            touchpoints, matched.control[matched.is_matched], matched.control_moment[matched.is_matched]
        )
    )
    names = _path_names(case_paths)
    counted = case_paths.value_counts(name="won", sort=True).sort("won", descending=True)
    counts = []
    for path, won in counted.head(MOST_PATHS).iter_rows():
        name = _path_name(path)
        cases, controls = matched.groups((names == name).astype(float), (control_paths == name).astype(float))
        enough = min(won, controls.weight @ controls.y) >= FEWEST_SQLS
        test = rate_ratio(cases, controls, leads) if enough else None
        counts.append((tuple(path), won, cases.rate, controls.rate, test))
    verdicts = benjamini_hochberg([result for *_, result in counts])
    return tuple(
        TouchpointPath(path, won, share, control_share, result.ratio if result else None, verdict)
        for (path, won, share, control_share, result), verdict in zip(counts, verdicts, strict=True)
    )


def _path_names(touchpoints: pl.Series) -> NDArray[np.object_]:
    return np.array([_path_name(path) for path in touchpoints.to_list()], dtype=object)


def _path_name(path: list[str]) -> str:
    return " > ".join(path) or "none"
