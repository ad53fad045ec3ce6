"""Which offers go before an SQL: who took one, beside similar leads of the same age that had not taken it.

Takers compared with everybody would look good because they are the active ones. They are compared with leads
created in the same month that were at risk at the same age, had the same score band just before, and had not
taken the offer; who of them became an SQL within the horizon is counted from that age on for both. What is
left is an association: a taker may still have been the keener one.

The last steps before an SQL, beside those of leads that were still open at the same age.
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
    rate_ratio,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import StageEntries, Times
    from training.stats.significance import RatioTest


LAST = 3

MOST_WON, MOST_PATHS = 4000, 12


@dataclass(frozen=True, slots=True)
class TouchpointPath:
    """The last different steps of a lead, in their order; none at all is a path too.

    ``won`` leads had taken it when they became an SQL, which is ``share`` of those looked at; ``others`` is
    the share among leads that were open at the same age.
    """

    steps: tuple[str, ...]
    won: int
    share: float
    others: float
    ratio: Interval | None
    verdict: Verdict


def frequent_paths(
    among: RiskSets, touches: pl.DataFrame
) -> tuple[tuple[str, ...], tuple[TouchpointPath, ...]]:
    """The kinds of touchpoint that count as steps, and the most frequent paths to an SQL.

    ``touches`` are touchpoints with the place of their ``lead``. Beside each SQL stand leads created in the
    same month that were open at the same age: incidence density sampling (Prentice and Breslow 1978).
    """
    won = np.flatnonzero(among.won_at < NEVER)
    if len(won) > MOST_WON:
        won = np.sort(np.random.default_rng(0).choice(won, MOST_WON, replace=False))
    kinds = steps(touches)
    walked = touches.filter(pl.col("kind").is_in(kinds)).select("lead", "occurred_at", "known_at", "kind")
    met = match_controls(among, won, among.won_at[won], among.won_at, None)
    return kinds, _paths(met, walked, len(among.created))


def steps(touches: pl.DataFrame) -> tuple[str, ...]:
    """What counts as a step: requests and whatever an offer was taken by; every kind where that is nothing.

    Visits and opened mails are so many that every path would be made of them.
    """
    told = touches.filter(pl.col("offer").is_not_null() | pl.col("kind").is_in(REQUESTS))
    return tuple((touches if told.is_empty() else told)["kind"].unique().sort())


def last_touchpoints(walked: pl.DataFrame, lead: Times, moment: Times) -> pl.Series:
    """(n,) the last different steps that each of ``lead`` was known to have taken before its moment.

    A step repeated at once counts once. Steps of one second come by name.
    """
    asked = pl.DataFrame({"lead": lead, "as_of": moment}).with_row_index("row")
    seen = asked.join(walked, on="lead").filter(
        is_visible(pl.col("occurred_at"), pl.col("known_at"), pl.col("as_of"))
    )
    moved = seen.sort("row", "occurred_at", "kind").filter(
        (pl.col("kind") != pl.col("kind").shift()).over("row").fill_null(value=True)
    )
    last = moved.group_by("row", maintain_order=True).agg(pl.col("kind").tail(LAST))
    return asked.join(last, on="row", how="left", maintain_order="left")["kind"].fill_null([])


def _paths(met: MatchedControls, walked: pl.DataFrame, leads: int) -> tuple[TouchpointPath, ...]:
    mine = last_touchpoints(walked, met.lead, met.moment)
    others = np.full(met.other.shape, "", dtype=object)
    others[met.kept] = _named(last_touchpoints(walked, met.other[met.kept], met.then[met.kept]))
    names = _named(mine)
    counted = mine.value_counts(name="won", sort=True).sort("won", descending=True)
    made = []
    for path, won in counted.head(MOST_PATHS).iter_rows():
        name = _joined(path)
        one, other = met.groups((names == name).astype(float), (others == name).astype(float))
        enough = min(won, other.weight @ other.y) >= FEWEST_SQLS
        found = rate_ratio(one, other, leads) if enough else None
        made.append((tuple(path), won, one.rate, other.rate, found))
    said = benjamini_hochberg([held for *_, held in made])
    return tuple(
        TouchpointPath(path, won, share, beside, held.ratio if held else None, verdict)
        for (path, won, share, beside, held), verdict in zip(made, said, strict=True)
    )


def _named(walked: pl.Series) -> NDArray[np.object_]:
    return np.array([_joined(path) for path in walked.to_list()], dtype=object)


def _joined(path: list[str]) -> str:
    return " > ".join(path) or "none"


MOST_OFFERS, MOST_TAKERS = 20, 4000

_STAGES = ("awareness", "consideration", "decision")


@dataclass(frozen=True, slots=True)
class OfferEffect:
    """An offer, of the ``kind`` of touchpoint and the stage that it mostly was, or a whole offer stage.

    ``takers`` leads took it while they were open. ``compared`` of them had similar ones beside them: ``rate``
    is the share of the takers, ``similar`` that of the others, which became an SQL within the horizon.
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


@dataclass(frozen=True, slots=True)
class Offers:
    """Offers and offer stages, each against similar leads; the paths that led to an SQL.

    Only takers from ``since`` on count, when scores begin that had not learned from the leads they judge.
    """

    days: float
    since: int
    beside: int
    offers: tuple[OfferEffect, ...]
    stages: tuple[OfferEffect, ...]
    steps: tuple[str, ...]
    paths: tuple[TouchpointPath, ...]


