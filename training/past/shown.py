"""A backtest as a frame for whoever goes on with it, and as a table for whoever reads it in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.display import card, strong, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.past.judgement import Judgement
    from training.past.verdict import Backtest

_RANDOM = "random split"


def frame(result: Backtest) -> pl.DataFrame:
    """``origin``, ``trained``, ``tested``, ``candidate`` and a column a figure, with its ``_low``, ``_high``.

    A row for each origin and candidate, or for each candidate of the random split where there is no origin.
    """
    return pl.DataFrame(
        [
            {"origin": when, "trained": trained, "tested": tested, "candidate": name} | _figures(one)
            for when, trained, tested, candidates in _rounds(result)
            for name, one in candidates
        ]
    )


def html(result: Backtest) -> str:
    """A column for each origin, a row for each candidate, the one with the least regret first."""
    rounds = list(_rounds(result))
    told = [dict(candidates) for *_, candidates in rounds]
    least = [min(one.figures["log_loss"].value for one in round_.values()) for round_ in told]
    rows = [
        (
            strong(name) if name == result.chosen else name,
            *(_loss(round_[name], best) for round_, best in zip(told, least, strict=True)),
            f"{result.regrets[name]:.2%}",
            f"{off.value:+.4f}",
            f"{off.low:+.4f} to {off.high:+.4f}",
        )
        for name, off in sorted(result.differences.items(), key=lambda one: result.regrets[one[0]])
    ]
    heads = [f"{when}: {trained:,} teach, {tested:,} judge" for when, trained, tested, _ in rounds]
    header = ("log-loss", *heads, "regret", "worse by", "95 % interval")
    facts = (
        "lower is better, bold is best; each candidate learned only from what was known by the day of the "
        "column; worse by: than the default, on all these leads"
    )
    return card(f"Backtest: {result.question}; chosen: {result.chosen}", facts, table(header, rows))


def _rounds(result: Backtest) -> Iterator[tuple[str, int, int, list[tuple[str, Judgement]]]]:
    for origin in result.origins:
        when = f"from {result.when(origin.start)}"
        yield when, origin.trained, origin.tested, list(origin.candidates.items())
    if not result.origins:
        split = result.splits["random"]
        yield _RANDOM, split.trained, split.tested, list(split.candidates.items())


def _figures(one: Judgement) -> dict[str, float]:
    figures = {**one.figures, "against_default": one.against_default}
    return {
        name + ending: value
        for name, figure in figures.items()
        for ending, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high))
    }


def _loss(one: Judgement, best: float) -> str:
    loss = one.figures["log_loss"].value
    return strong(f"{loss:.4f}") if loss == best else f"{loss:.4f}"
