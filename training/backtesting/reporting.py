"""A backtest in words, and as MLflow runs: one for the whole, one nested in it for each origin."""

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
    """The backtest as lines for a terminal."""
    for origin in result.origins:
        yield (
            f"from {result.when(origin.start)}: {origin.trained:,} rows teach, {origin.tested:,} judge, "
            f"{origin.positives:,} of them {result.question} (intervals by {origin.block})"
        )
        yield from _table(origin.candidates)
        if origin.static:
            yield _LINE.format("  never refitted: default", *_figures(origin.static["default"]), "")
    for kind, split in result.splits.items():
        yield f"{kind} split: {split.reason or 'the default'}"
        if split.candidates:
            shown = split.candidates if not result.origins else {"default": split.candidates["default"]}
            yield from _table(shown)
    said = {split.reason for split in result.splits.values()}
    yield from (note for note in result.notes if note not in said)
    for name, regret in result.regrets.items():
        off = result.differences[name]
        worse = f"log-loss {off.value:+.4f}, {off.low:+.4f} to {off.high:+.4f}"
        even = f"; {result.levelled[name]:.2%} had the level been known" if name in result.levelled else ""
        yield f"regret {regret:7.2%}  {name} ({worse}{even})"
    yield f"chosen: {result.chosen}"


def log_backtest(result: BacktestResult, tracking: Tracking) -> RunRef:
    """Write the backtest down: a run with all of it, and one run nested in that for each origin."""
    parent = log(_whole(result), tracking=tracking, name="backtest")
    for origin in result.origins:
        name = f"origin {result.when(origin.start)}"
        log(_of_origin(origin), tracking=tracking, name=name, parent=parent)
    return parent


def _whole(result: BacktestResult) -> Iterator[LogItem]:
    yield Tag("leadloop.question", result.question)
    yield Tag("leadloop.time_ordered", str(result.time_ordered).lower())
    yield RunParams({"origins": len(result.origins), "chosen": result.chosen})
    yield Metric("regret", result.regret)
    for name, regret in result.regrets.items():
        yield Metric(f"{name}/regret", regret)
    for name, off in result.differences.items():
        yield Metric(f"{name}/off_default_log_loss", off.value, off.low, off.high)
    for kind, split in result.splits.items():
        if split.candidates:
            auc = split.candidates["default"].figures["roc_auc"]
            yield Metric(f"{kind}_split_roc_auc", auc.value, auc.low, auc.high)
    yield Text("backtest.json", json.dumps(result.to_dict(), indent=1))
    if result.origins:
        yield Text("against_default.svg", difference_plot(result))


def _of_origin(origin: OriginResult) -> Iterator[LogItem]:
    yield RunParams({"trained": origin.trained, "tested": origin.tested, "positives": origin.positives})
    for name, judgement in origin.candidates.items():
        for figure, value in judgement.to_dict().items():
            # MLflow refuses what is not a number: the slope of a constant forecast, for one.
            if isinstance(value, dict) and None not in value.values():
                yield Metric(f"{name}/{figure}", **value)


def difference_plot(result: BacktestResult) -> str:
    """How much worse (above 0) or better than the default each candidate was at each origin, as SVG."""
    return loss_difference_chart(
        {
            result.when(origin.start): {
                name: one.against_default for name, one in origin.candidates.items() if name != "default"
            }
            for origin in result.origins
        }
    )


def _table(candidates: Mapping[str, CandidateMetrics]) -> Iterator[str]:
    yield _LINE.format("", "log-loss", "ROC AUC", "avg.prec", "brier", "worse than the default by")
    for name, one in candidates.items():
        off = one.against_default
        yield _LINE.format(
            f"  {name}", *_figures(one), f"{off.value:+.4f} ({off.low:+.4f} to {off.high:+.4f})"
        )


def _figures(one: CandidateMetrics) -> list[str]:
    return [
        f"{one.figures[name].value:.4f}" for name in ("log_loss", "roc_auc", "average_precision", "brier")
    ]
