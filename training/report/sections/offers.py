"""Offers, offer stages and paths in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.offers import Offers
from training.report.charts.forest import ForestRow, ratio_forest
from training.report.charts.vega import chart_markup
from training.report.sections.channels import describe_groups
from training.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from models.metrics import Interval
    from training.analysis.offers import OfferEffect, TouchpointPath
    from training.report.report import Report
    from training.report.translator import Translator

_ARROW = " → "


def view(report: Report, t: Translator) -> dict[str, Any]:
    """What the template of the offers shows."""
    found = report.insights.offers
    if not isinstance(found, Offers):
        return {}
    return {
        "how": t(
            "offers.how", days=t.days(found.days), since=t.day(found.since), beside=t.number(found.beside)
        ),
        "offers": _chart(found.offers, t),
        "reading": _reading(found.offers, t),
        "table": _table(found.offers, "offer", t),
        "stages": _chart(found.stages, t),
        "stage_reading": _reading(found.stages, t),
        "stage_table": _table(found.stages, "stage", t),
        "steps": ", ".join(t.label("kinds", kind) for kind in found.steps),
        "paths": _paths(found.paths, t),
        "path_reading": _path_reading(found.paths, t),
    }


def _chart(offers: Sequence[OfferEffect], t: Translator) -> Markup | None:
    marks = [
        ForestRow(t.label("stages", one.name), t.interval(one.ratio, 2), one.ratio, one.verdict)
        for one in offers
        if one.ratio is not None
    ]
    return chart_markup(ratio_forest(marks)) if marks else None


def best(offers: Sequence[OfferEffect]) -> tuple[OfferEffect, Interval] | None:
    """The offer whose takers converted most surely more often, and how much; None where none is known to."""
    told = [(one, one.ratio) for one in offers if one.verdict == "more" and one.ratio is not None]
    return max(told, key=lambda pair: pair[1].low, default=None)


def _reading(offers: Sequence[OfferEffect], t: Translator) -> str:
    return describe_groups("offers", [(t.label("stages", one.name), one.verdict) for one in offers], t)


def _table(offers: Sequence[OfferEffect], what: str, t: Translator) -> Table:
    first = ("offer", "kind", "offer_stage") if what == "offer" else ("offer_stage",)
    heads = (*first, "takers", "compared", "rate", "similar", "ratio", "verdict")
    quiet = frozenset(i for i, one in enumerate(offers) if one.verdict == "few")
    rows = tuple(_row(one, t, wide=what == "offer") for one in offers)
    return Table(
        t(f"offers.table_{what}"), tuple(t(f"offers.{name}") for name in heads), rows, muted_rows=quiet
    )


def _row(one: OfferEffect, t: Translator, *, wide: bool) -> tuple[str, ...]:
    names = (t.label("kinds", one.kind or ""), t.label("stages", one.stage or "")) if wide else ()
    return (
        t.label("stages", one.name),
        *names,
        t.number(one.takers),
        t.number(one.compared),
        t.rate(one.rate) if one.rate else "",
        "" if one.similar is None else t.percent(one.similar, 1),
        t.interval(one.ratio, 2) if one.ratio else "",
        t(f"offers.verdict_{one.verdict}"),
    )


def _paths(paths: Sequence[TouchpointPath], t: Translator) -> Table:
    heads = ("path", "path_won", "path_share", "path_others", "path_ratio", "verdict")
    rows = tuple(
        (
            _named(path, t),
            t.number(path.won),
            t.percent(path.share, 1),
            t.percent(path.others, 1),
            t.interval(path.ratio, 2) if path.ratio else "",
            t(f"offers.verdict_{path.verdict}"),
        )
        for path in paths
    )
    quiet = frozenset(i for i, path in enumerate(paths) if path.verdict == "few")
    return Table(t("offers.table_path"), tuple(t(f"offers.{name}") for name in heads), rows, muted_rows=quiet)


def _path_reading(paths: Sequence[TouchpointPath], t: Translator) -> str:
    """The path that most surely stands out among converted leads, if one does."""
    told = [path for path in paths if path.verdict == "more" and path.ratio]
    if not told:
        return t("offers.paths_none")
    best = max(told, key=lambda path: path.ratio.low if path.ratio else 0.0)
    return t(
        "offers.paths", path=_named(best, t), share=t.percent(best.share, 1), others=t.percent(best.others, 1)
    )


def _named(path: TouchpointPath, t: Translator) -> str:
    return _ARROW.join(t.label("kinds", step) for step in path.steps) or t("offers.no_step")
