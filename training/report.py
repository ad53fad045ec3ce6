"""What a model is worth, what its scores go along with, and the state of its data: figures, not words.

``report`` only sums up; ``render`` writes it out in a language. So every figure that a reader sees can be
checked here, and the same report is a page for marketing and JSON for a machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from models import metrics
from models.card import Card  # noqa: TC001  # a report is read back by its annotations
from training.insight.company import Company
from training.insight.drivers import Drivers, compared, drivers
from training.insight.health import Health, Intake, health
from training.insight.insights import Insights, insights
from training.insight.reliability import Reliability, reliability
from training.insight.roads import roads_of
from training.insight.summary import Summary, summary
from training.insight.today import handed_over
from training.insight.worth import Worth, worth
from training.page.plain import from_plain

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.spec import FeatureSet
    from models.conversion import ConversionModel
    from models.metrics import Interval
    from training.insight.rates import NotApplicable
    from training.insight.roads import Roads
    from training.pointing.points import LearnedPoints


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    ``scores`` are rows as ``ConversionModel.score_rows`` gives them, with ``lead_id`` and ``as_of``, of leads
    the model did not learn from; ``label`` (n,) is 1.0 where such a lead converted, else 0.0. ``history`` is
    all that the company's CRM knew; a flat export has none. ``before`` is the last report.

    ``trained`` and ``judged`` are the feature rows of training and of ``scores``; ``explained`` those of a
    sample, and ``contributions`` (m, features) its contributions in log-odds. ``capacity`` is the share of
    leads that sales can call, in (0, 1]. ``model`` is the one in use, which may have learned from what is
    judged here; it answers for open leads. ``learned`` is the points table that stands in for it.
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
    before: Report | None = None
    model: ConversionModel | None = None
    learned: LearnedPoints | None = None

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
    def all_roads(self) -> Roads | NotApplicable:
        """Every lead's road through the funnel: read off the history once, for all blocks."""
        return roads_of(self)

    @cached_property
    def roads(self) -> Roads | NotApplicable:
        """The roads of the leads of which it is known what became of them: those since outcomes were kept."""
        since = self.company.since
        return self.all_roads if since is None else roads_of(self, since)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows, and JSON all the same."""

    version: str
    fingerprint: str
    card: Card
    summary: Summary
    worth: Worth
    calibration: Reliability
    drivers: Drivers
    health: Health
    insights: Insights

    def to_json(self) -> str:
        """The report as JSON text; ``from_json`` gives back an equal report."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that ``to_json`` wrote."""
        return from_plain(cls, json.loads(text))


def report(given: ReportInput) -> Report:
    """Sum up a model: pure, so the same input gives the same report."""
    figures = _figures(given)
    found = drivers(given.features, given.explained, given.contributions)
    last = given.before
    if last is not None:
        found = compared(found, last.drivers, last.version)
    worthy = worth(given, figures, handed_over(given))
    calibration = reliability(given, figures, found)
    state = health(
        given.intake,
        given.features,
        trained=given.trained,
        judged=given.judged,
        findings=given.card.findings,
    )
    return Report(
        version=given.version,
        fingerprint=given.features.fingerprint,
        card=given.card,
        summary=summary(given, worthy, calibration, state),
        worth=worthy,
        calibration=calibration,
        drivers=found,
        health=state,
        insights=insights(given),
    )


def _figures(given: ReportInput) -> dict[str, Interval]:
    """The measures of the run: those on the card, so that page, tracking and JSON all say the same."""
    y, p = given.label, given.scores["probability"].to_numpy()
    return {
        name: given.card.metrics.get(name) or metrics.with_interval(getattr(metrics, name), y, p)
        for name in ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")
    }
