"""Monitors a model in use: drift of scores and features, calibration against outcomes, and ranking.

A threshold counts as crossed only where chance alone does that once in a thousand times, so that daily
monitoring raises few false alarms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import lead_codes
from features.ingest.near_misses import find_near_misses
from features.ingest.quarantine import SourceError
from features.messages import Message
from models import metrics
from models.drift import missing_share
from models.grades import LETTERS
from models.model_card import SCORE
from models.uncertainty import DORMANT
from training.monitoring.recalibration import estimate_intercept_update
from training.monitoring.results import (
    STATES,
    Alert,
    AlertThresholds,
    ColumnDrift,
    GroupCalibration,
    MonitoringReport,
)
from training.monitoring.windows import (
    AT,
    by_month,
    column_drift,
    compute_windows,
    group_calibration,
    join_outcomes,
    split_recent,
)
from training.stats.intervals import effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from models.conversion import ConversionModel
    from models.drift import ReferenceDistribution
    from models.metrics import Interval
    from training.monitoring.results import State
    from training.monitoring.scores_in_force import ScoresInForce

    Floats = NDArray[np.float64]
    Profiles = Mapping[str, ReferenceDistribution]

# Once in a thousand, to both sides.
_BEYOND_CHANCE = 3.2905


def monitor_model(  # noqa: PLR0913, PLR0917 - what is judged, by what, and since when
    model: ConversionModel,
    scores: pl.DataFrame,
    outcomes: pl.DataFrame,
    limits: AlertThresholds | None = None,
    last: int | None = None,
    in_force: ScoresInForce | None = None,
) -> MonitoringReport:
    """Monitor a model by its scores and their outcomes.

    Args:
        model: The model.
        scores: As ``training.monitoring.inputs`` reads them.
        outcomes: ``lead_id``, ``label`` and perhaps ``as_of``; a score without outcome counts for drift
            alone.
        limits: The thresholds of alerts. Default: ``AlertThresholds()``.
        last: Only scores of so many days before the newest one count; the earlier ones are shown beside them.
            Default: all, by month.
        in_force: All scores, where a service scored leads of its own accord and logged changes: then drift
            compares those in force at the end with those in force when the model had taken over. Default:
            all scores are compared with the rows of the training.

    Returns:
        The report.

    Raises:
        SourceError: ``last`` is given, and the scores have no dates.
    """
    parts, scores = _split_windows(scores, last)
    limits, card = limits or AlertThresholds(), model.card
    compared, profiles = _compared(scores, card.profiles, in_force)
    features = (
        compared.select("features").unnest("features") if "features" in compared.columns else pl.DataFrame()
    )
    worth = effective_sample_size(compared["lead_id"])
    score_drift = _drifts(profiles, compared.select(SCORE), worth)
    # There is one distribution of this name, the score's.
    feature_drift = _drifts(profiles, features.drop(SCORE, strict=False), worth)
    known = join_outcomes(scores, outcomes)
    unmatched = _unmatched_outcomes(pl.concat([rows for _, rows in parts] or [scores]), outcomes)
    whole = known if last is None else join_outcomes(pl.concat([rows for _, rows in parts]), outcomes)
    total, grades, monthly = _groups(known)
    ranking = _ranking(known)
    without = _without_data(features, card.usual_missing)
    doubts = _insufficient_shares(scores)
    reasons = (
        *_drift_alerts([*score_drift, *feature_drift], limits),
        *_missing_data_alerts(without, limits),
        *_insufficient_alerts(doubts, limits),
        *_unmatched_alerts(unmatched, outcomes),
        *_base_rate_alerts(total, limits),
        *_group_alerts("grade", grades, limits),
        *_group_alerts("month", monthly, limits),
        *_ranking_alerts(ranking, card.metrics.get("roc_auc")),
    )
    return MonitoringReport(
        model_version=model.version,
        scored=scores.height,
        reasons=tuple(sorted(reasons, key=lambda r: -STATES.index(r.state))),
        score_drift=next(iter(score_drift), None),
        feature_drift=tuple(sorted(feature_drift, key=lambda drift: -drift.psi)),
        without_data=without,
        insufficient=doubts,
        total=total,
        grades=grades,
        months=monthly,
        windows=tuple(compute_windows(profiles.get(SCORE), parts, whole, in_force)),
        repair=estimate_intercept_update(known, limits.fewest),
        roc_auc=ranking,
        unknown=_unknown(profiles, scores, known, limits, in_force) | _unmatched_unknown(unmatched, outcomes),
        unmatched=unmatched.outcomes,
    )


@dataclass(frozen=True, slots=True)
class _Unmatched:
    """Outcomes that fit no scored lead: how many, how many of them nearly do, and an example of each."""

    outcomes: int
    example: str = ""
    near: int = 0
    near_id: str = ""
    near_known: str = ""
    spelling: str = ""


def _unmatched_outcomes(scores: pl.DataFrame, outcomes: pl.DataFrame) -> _Unmatched:
    ids = outcomes["lead_id"].filter(~outcomes["lead_id"].is_in(scores["lead_id"].implode()))
    if ids.is_empty():
        return _Unmatched(0)
    near = find_near_misses(ids, scores["lead_id"])
    if near.is_empty():
        return _Unmatched(len(ids), str(ids[0]))
    near_id, known, spelling = near.row(0)
    count = int(ids.is_in(near["id"].implode()).sum())
    return _Unmatched(len(ids), str(ids[0]), count, near_id, known, spelling)


def _unmatched_message(unmatched: _Unmatched, outcomes: pl.DataFrame) -> Message:
    message = Message(
        "reasons.unmatched", n=unmatched.outcomes, of=outcomes.height, example=repr(unmatched.example)
    )
    if not unmatched.near:
        return message
    pair = {"id": repr(unmatched.near_id), "known": repr(unmatched.near_known)}
    differs = Message(f"spelling.{unmatched.spelling}")
    return Message("reasons.nearly_matched", reason=message, n=unmatched.near, spelling=differs, **pair)


def _unmatched_alerts(unmatched: _Unmatched, outcomes: pl.DataFrame) -> Iterator[Alert]:
    """An alert where no outcome fits a scored lead, or where ids were altered on the way."""
    none_fits = 0 < unmatched.outcomes == outcomes.height
    if none_fits or unmatched.near:
        yield Alert("watch", "unmatched", _unmatched_message(unmatched, outcomes))


def _unmatched_unknown(unmatched: _Unmatched, outcomes: pl.DataFrame) -> dict[str, Message]:
    """What is not known of the outcomes that fit no scored lead."""
    if not unmatched.outcomes:
        return {}
    name = "outcomes" if unmatched.outcomes == outcomes.height else "other outcomes"
    return {name: _unmatched_message(unmatched, outcomes)}


def _compared(
    scores: pl.DataFrame, profiles: Profiles, in_force: ScoresInForce | None
) -> tuple[pl.DataFrame, Profiles]:
    """The scores whose distribution is compared, and what with."""
    if in_force is None:
        return scores, profiles
    newest = _newest(scores)
    return in_force.at(newest), {} if in_force.why_not_comparable(newest) else in_force.profiles(profiles)


def _newest(scores: pl.DataFrame) -> int:
    return int(scores[AT].max() or 0)  # type: ignore[arg-type]  # epoch seconds


def _drifts(profiles: Profiles, columns: pl.DataFrame, worth: float) -> list[ColumnDrift]:
    """The drift of each column from its reference distribution, where it has one."""
    return [
        column_drift(column.name, profiles[column.name].drift(column, worth))
        for column in columns
        if column.name in profiles
    ]


def _split_windows(
    scores: pl.DataFrame, last: int | None
) -> tuple[list[tuple[str, pl.DataFrame]], pl.DataFrame]:
    """The windows to compare, and the scores that the report is about."""
    if last is None:
        return by_month(scores), scores
    if AT not in scores.columns or scores[AT].null_count() == scores.height:
        msg = "the scores have no date, which --last needs; name a date column of the outcomes (--time)"
        raise SourceError(msg)
    before, late = split_recent(scores, last)
    return [(Message("monitor.before"), before), (Message("monitor.last_days", days=last), late)], late


def _without_data(features: pl.DataFrame, usual: float | None) -> float | None:
    """The share of leads with more features missing than is usual; None where the file has no features."""
    if usual is None or not features.width:
        return None
    return float((missing_share(features) > usual).mean())


def _insufficient_shares(scores: pl.DataFrame) -> dict[str, float] | None:
    """The share of scores with each code of insufficient evidence, the most common first."""
    if "insufficient" not in scores.columns:
        return None
    codes = (
        scores["insufficient"]
        .drop_nulls()
        .value_counts()
        .sort("count", "insufficient", descending=[True, False])
    )
    return {str(code): int(count) / scores.height for code, count in codes.rows()}


def _groups(
    known: pl.DataFrame,
) -> tuple[GroupCalibration | None, tuple[GroupCalibration, ...], tuple[GroupCalibration, ...]]:
    if known.is_empty():
        return None, (), ()
    grades = (group_calibration(grade, known.filter(pl.col("grade") == grade)) for grade in LETTERS)
    monthly = (group_calibration(month, rows) for month, rows in by_month(known))
    return group_calibration("all", known), tuple(g for g in grades if g.rows), tuple(monthly)


def _ranking(known: pl.DataFrame) -> Interval | None:
    if known["label"].n_unique() < len(("won", "lost")):
        return None
    return metrics.bootstrap_interval(
        metrics.roc_auc,
        known["label"].to_numpy(),
        known["probability"].to_numpy().astype(np.float64),
        lead_codes(known["lead_id"]),
    )


def _state(value: float, limits: tuple[float, float]) -> State:
    return STATES[sum(value >= limit for limit in limits)]


def _drift_alerts(drifts: list[ColumnDrift], limits: AlertThresholds) -> Iterator[Alert]:
    for drift in drifts:
        state = _state(drift.psi, limits.psi) if drift.psi > drift.chance else "healthy"
        if drift.column == SCORE and state != "healthy":
            yield Alert(state, "score_drift", Message("reasons.score_drift", psi=drift.psi))
        elif state == "retrain":
            # A column alone says that leads changed, not that the model is wrong about them.
            changed = Message("reasons.feature_drift", column=drift.column, psi=drift.psi)
            yield Alert("watch", "feature_drift", changed)


def _missing_data_alerts(without: float | None, limits: AlertThresholds) -> Iterator[Alert]:
    if without is not None and (state := _state(without, limits.unseen)) != "healthy":
        yield Alert(state, "without_data", Message("reasons.without_data", share=without))


def _insufficient_alerts(doubts: dict[str, float] | None, limits: AlertThresholds) -> Iterator[Alert]:
    # A dormant lead is in a state of its own, and says nothing of the model.
    share = sum(share for code, share in (doubts or {}).items() if code != DORMANT)
    if share >= limits.doubted:
        yield Alert("watch", "insufficient", Message("reasons.insufficient", share=share))


def _base_rate_alerts(total: GroupCalibration | None, limits: AlertThresholds) -> Iterator[Alert]:
    if total is not None and (state := _calibration_state(total, limits)) != "healthy":
        rates = {"came": total.observed.value, "forecast": total.forecast}
        yield Alert(state, "base_rate", Message("reasons.base_rate", **rates))


def _group_alerts(
    kind: str, groups: tuple[GroupCalibration, ...], limits: AlertThresholds
) -> Iterator[Alert]:
    for group in groups:
        if _calibration_state(group, limits) != "healthy":
            rates = {"came": group.observed.value, "forecast": group.forecast}
            message = Message(f"reasons.{kind}", name=group.name, **rates)
            yield Alert("watch", f"calibration_by_{kind}", message)


def _calibration_state(group: GroupCalibration, limits: AlertThresholds) -> State:
    if abs(group.beyond) < _BEYOND_CHANCE or group.enough < limits.fewest:
        return "healthy"
    return _state(abs(group.ratio - 1), limits.ratio_distance)


def _ranking_alerts(current: Interval | None, reference: Interval | None) -> Iterator[Alert]:
    """An alert where the intervals of ROC AUC do not overlap; retrain where half the lift is gone."""
    if current is None or reference is None or not current.high < reference.low:
        return
    state: State = "retrain" if current.high - 0.5 < (reference.value - 0.5) / 2 else "watch"
    yield Alert(state, "ranking", Message("reasons.ranking", auc=current.value, before=reference.value))


def _unknown(
    profiles: Profiles,
    scores: pl.DataFrame,
    known: pl.DataFrame,
    limits: AlertThresholds,
    in_force: ScoresInForce | None,
) -> dict[str, Message]:
    conversions = group_calibration("all", known).enough
    why_not = None if in_force is None else in_force.why_not_comparable(_newest(scores))
    no_drift = why_not or Message("unknown.older_model")
    missing = {
        "score drift": (SCORE not in profiles, no_drift),
        "feature drift": ("features" not in scores.columns, Message("unknown.no_features")),
        "insufficient": ("insufficient" not in scores.columns, Message("unknown.no_doubts")),
        "outcomes": (known.is_empty(), Message("unknown.no_outcomes")),
        "calibration": (
            not known.is_empty() and conversions < limits.fewest,
            Message("unknown.few_conversions", least=limits.fewest),
        ),
        "months": ("month" not in scores.columns and not known.is_empty(), Message("unknown.no_dates")),
    }
    return {what: why for what, (applies, why) in missing.items() if applies}
