"""In short: the headline, and what a reader must know before believing the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.page.words import Words
    from training.report import Report

_BETTER = 1.1


def view(report: Report, t: Words) -> dict[str, Any]:
    """The headline and the warnings."""
    return {"headline": _headline(report, t), "warnings": warnings(report, t)}


def _headline(report: Report, text: Words) -> str:
    at, base = report.summary.at_capacity, report.summary.base_rate
    if at.rate.value < _BETTER * base:
        return text("summary.headline_none")
    hits, without = text.number(100 * at.rate.value), text.number(100 * base)
    if without in {hits, "0"}:
        hits, without = text.number(100 * at.rate.value, 1), text.number(100 * base, 1)
    return text("summary.headline", hits=hits, base=without, label=report.card.label)


def warnings(report: Report, text: Words) -> tuple[tuple[str, str], ...]:
    """What a reader must know before believing the figures: codes and sentences."""
    return tuple(
        (
            warn.code,
            text(
                f"warnings.{warn.code}",
                number=text.number(warn.value),
                percent=text.percent(warn.value, 1),
            ),
        )
        for warn in report.summary.warnings
    )
