"""What a report is made from: a model, how it scored leads new to it, and the history behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from features.cohort import numbered
from training.insight.company import Company
from training.insight.rates import NotApplicable
from training.insight.roads import roads_since

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.spec import FeatureSet
    from models.card import Card
    from models.conversion import ConversionModel
    from training.insight.health import Intake
    from training.insight.roads import Roads
    from training.pointing.points import LearnedPoints


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    ``scores`` are rows as ``ConversionModel.score_rows`` gives them, with ``lead_id`` and ``as_of``, of leads
    the model did not learn from; ``label`` (n,) is 1.0 where such a lead converted, else 0.0. ``history`` is
    all that the company's CRM knew; a flat export has none.

    ``trained`` and ``judged`` are the feature rows of training and of ``scores``; ``explained`` those of a
    sample, and ``contributions`` (m, features) its contributions in log-odds. ``capacity`` is the share of
    leads that sales can call, in (0, 1]. ``model`` is the one in use, which may have learned from what is
    judged here; it answers for open leads. ``learned`` is the points table that stands in for it.
    ``refitted`` are contributions like ``contributions`` by models that each did without one group of leads,
    dealt from ``refitted_share`` of all leads.
    """

    features: FeatureSet
    card: Card
    version: str
    scores: pl.DataFrame
    label: NDArray[np.float64]
    trained: pl.DataFrame
    judged: pl.DataFrame
    explained: pl.DataFrame
    contributions: NDArray[np.float64]
    intake: Intake
    capacity: float = 0.1
    history: LeadHistory | None = None
    company: Company = field(default_factory=Company)
    model: ConversionModel | None = None
    learned: LearnedPoints | None = None
    refitted: tuple[NDArray[np.float64], ...] = ()
    refitted_share: float = 1.0

    def __post_init__(self) -> None:
        sizes = {
            "label": (len(self.label), len(self.scores)),
            "judged": (len(self.judged), len(self.scores)),
            "contributions": (self.contributions.shape, (len(self.explained), len(self.features))),
        }
        if wrong := [name for name, (found, wanted) in sizes.items() if found != wanted]:
            msg = f"{wrong[0]} has {sizes[wrong[0]][0]} rows where {sizes[wrong[0]][1]} belong"
            raise ValueError(msg)
        if not len(self.scores) or not len(self.explained):
            msg = "a report needs judged leads and explained leads; one of them is empty"
            raise ValueError(msg)
        if len(np.unique(self.label)) < 2:  # noqa: PLR2004  # converted and not
            msg = "the judged leads all have the same outcome, so nothing can be measured; use more leads"
            raise ValueError(msg)

    @cached_property
    def lead(self) -> NDArray[np.int64]:
        """(n,) a number for the lead of each judged row: looked at twice, it still had one outcome."""
        return numbered(self.scores["lead_id"])

    @cached_property
    def all_roads(self) -> Roads | NotApplicable:
        """Every lead's road through the funnel: read off the history once, for all blocks."""
        return self._roads()

    @cached_property
    def roads(self) -> Roads | NotApplicable:
        """The roads of the leads of which it is known what became of them: those since outcomes were kept."""
        since = self.company.since
        return self.all_roads if since is None else self._roads(since)

    def _roads(self, since: int | None = None) -> Roads | NotApplicable:
        if self.history is None or self.company.label is None:
            return NotApplicable("no_history")
        return roads_since(self.history, self.company.stages, self.company.label, since)
