"""Risk-set matching: a lead at an event is compared with leads at risk at the same age.

A lead is at risk from its creation until it converts, is closed, or has less than a horizon left to be
observed. Leads with an event at some age are matched with leads that were at risk at that very age without
the event (Li, Propert and Rosenbaum 2001, after Prentice and Breslow 1978). Nothing known later is used, and
no lead contributes the time it must have stayed open for the event (immortal time).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.spatial import cKDTree

from features.clock import DAY
from training.stats.significance import WeightedGroup

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from training.analysis.stage_entries import Flags, StageEntries, Times

    Places = NDArray[np.intp]

BANDS = 5
UNSCORED = 0
# Leads drawn for each case, and controls kept of them.
DRAWN, KEPT = 100, 5
# Other takes that are looked at for each take, how far apart in time they may lie, in days, and by how much
# their ages may differ, in the logarithm.
_NEAREST, _MAX_DAYS, _MAX_LOG_AGE = 15, 45, 0.4
# Larger than any epoch second, so that lead and moment fit into one sortable integer.
_SPAN = 1 << 36


@dataclass(frozen=True, eq=False)
class ScoreStrata:
    """The score and score band of each lead at any moment: that of its last score by then, or none.

    Attributes:
        key: (s,) lead * span + moment of each score, ascending.
        band: (s,) band from that moment on: fifths of all scores, 1 the lowest.
        probability: (s,) the score from that moment on.
    """

    key: Times
    band: Times
    probability: NDArray[np.float64]

    def at(self, lead: Places, moment: Times) -> Times:
        """The band of each lead at its own moment, or ``UNSCORED``; a score of that very second counts."""
        if not len(self.key):
            return np.full(lead.shape, UNSCORED)
        place, has_score = self._last_score(lead, moment)
        return np.where(has_score, self.band[place], UNSCORED)

    def probability_at(self, lead: Places, moment: Times) -> NDArray[np.float64]:
        """The score of each lead at its own moment, NaN before its first; one of that very second counts."""
        if not len(self.key):
            return np.full(lead.shape, np.nan)
        place, has_score = self._last_score(lead, moment)
        return np.where(has_score, self.probability[place], np.nan)

    def _last_score(self, lead: Places, moment: Times) -> tuple[Places, Flags]:
        place = np.searchsorted(self.key, lead * _SPAN + moment, side="right") - 1
        return place, (place >= 0) & (self.key[place] // _SPAN == lead)


def score_strata(lead: Places, as_of: Times, probability: NDArray[np.float64]) -> ScoreStrata:
    """Band out-of-sample scores into fifths.

    Args:
        lead: (s,) index of the scored lead.
        as_of: (s,) moment of the score.
        probability: (s,) the score.
    """
    key = lead * _SPAN + as_of
    order = np.argsort(key)
    edges = np.quantile(probability, np.arange(1, BANDS) / BANDS) if len(key) else probability
    band = 1 + np.searchsorted(edges, probability[order], side="right")
    return ScoreStrata(key[order], band, probability[order])


@dataclass(frozen=True, eq=False)
class RiskSets:
    """When n leads were at risk.

    Attributes:
        created: (n,) creation, in epoch seconds.
        month: (n,) month of creation, from 0.
        won_at: (n,) conversion, ``NEVER`` if none.
        open_until: (n,) when the lead stopped being at risk.
        horizon: Seconds within which a conversion counts.
        settled_until: The last moment from which a whole horizon was observed.
    """

    created: Times
    month: Times
    won_at: Times
    open_until: Times
    horizon: int
    settled_until: int

    def at_risk(self, lead: Places, moment: Times) -> Flags:
        """Whether leads could still convert at a moment, with a whole horizon observed after it."""
        open_then = (moment >= self.created[lead]) & (moment < self.open_until[lead])
        return open_then & (moment <= self.settled_until)

    def won(self, lead: Places, moment: Times) -> NDArray[np.float64]:
        """1.0 where a lead at risk converted in [moment, moment + horizon), else 0.0."""
        return (self.won_at[lead] < moment + self.horizon).astype(np.float64)

    def others(self, lead: Places, random: Generator) -> Places:
        """Draw (n, DRAWN) leads of the same month of creation as each of ``lead``."""
        order = np.argsort(self.month, kind="stable")
        sizes = np.bincount(self.month)
        month = self.month[lead]
        position = random.random((len(lead), DRAWN)) * sizes[month][:, None]
        return np.asarray(order[(np.cumsum(sizes) - sizes)[month][:, None] + position.astype(np.intp)])


def risk_sets(entries: StageEntries) -> RiskSets:
    """The risk sets of all leads of ``entries``, in their order."""
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
    """Cases with up to ``KEPT`` matched controls each.

    Attributes:
        lead: (n,) index of the case; cases without controls are left out.
        moment: (n,) its event.
        control: (n, KEPT) indices of controls.
        control_moment: (n, KEPT) when each control had the age of the case at its event.
        is_matched: (n, KEPT) whether the place holds a control.
    """

    lead: Places
    moment: Times
    control: Places
    control_moment: Times
    is_matched: Flags

    def groups(
        self, case_outcome: NDArray[np.float64], control_outcome: NDArray[np.float64]
    ) -> tuple[WeightedGroup, WeightedGroup]:
        """Build both groups for a test; the controls of a case together weigh as much as it does.

        Args:
            case_outcome: (n,) outcomes of the cases.
            control_outcome: (n, KEPT) outcomes of the controls.
        """
        share = np.broadcast_to(1 / self.is_matched.sum(axis=1, keepdims=True), self.is_matched.shape)
        cases = WeightedGroup(self.lead, case_outcome, np.ones(len(self.lead)))
        return cases, WeightedGroup(
            self.control[self.is_matched], control_outcome[self.is_matched], share[self.is_matched]
        )


def match_controls(
    sets: RiskSets,
    lead: Places,
    moment: Times,
    event_at: Times,
    strata: ScoreStrata | None,
) -> MatchedControls:
    """Match each case with leads at risk at the same age that had not had the event by then.

    Controls were created in the same month and, with ``strata``, were in the same score band then.

    Args:
        sets: The risk sets of all leads.
        lead: (n,) index of the case.
        moment: (n,) its event.
        event_at: (all leads,) when each had the event, ``NEVER`` if not.
        strata: Score bands; None matches without them.
    """
    random = np.random.default_rng(0)
    control = sets.others(lead, random)
    control_moment = sets.created[control] + (moment - sets.created[lead])[:, None]
    is_matched = sets.at_risk(control, control_moment) & (event_at[control] > control_moment)
    if strata is not None:
        is_matched &= strata.at(control, control_moment) == strata.at(lead, moment)[:, None]
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


def match_other_takes(
    sets: RiskSets, case: tuple[Places, Times], other: tuple[Places, Times], strata: ScoreStrata
) -> MatchedControls:
    """Match each take of an offer with the nearest takes of other offers.

    Whatever a lead does foretells something: only one that did something else just then says what this offer
    adds. A control took another offer within ``_MAX_DAYS`` days of the case, at a similar age, in the same
    score band. Of these the ``KEPT`` nearest in age and time are kept.

    Args:
        sets: The risk sets of all leads.
        case: Leads and moments of the (n,) takes of the offer.
        other: Leads and moments of the (m,) takes of other offers.
        strata: Score bands.
    """
    lead, control = case[0], other[0]
    if not len(lead) or not len(control):
        empty = np.zeros((0, KEPT), dtype=np.int64)
        return MatchedControls(lead[:0], case[1][:0], empty, empty, empty.astype(bool))
    tree = cKDTree(_take_coordinates(sets, strata, *other))
    distance, place = tree.query(
        _take_coordinates(sets, strata, *case), k=_NEAREST, p=np.inf, distance_upper_bound=1.0
    )
    place = np.minimum(place, len(control) - 1)
    is_matched = np.isfinite(distance) & (control[place] != lead[:, None])
    is_matched &= np.cumsum(is_matched, axis=1) <= KEPT
    first = np.argsort(~is_matched, axis=1, kind="stable")[:, :KEPT]
    place, is_matched = (np.take_along_axis(array, first, axis=1) for array in (place, is_matched))
    rows = is_matched.any(axis=1)
    return MatchedControls(
        lead[rows], case[1][rows], control[place[rows]], other[1][place[rows]], is_matched[rows]
    )


def _take_coordinates(
    sets: RiskSets, strata: ScoreStrata, lead: Places, moment: Times
) -> NDArray[np.float64]:
    """(n, 3) where takes lie: at most 1 apart in each coordinate where they may be compared."""
    age = np.log1p((moment - sets.created[lead]) / DAY) / _MAX_LOG_AGE
    return np.column_stack([2.0 * strata.at(lead, moment), age, moment / (_MAX_DAYS * DAY)])


def index_of(lead_id: pl.Series, index: pl.Series) -> Places:
    """The positions of the values of ``lead_id`` in ``index``, whose values are distinct."""
    positions = pl.DataFrame({"lead_id": index, "place": np.arange(len(index))})
    queries = lead_id.to_frame("lead_id")
    return queries.join(positions, on="lead_id", how="left", maintain_order="left")["place"].to_numpy()
