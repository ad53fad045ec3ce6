"""Writes a report as one HTML page that needs nothing else: no script, no network, no font, no other file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from training.page import charts, tables
from training.page.blocks import BLOCKS, absent
from training.page.views import views
from training.page.words import Lang, Words, words

if TYPE_CHECKING:
    from training.page.drivers import Driver
    from training.report import Report

SHOWN = 12
_SPARSE = 0.5
_BETTER = 1.1


@dataclass(frozen=True)
class Charts:
    """The page's pictures as SVG that is safe to inline: chart text was escaped when it was drawn."""

    gains: Markup
    reliability: Markup
    families: Markup
    features: Markup
    shapes: tuple[Markup, ...]


def render(report: Report, lang: Lang = "en") -> str:
    """The report as a page in ``lang``; whatever came from data is escaped."""
    text = words(lang)
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            t=text,
            style=Markup(_style()),  # noqa: S704  # our own file, no data in it
            blocks=BLOCKS,
            absent=absent,
            views=views(report, text, tuple(block for block in BLOCKS if not absent(report, block))),
            charts=_charts(report, text),
            tables=tables,
            shown=_shown(report),
            headline=_headline(report, text),
            warnings=warnings(report, text),
            columns=_columns(report, text),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("training.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style() -> str:
    source = _environment().get_template("style.css").render(palette=charts.PALETTE)
    return " ".join(source.split())


def plots(report: Report, lang: Lang = "en") -> dict[str, str]:
    """The page's main charts as SVG files of their own, by name: what a tracked run shows at a glance."""
    drawn = _charts(report, words(lang))
    named = {"gains": drawn.gains, "reliability": drawn.reliability, "families": drawn.families}
    return {
        f"{name}.svg": str(svg).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        for name, svg in named.items()
    }


def _charts(report: Report, text: Words) -> Charts:
    at = report.summary.at_capacity
    shown = _shown(report)
    families = [(text.named("families", f.name), f.importance) for f in report.drivers.families]
    return Charts(
        gains=charts.drawn(charts.gains(report.worth.gains, (at.share, at.captured), text)),
        reliability=charts.drawn(charts.reliability(report.calibration.bins, text)),
        families=charts.drawn(charts.bars(families, text, signed=False)),
        features=charts.drawn(
            charts.bars([(text.title(d.spec), d.importance) for d in shown], text, signed=False)
        ),
        shapes=tuple(_shape(driver, text) for driver in shown),
    )


def _shown(report: Report) -> tuple[Driver, ...]:
    """The features that are looked at one by one: the weightiest that weigh anything, but never none."""
    first = report.drivers.features[:SHOWN]
    return tuple(driver for driver in first if driver.direction != "none") or first[:1]


def _shape(driver: Driver, text: Words) -> Markup:
    return charts.drawn(charts.bars([(text.part(driver.spec, p), p.points) for p in driver.shape], text))


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


def _columns(report: Report, text: Words) -> str:
    columns = report.health.columns
    return text(
        "health.columns_reading",
        sparse=text.number(sum(column.missing > _SPARSE for column in columns)),
        all=text.number(len(columns)),
        flat=text.number(sum(column.state != "filled" for column in columns)),
    )
