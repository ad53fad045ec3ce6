"""What a model is worth, what its scores go along with, and the state of its data: figures, not words.

``report`` only sums up; ``render`` writes it out in a language. So every figure that a reader sees can be
checked here, and the same report is a page for marketing and JSON for a machine.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from models import metrics
from models.card import Card  # noqa: TC001  # a report is read back by its annotations
from models.grades import LETTERS
from models.metrics import Interval  # noqa: TC001
from training.insight.company import Company
from training.insight.insights import Insights, insights
from training.insight.rates import wilson
from training.page.drivers import Drivers, drivers
from training.page.health import Health, Intake, health
from training.page.plain import from_plain

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.spec import FeatureSet
    from models.conversion import ConversionModel

SHARES = (0.1, 0.2, 0.3)
_POINTS = 50
_FEW_POSITIVES = 100
_LITTLE_SIGNAL = 0.55
_FAR_OFF = 0.05
_GRAVE = "high"


@dataclass(frozen=True)
class ReportInput:
    """What a report is made from.

    ``scores`` are rows as ``ConversionModel.score_rows`` gives them, with ``lead_id`` and ``as_of``, of leads
    the model did not learn from; ``label`` (n,) is 1.0 where such a lead converted, else 0.0. ``history`` is
    all that the company's CRM knew; a flat export has none. ``trained`` and ``judged`` are the feature
    rows of training and of ``scores``; ``explained`` those of a sample, and ``contributions`` (m, features)
    its contributions in log-odds. ``capacity`` is the share of leads that sales can call, in (0, 1].
    ``model`` is the one in use, which may have learned from what is judged here; it answers for open leads.
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


@dataclass(frozen=True, slots=True)
class Warn:
    """Something a reader must know before believing the figures: a code, and the figure behind it."""

    code: str
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Lift:
    """Calling the best ``share`` of leads: how many that is, how many of them convert, and against chance.

    ``rate`` is hits / leads with its Wilson interval, ``captured`` the share of all conversions among them.
    """

    share: float
    leads: int
    hits: float
    rate: Interval
    lift: float
    captured: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The first screen: what the model was judged by, and what it saves at capacity."""

    rows: int
    positives: int
    base_rate: float
    at_capacity: Lift
    warnings: tuple[Warn, ...]


@dataclass(frozen=True, slots=True)
class Worth:
    """How well leads are put in order; ``gains`` are (share called, share of conversions) pairs.

    ``constant`` is the log-loss of always saying the base rate, and the base rate what AP is without skill.
    """

    roc_auc: Interval
    average_precision: Interval
    log_loss: Interval
    constant: float
    gains: tuple[tuple[float, float], ...]
    lifts: tuple[Lift, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Leads of like probability: what was forecast on average, and what came, with its Wilson interval."""

    name: str
    rows: int
    forecast: float
    observed: Interval


@dataclass(frozen=True, slots=True)
class Reliability:
    """Whether probabilities can be taken at their word."""

    brier: Interval
    error: Interval
    total: Group
    bins: tuple[Group, ...]
    grades: tuple[Group, ...]


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
    y, p = given.label, given.scores["probability"].to_numpy()
    figures = _figures(given.card, y, p)
    worth = _worth(figures, y, p, given.capacity)
    calibration = _reliability(figures, y, p, given.scores["grade"].to_numpy())
    state = health(
        given.intake,
        given.features,
        trained=given.trained,
        judged=given.judged,
        findings=given.card.findings,
    )
    warnings = _warnings(given.card, int(y.sum()), worth, calibration, state)
    return Report(
        version=given.version,
        fingerprint=given.features.fingerprint,
        card=given.card,
        summary=Summary(len(y), int(y.sum()), float(y.mean()), _lift(y, p, given.capacity), warnings),
        worth=worth,
        calibration=calibration,
        drivers=drivers(given.features, given.explained, given.contributions),
        health=state,
        insights=insights(given),
    )


def _figures(card: Card, y: NDArray[np.float64], p: NDArray[np.float64]) -> dict[str, Interval]:
    """The measures of the run: those on the card, so that page, tracking and JSON all say the same."""
    return {
        name: card.metrics.get(name) or metrics.with_interval(getattr(metrics, name), y, p)
        for name in ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")
    }


def _worth(
    figures: dict[str, Interval], y: NDArray[np.float64], p: NDArray[np.float64], capacity: float
) -> Worth:
    return Worth(
        roc_auc=figures["roc_auc"],
        average_precision=figures["average_precision"],
        log_loss=figures["log_loss"],
        constant=metrics.log_loss(y, np.full_like(p, y.mean())),
        gains=_gains(y, p),
        lifts=tuple(_lift(y, p, share) for share in sorted({*SHARES, capacity})),
    )


def _gains(y: NDArray[np.float64], p: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    shares = np.arange(1, _POINTS + 1) / _POINTS
    captured = np.interp(shares, *metrics.gains(y, p))
    return tuple(zip(shares.tolist(), captured.tolist(), strict=True))


def _lift(y: NDArray[np.float64], p: NDArray[np.float64], share: float) -> Lift:
    leads = math.ceil(round(share * len(y), 6))
    captured = metrics.capture(y, p, leads / len(y))
    hits = captured * float(y.sum())
    return Lift(share, leads, hits, wilson(hits, leads), hits / leads / float(y.mean()), captured)


def _reliability(
    figures: dict[str, Interval],
    y: NDArray[np.float64],
    p: NDArray[np.float64],
    grade: NDArray[np.str_],
) -> Reliability:
    return Reliability(
        brier=figures["brier"],
        error=figures["calibration_error"],
        total=_group("all", y, p),
        bins=tuple(_group(str(i), y[rows], p[rows]) for i, rows in enumerate(_bins(p), 1)),
        grades=tuple(_group(x, y[grade == x], p[grade == x]) for x in LETTERS if (grade == x).any()),
    )


def _bins(p: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """The positions of ten groups of equally many leads by probability, cut as the calibration error is."""
    order = np.argsort(p, kind="stable")
    bins = ((np.arange(len(p)) + 0.5) / len(p) * metrics.BINS).astype(np.intp)
    return np.split(order, np.flatnonzero(np.diff(bins)) + 1)


def _group(name: str, y: NDArray[np.float64], p: NDArray[np.float64]) -> Group:
    return Group(name, len(y), float(p.mean()), wilson(float(y.sum()), len(y)))


def _warnings(
    card: Card, positives: int, worth: Worth, calibration: Reliability, state: Health
) -> tuple[Warn, ...]:
    grave = sum(note.severity == _GRAVE for note in state.findings)
    found = {
        "time_unproven": (not card.time_ordered, 0.0),
        "little_signal": (worth.roc_auc.low < _LITTLE_SIGNAL, worth.roc_auc.value),
        "few_positives": (positives < _FEW_POSITIVES, float(positives)),
        "far_off": (calibration.error.value > _FAR_OFF, calibration.error.value),
        "findings": (grave > 0, float(grave)),
        "quarantined": (state.rows_quarantined > 0, float(state.rows_quarantined)),
    }
    return tuple(Warn(code, value) for code, (applies, value) in found.items() if applies)
