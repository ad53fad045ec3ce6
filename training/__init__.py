"""Everything offline: reading histories, fitting, evaluating, tracking, reporting.

The names below are imported on first use; ``import training`` alone loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from training.analysis.inputs import ReportInput, ReportSettings, report_input, report_settings
    from training.backtesting.backtest import BacktestError, BacktestSettings, backtest_candidates
    from training.backtesting.candidates import BacktestCandidate, TrainingWindow, default_learner
    from training.backtesting.reporting import format_backtest
    from training.backtesting.results import BacktestResult, choose_candidate
    from training.backtesting.run import BacktestOptions, run_backtest
    from training.batch_scoring import (
        ScoredLeads,
        ScoringError,
        ScoringOptions,
        ScoringResult,
        closing_rule,
        score_flat,
        score_history,
        score_open_leads,
    )
    from training.config.draft import draft_config
    from training.config.settings import (
        AttributesConfig,
        Capacity,
        CohortConfig,
        Config,
        FlatConfig,
        FunnelConfig,
        LabelConfig,
        QuarantineConfig,
        ReportConfig,
        TrackingConfig,
        TrainingConfig,
        load_config,
    )
    from training.config.toml_reader import ConfigError
    from training.crm.push import PushPlan, PushResult, push_scores
    from training.data.dataset import Dataset, MissingFeaturesError, NoLabelledRowsError, compute_feature_rows
    from training.data.dataset import from_flat_export as dataset_from_flat_export
    from training.data.dataset import from_history as dataset_from_history
    from training.data.load import read_dataset
    from training.data.log_dataset import dataset_from_log
    from training.demo import DemoResult, run_demo
    from training.estimator import LeadClassifier
    from training.leakage.checks import Check, Finding, format_checks, run_checks, sorted_findings
    from training.monitoring.monitor import monitor_model
    from training.monitoring.recalibration import recalibrate
    from training.monitoring.results import AlertThresholds, MonitoringReport
    from training.pipeline.fit_model import train_model
    from training.pipeline.train import TrainingRun, rerender_report, run_training
    from training.plots import plot_beeswarm, plot_gains, plot_reliability, plot_waterfall
    from training.plugins import PluginError
    from training.points.distillation import learn_points
    from training.points.learned_table import LearnedScorecard
    from training.points.table_file import load_points_table
    from training.registry.promotion import (
        PromotionGate,
        PromotionRefusedError,
        PromotionResult,
        promote_model,
        rollback,
    )
    from training.registry.registry import RegistryError
    from training.registry.tracking import Tracking, TrackingError, tracking
    from training.report.plugin_sections import CustomSection, CustomTable
    from training.report.render import render as render_report
    from training.report.report import Report, build_report
    from training.shap_values import explain_rows
    from training.simulation.simulator import SimulatedCrm, simulate
    from training.simulation.world import World
    from training.trained_model import TrainedModel
else:
    # Not in the eyes of a type checker: it would take every name for an export.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "CustomTable": "training.report.plugin_sections",
            "CustomSection": "training.report.plugin_sections",
            "explain_rows": "training.shap_values",
            "plot_beeswarm": "training.plots",
            "plot_gains": "training.plots",
            "plot_reliability": "training.plots",
            "plot_waterfall": "training.plots",
            "PluginError": "training.plugins",
            "ReportInput": "training.analysis.inputs",
            "ReportSettings": "training.analysis.inputs",
            "report_input": "training.analysis.inputs",
            "report_settings": "training.analysis.inputs",
            "BacktestError": "training.backtesting.backtest",
            "BacktestSettings": "training.backtesting.backtest",
            "backtest_candidates": "training.backtesting.backtest",
            "BacktestCandidate": "training.backtesting.candidates",
            "TrainingWindow": "training.backtesting.candidates",
            "default_learner": "training.backtesting.candidates",
            "format_backtest": "training.backtesting.reporting",
            "BacktestResult": "training.backtesting.results",
            "choose_candidate": "training.backtesting.results",
            "BacktestOptions": "training.backtesting.run",
            "run_backtest": "training.backtesting.run",
            "ScoredLeads": "training.batch_scoring",
            "ScoringError": "training.batch_scoring",
            "closing_rule": "training.batch_scoring",
            "score_open_leads": "training.batch_scoring",
            "ScoringOptions": "training.batch_scoring",
            "ScoringResult": "training.batch_scoring",
            "score_flat": "training.batch_scoring",
            "score_history": "training.batch_scoring",
            "draft_config": "training.config.draft",
            "AttributesConfig": "training.config.settings",
            "Capacity": "training.config.settings",
            "CohortConfig": "training.config.settings",
            "Config": "training.config.settings",
            "FlatConfig": "training.config.settings",
            "FunnelConfig": "training.config.settings",
            "LabelConfig": "training.config.settings",
            "QuarantineConfig": "training.config.settings",
            "ReportConfig": "training.config.settings",
            "TrackingConfig": "training.config.settings",
            "TrainingConfig": "training.config.settings",
            "load_config": "training.config.settings",
            "ConfigError": "training.config.toml_reader",
            "PushPlan": "training.crm.push",
            "PushResult": "training.crm.push",
            "push_scores": "training.crm.push",
            "Dataset": "training.data.dataset",
            "MissingFeaturesError": "training.data.dataset",
            "NoLabelledRowsError": "training.data.dataset",
            "compute_feature_rows": "training.data.dataset",
            "dataset_from_flat_export": "training.data.dataset:from_flat_export",
            "dataset_from_history": "training.data.dataset:from_history",
            "read_dataset": "training.data.load",
            "dataset_from_log": "training.data.log_dataset",
            "DemoResult": "training.demo",
            "run_demo": "training.demo",
            "LeadClassifier": "training.estimator",
            "Check": "training.leakage.checks",
            "Finding": "training.leakage.checks",
            "format_checks": "training.leakage.checks",
            "run_checks": "training.leakage.checks",
            "sorted_findings": "training.leakage.checks",
            "monitor_model": "training.monitoring.monitor",
            "recalibrate": "training.monitoring.recalibration",
            "AlertThresholds": "training.monitoring.results",
            "MonitoringReport": "training.monitoring.results",
            "train_model": "training.pipeline.fit_model",
            "TrainingRun": "training.pipeline.train",
            "rerender_report": "training.pipeline.train",
            "run_training": "training.pipeline.train",
            "learn_points": "training.points.distillation",
            "LearnedScorecard": "training.points.learned_table",
            "load_points_table": "training.points.table_file",
            "PromotionGate": "training.registry.promotion",
            "PromotionRefusedError": "training.registry.promotion",
            "PromotionResult": "training.registry.promotion",
            "promote_model": "training.registry.promotion",
            "rollback": "training.registry.promotion",
            "RegistryError": "training.registry.registry",
            "Tracking": "training.registry.tracking",
            "TrackingError": "training.registry.tracking",
            "tracking": "training.registry.tracking",
            "render_report": "training.report.render:render",
            "Report": "training.report.report",
            "build_report": "training.report.report",
            "SimulatedCrm": "training.simulation.simulator",
            "simulate": "training.simulation.simulator",
            "World": "training.simulation.world",
            "TrainedModel": "training.trained_model",
        },
    )

__all__ = [
    "AlertThresholds",
    "AttributesConfig",
    "BacktestCandidate",
    "BacktestError",
    "BacktestOptions",
    "BacktestResult",
    "BacktestSettings",
    "Capacity",
    "Check",
    "CohortConfig",
    "Config",
    "ConfigError",
    "CustomSection",
    "CustomTable",
    "Dataset",
    "DemoResult",
    "Finding",
    "FlatConfig",
    "FunnelConfig",
    "LabelConfig",
    "LeadClassifier",
    "LearnedScorecard",
    "MissingFeaturesError",
    "MonitoringReport",
    "NoLabelledRowsError",
    "PluginError",
    "PromotionGate",
    "PromotionRefusedError",
    "PromotionResult",
    "PushPlan",
    "PushResult",
    "QuarantineConfig",
    "RegistryError",
    "Report",
    "ReportConfig",
    "ReportInput",
    "ReportSettings",
    "ScoredLeads",
    "ScoringError",
    "ScoringOptions",
    "ScoringResult",
    "SimulatedCrm",
    "Tracking",
    "TrackingConfig",
    "TrackingError",
    "TrainedModel",
    "TrainingConfig",
    "TrainingRun",
    "TrainingWindow",
    "World",
    "backtest_candidates",
    "build_report",
    "choose_candidate",
    "closing_rule",
    "compute_feature_rows",
    "dataset_from_flat_export",
    "dataset_from_history",
    "dataset_from_log",
    "default_learner",
    "draft_config",
    "explain_rows",
    "format_backtest",
    "format_checks",
    "learn_points",
    "load_config",
    "load_points_table",
    "monitor_model",
    "plot_beeswarm",
    "plot_gains",
    "plot_reliability",
    "plot_waterfall",
    "promote_model",
    "push_scores",
    "read_dataset",
    "recalibrate",
    "render_report",
    "report_input",
    "report_settings",
    "rerender_report",
    "rollback",
    "run_backtest",
    "run_checks",
    "run_demo",
    "run_training",
    "score_flat",
    "score_history",
    "score_open_leads",
    "simulate",
    "sorted_findings",
    "tracking",
    "train_model",
]
