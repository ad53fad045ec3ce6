"""Writes a report as one HTML page that needs nothing else: no network, no font, no other file."""

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
    """The report as a page in ``lang`` that can be switched to the other languages without a network.

    The other languages lie in it as inert templates, so a reader without scripts has the page in ``lang``.
    Whatever came from data is escaped, and the page's own policy lets it run its script and load nothing.
    """
    script = _script()
    return (
        environment()
        .get_template("report.html")
        .render(
            report=report,
            t=translator(lang),
            page=_body(report, lang),
            others={other: _body(report, other) for other in LANGUAGES if other != lang},
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
            script=Markup(script),  # noqa: S704  # the same
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def _body(report: Report, lang: Lang) -> Markup:
    """All blocks in ``lang``."""
    t, beyond = translator(lang), history_only_sections(report)
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
    """Where the page's templates are; whatever they are given is escaped."""
    return Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """The look of every page, in one line."""
    source = environment().get_template("style.css").render(palette=PALETTE)
    return " ".join(source.split())


def _script() -> str:
    return resources.files("training.report").joinpath("templates", "page.js").read_text(encoding="utf-8")


def plots(report: Report, lang: Lang = "en") -> dict[str, str]:
    """The page's main charts as SVG files of their own, by name: what a tracked run shows at a glance."""
    t = translator(lang)
    named = {
        "gains": lift.view(report, t)["gains"],
        "reliability": calibration.view(report, t)["bins"],
        "families": drivers.view(report, t)["families"],
    }
    return {
        f"{name}.svg": str(svg).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        for name, svg in named.items()
    }
