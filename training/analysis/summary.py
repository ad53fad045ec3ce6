"""The first section of a report: counts of leads, the value at capacity, warnings, earlier models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.analysis.lift import Lift, lift_at_share
from training.analysis.stage_entries import labels_from_creation
from training.stats.intervals import wilson_interval
from training.stats.survival import aalen_johansen

if TYPE_CHECKING:
    from features.history import LeadHistory
    from features.labels import LabelSpec
    from models.model_card import ModelCard
    from training.analysis.calibration import Reliability
    from training.analysis.data_health import Health
    from training.analysis.inputs import ReportInput
    from training.analysis.lift import ModelValue

# Beyond these values the report warns.
_MIN_POSITIVES = 100
_MIN_ROC_AUC = 0.55
_MAX_CALIBRATION_ERROR = 0.05
_MAX_UNREADABLE = 0.005
GRAVE = "high"


@dataclass(frozen=True, slots=True)
class ReportWarning:
    """A warning about the figures: its code, and the figure behind it."""

    code: str
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class LeadCounts:
    """Counts of all leads, as of their creation.

    Attributes:
        all: Number of leads.
        matured: Those whose outcome is known.
        rate: Conversion rate of these, with its 95 % interval.
        half: Median seconds to conversion among the leads that convert within the horizon; None if unknown.
    """

    all: int
    matured: int
    rate: Interval
    half: int | None = None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The headline figures of one model, for comparison with later ones."""

    version: str
    created_at: str
    rows: int
    base_rate: float
    called: Interval
    roc_auc: Interval
    log_loss: Interval
    error: Interval


@dataclass(frozen=True, slots=True)
class Summary:
    """What a model was evaluated on, and its value at capacity.

    Attributes:
        leads: Counts of all leads.
        rows: Held-out snapshots.
        people: Leads of these snapshots.
        positives: Snapshots with a conversion.
        base_rate: positives / rows.
        at_capacity: Lift at the company's capacity.
        warnings: What a reader must know.
        before: Earlier models, the newest first.
    """

    leads: LeadCounts
    rows: int
    people: int
    positives: int
    base_rate: float
    at_capacity: Lift
    warnings: tuple[ReportWarning, ...]
    before: tuple[ModelSummary, ...]


def summary(
    inputs: ReportInput,
    worth: ModelValue,
    calibration: Reliability,
    state: Health,
    before: tuple[ModelSummary, ...],
) -> Summary:
    """Summarise a report.

    Args:
        inputs: The report's inputs.
        worth: Ranking quality.
        calibration: Calibration.
        state: Data quality.
        before: Earlier models, the newest first.
    """
    y, p = inputs.label, inputs.scores["probability"].to_numpy()
    return Summary(
        leads=_count_leads(inputs),
        rows=len(y),
        people=inputs.scores["lead_id"].n_unique(),
        positives=int(y.sum()),
        base_rate=float(y.mean()),
        at_capacity=lift_at_share(y, p, inputs.capacity, inputs.lead),
        warnings=_warnings(inputs.card, int(y.sum()), worth, calibration, state),
        before=before,
    )


def _count_leads(inputs: ReportInput) -> LeadCounts:
    label = inputs.company.label
    since = inputs.company.since
    counts = (
        None
        if inputs.history is None or label is None
        else _counts_from_history(inputs.history, label, since)
    )
    rows, positives = inputs.card.rows, inputs.card.positives
    return counts or LeadCounts(rows, rows, wilson_interval(positives, rows))


def _counts_from_history(history: LeadHistory, spec: LabelSpec, since: int | None) -> LeadCounts | None:
    """Counts over every lead from its creation; None while no outcome is known.

    Outcomes of leads created before ``since`` are incomplete, so these do not count in the rate.
    """
    labels = labels_from_creation(history, spec)
    known_labels = labels if since is None else labels.filter(pl.col("as_of") >= since)
    matured = known_labels.filter("matured")
    if matured.is_empty():
        return None
    rate = wilson_interval(float(matured["label"].sum()), matured.height)
    return LeadCounts(
        labels.height, matured.height, rate, _median_time(known_labels, history.observed_until, spec.horizon)
    )


def _median_time(labels: pl.DataFrame, until: int, horizon: int) -> int | None:
    """The median time to conversion of those that convert in time, by the Aalen-Johansen estimator.

    Open leads count for as long as they were observed, so that the newest do not shorten it.
    """
    duration = labels["settled_at"].fill_null(until) - labels["as_of"]
    won = (labels["label"] == 1).fill_null(value=False).to_numpy()
    lost = (labels["label"] == 0).fill_null(value=False).to_numpy()
    share = aalen_johansen(np.minimum(duration.to_numpy(), horizon), won, lost)
    if not len(share.values) or not share.values[-1]:
        return None
    return int(share.times[np.searchsorted(share.values, share.values[-1] / 2)])


def _warnings(
    card: ModelCard, positives: int, worth: ModelValue, calibration: Reliability, state: Health
) -> tuple[ReportWarning, ...]:
    severe = sum(note.severity == GRAVE for note in state.findings)
    error = calibration.error.value
    checks = {
        "time_unproven": (not card.time_ordered, 0.0),
        "little_signal": (worth.roc_auc.low < _MIN_ROC_AUC, worth.roc_auc.value),
        "few_positives": (positives < _MIN_POSITIVES, float(positives)),
        "far_off": (error > max(_MAX_CALIBRATION_ERROR, calibration.by_chance), error),
        "findings": (severe > 0, float(severe)),
        "quarantined": (state.unusable > _MAX_UNREADABLE, float(state.rows_quarantined)),
    }
    return tuple(ReportWarning(code, value) for code, (applies, value) in checks.items() if applies)
