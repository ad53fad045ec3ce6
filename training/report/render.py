"""Rendering of a report as one self-contained HTML page, and of its main charts as SVG files."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from features.messages import LANGUAGES, Lang
from training.report.charts.vega import PALETTE
from training.report.layout import BLOCKS, PARTS, history_only_sections, missing_reason
from training.report.plugin_sections import custom_table
from training.report.sections import calibration, drivers, lift
from training.report.sections.takeaways import takeaway
from training.report.translator import translator

if TYPE_CHECKING:
    from training.report.report import Report


def render(report: Report, lang: Lang = "en") -> str:
    """Render the report as an HTML page that loads nothing: no script, font or file from elsewhere.

    Values from data are escaped, and the page's content security policy allows its own script only.

    Args:
        report: The report.
        lang: The language shown first. The other languages are in the page as inert templates, so that a
            reader without scripts gets this one.

    Returns:
        The page.
    """
    script = _script()
    return (
        environment()
        .get_template("report.html")
        .render(
            report=report,
            t=translator(lang).with_names(report.card.names),
            page=_body(report, lang),
            others={other: _body(report, other) for other in LANGUAGES if other != lang},
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
            script=Markup(script),  # noqa: S704  # the same
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def _body(report: Report, lang: Lang) -> Markup:
    """All sections in ``lang``."""
    t, beyond = translator(lang).with_names(report.card.names), history_only_sections(report)
    body = environment().get_template("body.html")
    html = body.render(
        report=report,
        t=t,
        languages=LANGUAGES,
        blocks=[block for block in BLOCKS if block not in beyond],
        parts=PARTS,
        beyond=", ".join(t(f"sections.{block}") for block in beyond),
        absent=missing_reason,
        custom_table=custom_table,
        views={block: view(report, t) for block, view in BLOCKS.items() if not missing_reason(report, block)},
        said={block: takeaway(report, block, t) for block in BLOCKS},
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
