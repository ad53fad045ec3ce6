"""Rendering of a report as one self-contained HTML page, and of its main charts as SVG files."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from features.messages import LANGUAGES, Lang
from training.analysis.slices import STEPS, Slices
from training.report.charts.vega import PALETTE
from training.report.layout import BLOCKS, OPENED, PARTS, history_only_sections, missing_reason
from training.report.plugin_sections import custom_table
from training.report.sections import calibration, drivers, lift
from training.report.sections.takeaways import takeaway
from training.report.translator import translator

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.report.report import Report


def render(report: Report, lang: Lang = "en") -> str:
    """Render the report as an HTML page that loads nothing: no script, font or file from elsewhere.

    Values from data are escaped, and the page's content security policy allows its own script only.

    Args:
        report: The report.
        lang: The language shown first. The other languages are in the page as inert templates, so that a
            reader without scripts gets this one.

    Returns:
        The page; it begins with the board page, and its sections fold.
    """
    return _page(report, lang, _body)


def render_board(report: Report, lang: Lang = "en") -> str:
    """Render the board page alone: one screen, one sheet of A4, small enough for an e-mail.

    Args:
        report: The report.
        lang: The language shown first, as for ``render``.

    Returns:
        The page, without the sections of the full report.
    """
    return _page(report, lang, _board)


def _page(report: Report, lang: Lang, body: Callable[[Report, Lang], Markup]) -> str:
    script = _script()
    return (
        environment()
        .get_template("report.html")
        .render(
            report=report,
            t=translator(lang).with_names(report.card.names),
            page=body(report, lang),
            slices=_slices_data(report) if body is _body else None,
            others={other: body(report, other) for other in LANGUAGES if other != lang},
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
            script=Markup(script),  # noqa: S704  # the same
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def _slices_data(report: Report) -> dict[str, Any] | None:
    """The counts that the filters of the page sum up, the same for each language."""
    slices = report.insights.slices
    if not isinstance(slices, Slices):
        return None
    return {
        "leads": slices.leads,
        "scores": slices.scores,
        "stages": len(slices.stages),
        "channels": len(slices.channel.values) if slices.channel else 0,
        "steps": STEPS,
        "design": slices.design_effect,
    }


def _board(report: Report, lang: Lang) -> Markup:
    """The board page in ``lang``."""
    t = translator(lang).with_names(report.card.names)
    views = {"summary": BLOCKS["summary"](report, t)}
    html = (
        environment().get_template("board.html").render(report=report, t=t, languages=LANGUAGES, views=views)
    )
    return Markup(html)  # noqa: S704  # escaped by the template


def _body(report: Report, lang: Lang) -> Markup:
    """All sections in ``lang``."""
    t, beyond = translator(lang).with_names(report.card.names), history_only_sections(report)
    reasons = {block: reason for block in BLOCKS if (reason := missing_reason(report, block))}
    blocks = [block for block in BLOCKS if block not in reasons]
    html = (
        environment()
        .get_template("body.html")
        .render(
            report=report,
            t=t,
            languages=LANGUAGES,
            blocks=blocks,
            parts=PARTS,
            opened=OPENED,
            absent=[
                (t(f"sections.{block}"), t(f"absent.{reason.reason}"))
                for block, reason in reasons.items()
                if block not in beyond
            ],
            beyond=", ".join(t(f"sections.{block}") for block in beyond),
            custom_table=custom_table,
            views={block: BLOCKS[block](report, t) for block in blocks},
            takeaways={block: takeaway(report, block, t) for block in blocks},
        )
    )
    return Markup(html)  # noqa: S704  # escaped by the template


@cache
def environment() -> Environment:
    """The Jinja environment of the page's templates, with autoescaping and strict undefined variables."""
    return Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """The stylesheet of every page, in one line."""
    source = environment().get_template("style.css").render(palette=PALETTE)
    return " ".join(source.split())


def _script() -> str:
    return resources.files("training.report").joinpath("templates", "page.js").read_text(encoding="utf-8")


def plots(report: Report, lang: Lang = "en") -> dict[str, str]:
    """Draw the report's main charts as SVG files, by file name: gains, reliability and feature families."""
    t = translator(lang).with_names(report.card.names)
    named = {
        "gains": lift.view(report, t)["gains"],
        "reliability": calibration.view(report, t)["bins"],
        "families": drivers.view(report, t)["families"],
    }
    return {
        f"{name}.svg": str(svg).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        for name, svg in named.items()
    }
