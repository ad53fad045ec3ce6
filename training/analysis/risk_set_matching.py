"""Leads as lives in their own time, so that one can be compared with others of the same age and month.

A lead is at risk from its creation until it becomes an SQL, is closed, or cannot be watched for a whole
horizon any more. Comparing somebody who did a thing at an age with those who were at risk at that very age,
and had not done it then, is risk-set matching (Li, Propert and Rosenbaum 2001, after Prentice and Breslow
1978). Nothing is looked at that was known later, and nobody counts as having lived until the thing was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from training.stats.significance import WeightedGroup

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from training.analysis.stage_entries import Flags, StageEntries, Times

    Places = NDArray[np.intp]

BANDS = 5
UNSCORED = 0
DRAWN, KEPT = 100, 5
_SPAN = 1 << 36


@dataclass(frozen=True, eq=False)
class ScoreStrata:
    """The score band of each lead at any moment: that of the last score before it, or ``UNSCORED``.

    ``key`` is lead * span + moment, sorted, and ``band`` (same length) what holds from then on. Bands are
    fifths of all scores, 1 the lowest.
    """

    key: Times
    band: Times

    def at(self, lead: Places, moment: Times) -> Times:
        """The bands of leads, each at its own moment; a score made in that very second counts."""
        if not len(self.key):
            return np.full(lead.shape, UNSCORED)
        place = np.searchsorted(self.key, lead * _SPAN + moment, side="right") - 1
        own = (place >= 0) & (self.key[place] // _SPAN == lead)
        return np.where(own, self.band[place], UNSCORED)


def score_strata(lead: Places, as_of: Times, probability: NDArray[np.float64]) -> ScoreStrata:
    """The bands of scores that were made of ``lead`` at ``as_of`` by models that had not learned from it."""
    key = lead * _SPAN + as_of
    order = np.argsort(key)
    edges = np.quantile(probability, np.arange(1, BANDS) / BANDS) if len(key) else probability
    return ScoreStrata(key[order], 1 + np.searchsorted(edges, probability[order], side="right"))


@dataclass(frozen=True, eq=False)
class RiskSets:
    """n leads: when each was ``created``, and its ``month`` of creation, counted from 0.

    ``won_at`` and ``open_until`` are when it became an SQL (``NEVER``) and when it stopped being at risk;
    ``horizon`` is how long an outcome is waited for, ``settled_until`` the last moment for which it is known.
    """

    created: Times
    month: Times
    won_at: Times
    open_until: Times
    horizon: int
    settled_until: int

    def at_risk(self, lead: Places, moment: Times) -> Flags:
        """Whether leads could still become an SQL at a moment, with a horizon to be watched for."""
        open_then = (moment >= self.created[lead]) & (moment < self.open_until[lead])
        return open_then & (moment <= self.settled_until)

    def won(self, lead: Places, moment: Times) -> NDArray[np.float64]:
        """1.0 where a lead at risk became an SQL in [moment, moment + horizon), else 0.0."""
        return (self.won_at[lead] < moment + self.horizon).astype(np.float64)

    def others(self, lead: Places, random: Generator) -> Places:
        """(n, DRAWN) leads of the same month of creation as each of ``lead``, drawn by chance."""
        order = np.argsort(self.month, kind="stable")
        sizes = np.bincount(self.month)
        month = self.month[lead]
        position = random.random((len(lead), DRAWN)) * sizes[month][:, None]
        return np.asarray(order[(np.cumsum(sizes) - sizes)[month][:, None] + position.astype(np.intp)])


def risk_sets(entries: StageEntries) -> RiskSets:
    """The lives of all leads of ``entries``, in its order."""
    months = entries.created.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return RiskSets(
        created=entries.created,
        month=months - months.min(initial=0),
        won_at=entries.entered[:, entries.target],
        open_until=entries.resolved_at,
        horizon=entries.spec.horizon,
        settled_until=entries.until - entries.spec.horizon - entries.spec.settle,
    )


@dataclass(frozen=True, eq=False)
class MatchedControls:
    """Leads at the moment they did something, and up to ``KEPT`` similar ones at the same age beside each.

    ``lead`` and ``moment`` (n,) are those who did it and found company; ``other``, ``then`` and ``kept``
    (n, KEPT) who stood beside them, when, and whether the place is taken.
    """

    lead: Places
    moment: Times
    control: Places
    control_moment: Times
    is_matched: Flags

    def groups(
        self, case_outcome: NDArray[np.float64], control_outcome: NDArray[np.float64]
    ) -> tuple[WeightedGroup, WeightedGroup]:
        """Both sides with their outcomes; those beside one lead together weigh as much as it does."""
        share = np.broadcast_to(1 / self.is_matched.sum(axis=1, keepdims=True), self.is_matched.shape)
        cases = WeightedGroup(self.lead, case_outcome, np.ones(len(self.lead)))
        return cases, WeightedGroup(
            self.control[self.is_matched], control_outcome[self.is_matched], share[self.is_matched]
        )


def match_controls(
    among: RiskSets,
    lead: Places,
    moment: Times,
    event_at: Times,
    scored: ScoreStrata | None,
) -> MatchedControls:
    """Beside each of ``lead``, who did something at ``moment``, similar ones who had not done it by that age.

    Similar is: at risk at the same age, created in the same month and, with ``scored``, of the same score
    band then. ``event_at`` (all leads,) is when each did it, ``NEVER`` if not.
    """
    random = np.random.default_rng(0)
    control = among.others(lead, random)
    control_moment = among.created[control] + (moment - among.created[lead])[:, None]
    is_matched = among.at_risk(control, control_moment) & (event_at[control] > control_moment)
    if scored is not None:
        is_matched &= scored.at(control, control_moment) == scored.at(lead, moment)[:, None]
    is_matched &= np.cumsum(is_matched, axis=1) <= KEPT
    first = np.argsort(~is_matched, axis=1, kind="stable")[:, :KEPT]
    control, control_moment, is_matched = (
        np.take_along_axis(array, first, axis=1) for array in (control, control_moment, is_matched)
    )
    has_controls = is_matched.any(axis=1)
    return MatchedControls(
        lead[has_controls],
        moment[has_controls],
        control[has_controls],
        control_moment[has_controls],
        is_matched[has_controls],
    )


def index_of(lead_id: pl.Series, index: pl.Series) -> Places:
    """The positions in ``index``, which has no value twice, of the values of ``lead_id``."""
    known = pl.DataFrame({"lead_id": index, "place": np.arange(len(index))})
    queries = lead_id.to_frame("lead_id")
    return queries.join(known, on="lead_id", how="left", maintain_order="left")["place"].to_numpy()
