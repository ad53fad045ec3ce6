"""Matrices and probabilities: code, not binaries. Knows no calendar and no tracking server.

The names below are imported on first use; ``import models`` alone loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from models import metrics
    from models.active_model import active_folders, set_active
    from models.additive import AdditiveModel, CategoryTerm, PiecewiseLinearTerm
    from models.artifact import ArtifactError
    from models.artifact import load as load_model
    from models.artifact import save as save_model
    from models.calibration import PlattCalibration, update_intercept
    from models.conversion import ConversionModel
    from models.drift import Drift, ReferenceDistribution, psi
    from models.encoding import FeatureEncoder, FeatureEncoding
    from models.explanation import (
        ContributionChange,
        EarlierScore,
        Explanation,
        FamilyContribution,
        Reason,
        Score,
        ScoreChange,
        explain_change,
        log_odds_to_points,
        log_odds_to_total_points,
        top_reasons,
    )
    from models.grades import Grades
    from models.grades import from_capacity as grades_from_capacity
    from models.handover_selection import (
        HandoverCandidate,
        HandoverRequest,
        SelectedLead,
        Selection,
        select_leads,
    )
    from models.metrics import Interval
    from models.model_card import ModelCard
    from models.observed_rates import ObservedRate, ObservedRates, RateTable
    from models.plugin_part import SavableLearner
    from models.points_table import (
        AttributeRule,
        PointsTable,
        PointsTableError,
        Thresholds,
        TouchpointRule,
        calibrate_points,
        points_of_one,
        score_points,
    )
    from models.predictor import Predictor
    from models.uncertainty import FeatureSupport, InsufficientEvidence, ScoreInterval, ScoreUncertainty
else:
    # Not in the eyes of a type checker: it would take every name for an export.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "SavableLearner": "models.plugin_part",
            "active_folders": "models.active_model",
            "set_active": "models.active_model",
            "AdditiveModel": "models.additive",
            "CategoryTerm": "models.additive",
            "PiecewiseLinearTerm": "models.additive",
            "ArtifactError": "models.artifact",
            "load_model": "models.artifact:load",
            "save_model": "models.artifact:save",
            "PlattCalibration": "models.calibration",
            "update_intercept": "models.calibration",
            "ConversionModel": "models.conversion",
            "Drift": "models.drift",
            "ReferenceDistribution": "models.drift",
            "psi": "models.drift",
            "FeatureEncoder": "models.encoding",
            "FeatureEncoding": "models.encoding",
            "ContributionChange": "models.explanation",
            "EarlierScore": "models.explanation",
            "Explanation": "models.explanation",
            "FamilyContribution": "models.explanation",
            "Reason": "models.explanation",
            "Score": "models.explanation",
            "ScoreChange": "models.explanation",
            "explain_change": "models.explanation",
            "log_odds_to_points": "models.explanation",
            "log_odds_to_total_points": "models.explanation",
            "top_reasons": "models.explanation",
            "Grades": "models.grades",
            "grades_from_capacity": "models.grades:from_capacity",
            "HandoverCandidate": "models.handover_selection",
            "HandoverRequest": "models.handover_selection",
            "SelectedLead": "models.handover_selection",
            "Selection": "models.handover_selection",
            "select_leads": "models.handover_selection",
            "metrics": "models.metrics",
            "Interval": "models.metrics",
            "ModelCard": "models.model_card",
            "ObservedRate": "models.observed_rates",
            "ObservedRates": "models.observed_rates",
            "RateTable": "models.observed_rates",
            "AttributeRule": "models.points_table",
            "PointsTable": "models.points_table",
            "PointsTableError": "models.points_table",
            "Thresholds": "models.points_table",
            "TouchpointRule": "models.points_table",
            "calibrate_points": "models.points_table",
            "points_of_one": "models.points_table",
            "score_points": "models.points_table",
            "Predictor": "models.predictor",
            "FeatureSupport": "models.uncertainty",
            "InsufficientEvidence": "models.uncertainty",
            "ScoreInterval": "models.uncertainty",
            "ScoreUncertainty": "models.uncertainty",
        },
    )

__all__ = [
    "AdditiveModel",
    "ArtifactError",
    "AttributeRule",
    "CategoryTerm",
    "ContributionChange",
    "ConversionModel",
    "Drift",
    "EarlierScore",
    "Explanation",
    "FamilyContribution",
    "FeatureEncoder",
    "FeatureEncoding",
    "FeatureSupport",
    "Grades",
    "HandoverCandidate",
    "HandoverRequest",
    "InsufficientEvidence",
    "Interval",
    "ModelCard",
    "ObservedRate",
    "ObservedRates",
    "PiecewiseLinearTerm",
    "PlattCalibration",
    "PointsTable",
    "PointsTableError",
    "Predictor",
    "RateTable",
    "Reason",
    "ReferenceDistribution",
    "SavableLearner",
    "Score",
    "ScoreChange",
    "ScoreInterval",
    "ScoreUncertainty",
    "SelectedLead",
    "Selection",
    "Thresholds",
    "TouchpointRule",
    "active_folders",
    "calibrate_points",
    "explain_change",
    "grades_from_capacity",
    "load_model",
    "log_odds_to_points",
    "log_odds_to_total_points",
    "metrics",
    "points_of_one",
    "psi",
    "save_model",
    "score_points",
    "select_leads",
    "set_active",
    "top_reasons",
    "update_intercept",
]