@dataclass(frozen=True, eq=False)
class _Company:
    """The leads that takers are compared with, and the score bands that they had."""

    among: RiskSets
    scored: ScoreStrata
    since: int


def offer_effects(given: ReportInput) -> Offers | NotApplicable:
    """What goes before an SQL in the history of the report."""
    known = given.stage_entries
    if isinstance(known, NotApplicable):
        return known
    touches = _numbered(known, known.history.touchpoints)
    taken = touches.filter(pl.col("offer").is_not_null())
    if taken.is_empty():
        return NotApplicable("no_offers")
    company = _company(given, known)
    steps, found = frequent_paths(company.among, touches)
    return Offers(
        days=known.spec.horizon / DAY,
        since=company.since,
        beside=KEPT,
        offers=_compared(company, taken, "offer"),
        stages=_compared(company, taken.filter(pl.col("offer_stage").is_not_null()), "offer_stage"),
        steps=steps,
        paths=found,
    )


def _company(given: ReportInput, known: StageEntries) -> _Company:
    scores = given.scores.filter(pl.col("lead_id").is_in(known.lead_id.implode()))
    scored = score_strata(
        index_of(scores["lead_id"], known.lead_id),
        scores["as_of"].to_numpy(),
        scores["probability"].to_numpy(),
    )
    return _Company(risk_sets(known), scored, int(given.scores["as_of"].to_numpy().min()))


def _numbered(known: StageEntries, touchpoints: pl.DataFrame) -> pl.DataFrame:
    """Touchpoints with the place of their lead, none before its creation; those of nobody are left out."""
    leads = pl.DataFrame(
        {"lead_id": known.lead_id, "lead": np.arange(len(known.created)), "created_at": known.created}
    )
    return touchpoints.join(leads, on="lead_id").with_columns(
        moment=pl.max_horizontal("occurred_at", "created_at")
    )


def _compared(company: _Company, taken: pl.DataFrame, column: str) -> tuple[OfferEffect, ...]:
    names = taken[column].value_counts(name="rows").sort("rows", column, descending=[True, False])
    made = [
        _offer(company, taken.filter(pl.col(column) == name), column) for name in names[column][:MOST_OFFERS]
    ]
    said = benjamini_hochberg([held for _, held in made])
    told = [replace(offer, verdict=verdict) for (offer, _), verdict in zip(made, said, strict=True)]
    return _in_order(told, column)


def _in_order(made: Sequence[OfferEffect], column: str) -> tuple[OfferEffect, ...]:
    def stage(offer: OfferEffect) -> int:
        return _STAGES.index(offer.name) if offer.name in _STAGES else len(_STAGES)

    if column == "offer_stage":
        return tuple(sorted(made, key=lambda one: (stage(one), one.name)))
    return tuple(sorted(made, key=lambda one: (ORDER.index(one.verdict), -one.takers, one.name)))


def _offer(company: _Company, taken: pl.DataFrame, column: str) -> tuple[OfferEffect, RatioTest | None]:
    """One offer by its touchpoints, yet without a verdict, and how its takers stand against similar leads."""
    lead, moment = _first_takes(company.among, taken)
    did_at = np.full(len(company.among.created), NEVER)
    did_at[lead] = moment
    asked = np.flatnonzero((moment >= company.since) & company.among.at_risk(lead, moment))
    if len(asked) > MOST_TAKERS:
        asked = np.sort(np.random.default_rng(0).choice(asked, MOST_TAKERS, replace=False))
    met = match_controls(company.among, lead[asked], moment[asked], did_at, company.scored)
    mine, theirs = company.among.won(met.lead, met.moment), company.among.won(met.other, met.then)
    one, other = met.groups(mine, theirs)
    enough = len(mine) >= FEWEST_LEADS and mine.sum() >= FEWEST_SQLS and other.weight @ other.y >= FEWEST_SQLS
    found = rate_ratio(one, other, len(did_at)) if enough else None
    offer = OfferEffect(
        name=str(taken[column][0]),
        kind=_mostly(taken["kind"]) if column == "offer" else None,
        stage=_mostly(taken["offer_stage"]) if column == "offer" else None,
        takers=len(lead),
        compared=len(mine),
        rate=wilson_interval(float(mine.sum()), len(mine)) if len(mine) else None,
        similar=other.rate if len(mine) else None,
        ratio=found.ratio if found else None,
        verdict="few",
    )
    return offer, found


def _first_takes(among: RiskSets, taken: pl.DataFrame) -> tuple[Times, Times]:
    """The leads that took an offer while they were open, and when each did so first."""
    first = taken.group_by("lead").agg(pl.col("moment").min()).sort("lead")
    lead, moment = first["lead"].to_numpy(), first["moment"].to_numpy()
    open_then = moment < among.open_until[lead]
    return lead[open_then], moment[open_then]


def _mostly(words: pl.Series) -> str | None:
    """The most frequent word, if any."""
    known = words.drop_nulls().value_counts(name="rows").sort("rows", words.name, descending=[True, False])
    return None if known.is_empty() else str(known[words.name][0])
