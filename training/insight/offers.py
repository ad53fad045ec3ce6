"""Which offers go before an SQL: who took one, beside similar leads of the same age that had not taken it.

Takers compared with everybody would look good because they are the active ones. They are compared with leads
created in the same month that were at risk at the same age, had the same score band just before, and had not
taken the offer; who of them became an SQL within the horizon is counted from that age on for both. What is
left is an association: a taker may still have been the keener one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.insight.lives import KEPT, Bands, Lives, bands, lives, matched, places
from training.insight.paths import Path, paths
from training.insight.rates import NotApplicable, wilson
from training.insight.roads import NEVER
from training.insight.verdicts import FEWEST_LEADS, FEWEST_SQLS, ORDER, Verdict, rate_ratio, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.insight.given import ReportInput
    from training.insight.roads import Roads, Times
    from training.insight.verdicts import Held

MOST_OFFERS, MOST_TAKERS = 20, 4000
_STAGES = ("awareness", "consideration", "decision")


@dataclass(frozen=True, slots=True)
class Offer:
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
    offers: tuple[Offer, ...]
    stages: tuple[Offer, ...]
    steps: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class _Company:
    """The leads that takers are compared with, and the score bands that they had."""

    among: Lives
    scored: Bands
    since: int


def offers(given: ReportInput) -> Offers | NotApplicable:
    """What goes before an SQL in the history of the report."""
    known = given.roads
    if isinstance(known, NotApplicable):
        return known
    touches = _numbered(known, known.history.touchpoints)
    taken = touches.filter(pl.col("offer").is_not_null())
    if taken.is_empty():
        return NotApplicable("no_offers")
    company = _company(given, known)
    steps, found = paths(company.among, touches)
    return Offers(
        days=known.spec.horizon / DAY,
        since=company.since,
        beside=KEPT,
        offers=_compared(company, taken, "offer"),
        stages=_compared(company, taken.filter(pl.col("offer_stage").is_not_null()), "offer_stage"),
        steps=steps,
        paths=found,
    )


def _company(given: ReportInput, known: Roads) -> _Company:
    scores = given.scores.filter(pl.col("lead_id").is_in(known.lead_id.implode()))
    scored = bands(
        places(scores["lead_id"], known.lead_id),
        scores["as_of"].to_numpy(),
        scores["probability"].to_numpy(),
    )
    return _Company(lives(known), scored, int(given.scores["as_of"].to_numpy().min()))


def _numbered(known: Roads, touchpoints: pl.DataFrame) -> pl.DataFrame:
    """Touchpoints with the place of their lead, none before its creation; those of nobody are left out."""
    leads = pl.DataFrame(
        {"lead_id": known.lead_id, "lead": np.arange(len(known.created)), "created_at": known.created}
    )
    return touchpoints.join(leads, on="lead_id").with_columns(
        moment=pl.max_horizontal("occurred_at", "created_at")
    )


def _compared(company: _Company, taken: pl.DataFrame, column: str) -> tuple[Offer, ...]:
    names = taken[column].value_counts(name="rows").sort("rows", column, descending=[True, False])
    made = [
        _offer(company, taken.filter(pl.col(column) == name), column) for name in names[column][:MOST_OFFERS]
    ]
    said = verdicts([held for _, held in made])
    told = [replace(offer, verdict=verdict) for (offer, _), verdict in zip(made, said, strict=True)]
    return _in_order(told, column)


def _in_order(made: Sequence[Offer], column: str) -> tuple[Offer, ...]:
    def stage(offer: Offer) -> int:
        return _STAGES.index(offer.name) if offer.name in _STAGES else len(_STAGES)

    if column == "offer_stage":
        return tuple(sorted(made, key=lambda one: (stage(one), one.name)))
    return tuple(sorted(made, key=lambda one: (ORDER.index(one.verdict), -one.takers, one.name)))


def _offer(company: _Company, taken: pl.DataFrame, column: str) -> tuple[Offer, Held | None]:
    """One offer by its touchpoints, yet without a verdict, and how its takers stand against similar leads."""
    lead, moment = _first_takes(company.among, taken)
    did_at = np.full(len(company.among.created), NEVER)
    did_at[lead] = moment
    asked = np.flatnonzero((moment >= company.since) & company.among.at_risk(lead, moment))
    if len(asked) > MOST_TAKERS:
        asked = np.sort(np.random.default_rng(0).choice(asked, MOST_TAKERS, replace=False))
    met = matched(company.among, lead[asked], moment[asked], did_at, company.scored)
    mine, theirs = company.among.won(met.lead, met.moment), company.among.won(met.other, met.then)
    one, other = met.groups(mine, theirs)
    enough = len(mine) >= FEWEST_LEADS and mine.sum() >= FEWEST_SQLS and other.weight @ other.y >= FEWEST_SQLS
    found = rate_ratio(one, other, len(did_at)) if enough else None
    offer = Offer(
        name=str(taken[column][0]),
        kind=_mostly(taken["kind"]) if column == "offer" else None,
        stage=_mostly(taken["offer_stage"]) if column == "offer" else None,
        takers=len(lead),
        compared=len(mine),
        rate=wilson(float(mine.sum()), len(mine)) if len(mine) else None,
        similar=other.rate if len(mine) else None,
        ratio=found.ratio if found else None,
        verdict="few",
    )
    return offer, found


def _first_takes(among: Lives, taken: pl.DataFrame) -> tuple[Times, Times]:
    """The leads that took an offer while they were open, and when each did so first."""
    first = taken.group_by("lead").agg(pl.col("moment").min()).sort("lead")
    lead, moment = first["lead"].to_numpy(), first["moment"].to_numpy()
    open_then = moment < among.open_until[lead]
    return lead[open_then], moment[open_then]


def _mostly(words: pl.Series) -> str | None:
    """The most frequent word, if any."""
    known = words.drop_nulls().value_counts(name="rows").sort("rows", words.name, descending=[True, False])
    return None if known.is_empty() else str(known[words.name][0])
