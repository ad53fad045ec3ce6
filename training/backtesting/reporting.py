"""A backtest as text for a terminal, and as MLflow runs: a parent with one nested run per origin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from training.registry.tracking import Metric, RunParams, RunRef, Tag, Text, log
from training.report.charts.backtest import loss_difference_chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from training.backtesting.evaluation import CandidateMetrics
    from training.backtesting.results import BacktestResult, OriginResult
    from training.registry.tracking import LogItem, Tracking

_LINE = "{:28} {:>8} {:>8} {:>8} {:>9}  {}"


def format_backtest(result: BacktestResult) -> Iterator[str]:
    """Format a backtest for a terminal.

    Args:
        result: The result of the backtest.

    Yields:
        Lines without a line break at the end: the origins, the splits, the notes, the regret of each
        candidate, and the candidate to use.
    """
    for origin in result.origins:
        yield (
            f"from {result.when(origin.start)}: {origin.trained:,} rows teach, {origin.tested:,} judge, "
            f"{origin.positives:,} of them {result.question} (intervals by {origin.block})"
        )
        yield from _format_table(origin.candidates)
        if origin.static:
            yield _LINE.format("  never refitted: default", *_format_figures(origin.static["default"]), "")
    for kind, split in result.splits.items():
        yield f"{kind} split: {split.reason or 'the default'}"
        if split.candidates:
            candidates = split.candidates if not result.origins else {"default": split.candidates["default"]}
            yield from _format_table(candidates)
    reasons = {split.reason for split in result.splits.values()}
    yield from (note for note in result.notes if note not in reasons)
    for name, regret in result.regrets.items():
        difference = result.differences[name]
        worse = f"log-loss {difference.value:+.4f}, {difference.low:+.4f} to {difference.high:+.4f}"
        adjusted = (
            f"; {result.levelled[name]:.2%} had the level been known" if name in result.levelled else ""
        )
        yield f"regret {regret:7.2%}  {name} ({worse}{adjusted})"
    yield f"chosen: {result.chosen}"


def log_backtest(result: BacktestResult, tracking: Tracking) -> RunRef:
    """Log the backtest as a run, with a nested run per origin, and return a reference to the parent."""
    parent = log(_backtest_items(result), tracking=tracking, name="backtest")
    for origin in result.origins:
        name = f"origin {result.when(origin.start)}"
        log(_origin_items(origin), tracking=tracking, name=name, parent=parent)
    return parent


def _backtest_items(result: BacktestResult) -> Iterator[LogItem]:
    yield Tag("leadloop.question", result.question)
    yield Tag("leadloop.time_ordered", str(result.time_ordered).lower())
    yield RunParams({"origins": len(result.origins), "chosen": result.chosen})
    yield Metric("regret", result.regret)
    for name, regret in result.regrets.items():
        yield Metric(f"{name}/regret", regret)
    for name, difference in result.differences.items():
        yield Metric(f"{name}/off_default_log_loss", difference.value, difference.low, difference.high)
    for kind, split in result.splits.items():
        if split.candidates:
            auc = split.candidates["default"].figures["roc_auc"]
            yield Metric(f"{kind}_split_roc_auc", auc.value, auc.low, auc.high)
    yield Text("backtest.json", json.dumps(result.to_dict(), indent=1))
    if result.origins:
        yield Text("against_default.svg", difference_plot(result))


def _origin_items(origin: OriginResult) -> Iterator[LogItem]:
    yield RunParams({"trained": origin.trained, "tested": origin.tested, "positives": origin.positives})
    for name, metrics in origin.candidates.items():
        for figure, value in metrics.to_dict().items():
            # MLflow refuses what is not a number: the slope of a constant forecast, for one.
            if isinstance(value, dict) and None not in value.values():
                yield Metric(f"{name}/{figure}", **value)


def difference_plot(result: BacktestResult) -> str:
    """Plot each candidate's log-loss minus the default's at each origin, as SVG."""
    return loss_difference_chart(
        {
            result.when(origin.start): {
                name: metrics.against_default
                for name, metrics in origin.candidates.items()
                if name != "default"
            }
            for origin in result.origins
        }
    )


def _format_table(candidates: Mapping[str, CandidateMetrics]) -> Iterator[str]:
    yield _LINE.format("", "log-loss", "ROC AUC", "avg.prec", "brier", "worse than the default by")
    for name, metrics in candidates.items():
        difference = metrics.against_default
        yield _LINE.format(
            f"  {name}",
            *_format_figures(metrics),
            f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})",
        )


def _format_figures(metrics: CandidateMetrics) -> list[str]:
    return [
        f"{metrics.figures[name].value:.4f}" for name in ("log_loss", "roc_auc", "average_precision", "brier")
    ]
