"""In short: the headline, and what a reader must know before believing the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.page.words import Words
    from training.report import Report

_BETTER = 1.1


def view(report: Report, t: Words) -> dict[str, Any]:
    """The headline, what a lead is where one is looked at more than once, and the warnings."""
    return {
        "better": _better(report),
        "headline": _headline(report, t),
        "looks": looks(report, t),
        "warnings": warnings(report, t),
    }


def looks(report: Report, t: Words) -> str:
    """That each look at a lead counts, where there is more than one; else nothing."""
    rows, people = report.summary.rows, report.summary.people
    return t("summary.looks", rows=t.number(rows), people=t.number(people)) if people < rows else ""


def _better(report: Report) -> bool:
    return report.summary.at_capacity.rate.value >= _BETTER * report.summary.base_rate


def _headline(report: Report, t: Words) -> str:
    if not _better(report):
        return t("summary.headline_none")
    found = report.summary
    hits, without = t.number(100 * found.at_capacity.rate.value), t.number(100 * found.base_rate)
    if without in {hits, "0"}:
        hits, without = t.number(100 * found.at_capacity.rate.value, 1), t.number(100 * found.base_rate, 1)
    return t("summary.headline", hits=hits, base=without, label=t.question(report.card.label))


def warnings(report: Report, t: Words) -> tuple[tuple[str, str], ...]:
    """What a reader must know before believing the figures: codes and sentences."""
    return tuple(
        (
            warn.code,
            t(
                f"warnings.{warn.code}",
                number=t.number(warn.value),
                percent=t.percent(warn.value, 1),
            ),
        )
        for warn in report.summary.warnings
    )
