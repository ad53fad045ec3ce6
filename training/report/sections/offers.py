"""The section on offers, offer stages and paths."""

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

    from training.analysis.offers import OfferEffect, TouchpointPath
    from training.report.report import Report
    from training.report.translator import Translator

_ARROW = " → "


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``offers.html``.

    Returns:
        how (sentence); offers and stages (charts) with reading, stage_reading, table and stage_table; steps,
        paths (table) and path_reading; {} where offers are not applicable.
    """
    analysis = report.insights.offers
    if not isinstance(analysis, Offers):
        return {}
    return {
        "how": t(
            "offers.how",
            days=t.days(analysis.days),
            since=t.day(analysis.since),
            beside=t.number(analysis.beside),
        ),
        "offers": _chart(analysis.offers, t),
        "reading": _reading(analysis.offers, t),
        "table": _table(analysis.offers, "offer", t),
        "stages": _chart(analysis.stages, t),
        "stage_reading": _reading(analysis.stages, t),
        "stage_table": _table(analysis.stages, "stage", t),
        "steps": ", ".join(t.label("kinds", kind) for kind in analysis.steps),
        "paths": _paths(analysis.paths, t),
        "path_reading": _path_reading(analysis.paths, t),
    }


def _chart(offers: Sequence[OfferEffect], t: Translator) -> Markup | None:
    marks = [
        ForestRow(t.offer(offer.name), t.interval(offer.ratio, 2), offer.ratio, offer.verdict)
        for offer in offers
        if offer.ratio is not None
    ]
    return chart_markup(ratio_forest(marks)) if marks else None


def _reading(offers: Sequence[OfferEffect], t: Translator) -> str:
    return describe_groups("offers", [(t.offer(offer.name), offer.verdict) for offer in offers], t)


def _table(offers: Sequence[OfferEffect], what: str, t: Translator) -> Table:
    first = ("offer", "kind", "offer_stage") if what == "offer" else ("offer_stage",)
    heads = (*first, "takers", "compared", "rate", "similar", "ratio", "ratio_to_score", "verdict")
    quiet = frozenset(i for i, offer in enumerate(offers) if offer.verdict == "few")
    rows = tuple(_row(offer, t, wide=what == "offer") for offer in offers)
    return Table(
        t(f"offers.table_{what}"), tuple(t(f"offers.{name}") for name in heads), rows, muted_rows=quiet
    )


def _row(offer: OfferEffect, t: Translator, *, wide: bool) -> tuple[str, ...]:
    names = (t.label("kinds", offer.kind or ""), t.offer(offer.stage or "")) if wide else ()
    return (
        t.offer(offer.name),
        *names,
        t.number(offer.takers),
        t.number(offer.compared),
        t.rate(offer.rate) if offer.rate else "",
        "" if offer.similar is None else t.percent(offer.similar, 1),
        t.interval(offer.ratio, 2) if offer.ratio else "",
        t.interval(offer.ratio_to_score, 2) if offer.ratio_to_score else "",
        t(f"offers.verdict_{offer.verdict}"),
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
    """Name the significantly more frequent path with the highest lower bound of its ratio, if any."""
    candidates = [path for path in paths if path.verdict == "more" and path.ratio]
    if not candidates:
        return t("offers.paths_none")
    top = max(candidates, key=lambda path: path.ratio.low if path.ratio else 0.0)
    return t(
        "offers.paths", path=_named(top, t), share=t.percent(top.share, 1), others=t.percent(top.others, 1)
    )


def _named(path: TouchpointPath, t: Translator) -> str:
    return _ARROW.join(t.label("kinds", step) for step in path.steps) or t("offers.no_step")
