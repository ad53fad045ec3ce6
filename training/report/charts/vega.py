"""The basis of the report's charts: Vega-Lite specifications turned into SVG without script, font or network.

Specifications are plain dictionaries in the words of Vega-Lite's documentation
(https://vega.github.io/vega-lite/docs/). A library that builds them from objects takes seconds to import, and
as long again to check them against the schema; tests/training/report/charts/test_vega.py checks them instead.

Colours are those of ``PALETTE`` only: the page's stylesheet finds them by value and replaces them in dark
mode, so that one SVG suits both. Sizes fit a phone; the page scales them up.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import vl_convert
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.report.translator import Translator

PALETTE = {
    "ink": "#1c2430",
    "muted": "#5b6675",
    "line": "#d9dfe6",
    "accent": "#0b6e75",
    "against": "#b4481e",
    "low": "#2f6fb3",
    "high": "#b3246b",
}
WIDTH, HEIGHT = 360, 250
ROW = 36

GUIDE: dict[str, Any] = {"color": PALETTE["muted"], "strokeDash": [4, 4], "strokeWidth": 1.2}
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "aria": False,
        "labelColor": PALETTE["muted"],
        "labelFontSize": 12,
        "titleColor": PALETTE["ink"],
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "gridColor": PALETTE["line"],
        "domainColor": PALETTE["muted"],
        "tickColor": PALETTE["muted"],
    },
}

# Vega writes what a mark stands for as a label for screen readers; a title shows it to those who point.
_TIP = re.compile(r'<path([^>]*) aria-label="([^"]*)"([^>]*)/>')

Rows = list[dict[str, Any]]
Spec = dict[str, Any]
Point = tuple[float, float]


def quantitative(field: str, **options: Any) -> Spec:
    """A channel that shows a number; ``options`` are Vega-Lite's: axis, scale, title and so on."""
    return {"field": field, "type": "quantitative", **options}


def ordinal(field: str, **options: Any) -> Spec:
    """A channel that shows a place in an order."""
    return {"field": field, "type": "ordinal", **options}


def nominal(field: str, **options: Any) -> Spec:
    """A channel that shows a name."""
    return {"field": field, "type": "nominal", **options}


def value(constant: float | str) -> Spec:
    """A channel with the same value for all rows: pixels or a colour."""
    return {"value": constant}


def conditional(test: str, then: str, otherwise: str) -> Spec:
    """A channel with one value where the expression ``test`` holds of a row, and another elsewhere."""
    return {"condition": {"test": test, "value": then}, "value": otherwise}


def mark(kind: str, rows: Rows, encoding: Mapping[str, Spec], **properties: Any) -> Spec:
    """A layer of a chart: one mark of this kind for the rows, which are inline data.

    A row's ``tip`` is shown where a reader points at its mark.
    """
    tips = kind != "text" and any("tip" in row for row in rows)
    described = {"description": nominal("tip")} if tips else {}
    return {
        "data": {"values": rows},
        "mark": {"type": kind, "aria": tips, **properties},
        "encoding": {**encoding, **described},
    }


def add_tips(rows: Rows) -> None:
    """Give each row with a ``name`` and a ``text`` both of them as its tip."""
    for row in rows:
        row["tip"] = f"{row['name']}: {row['text']}"


def path(points: Sequence[Point], x: Spec, y: Spec, kind: str = "line", **properties: Any) -> Spec:
    """A layer of points joined in the given order, whatever their x."""
    rows: Rows = [{"x": at, "y": height, "step": i} for i, (at, height) in enumerate(points)]
    return mark(kind, rows, {"x": x, "y": y, "order": quantitative("step")}, **properties)


def percent_axis(field: str, title: str, words: Translator, top: float = 1.0) -> Spec:
    """An axis from 0 to ``top``, in percent."""
    axis = {"tickCount": 5, "labelExpr": in_percent(words)}
    return quantitative(field, title=title, axis=axis, scale={"domain": [0, top], "nice": False})


def in_percent(words: Translator) -> str:
    """A Vega expression that labels an axis in percent; Vega knows no decimal commas."""
    point = words.number(0.5, 1)[1]
    return f"replace(format(100 * datum.value, '.3~r'), '.', '{point}') + '{words.percent_sign}'"


def to_svg(*layers: Spec, **properties: Any) -> str:
    """Render layers as an inline SVG element without ids and namespaces, hidden from screen readers.

    Screen readers get the sentence below it and the table behind it; Vega's own labels would read every dot.
    ``properties`` are those of the whole chart: height, resolve.
    """
    spec = {"width": WIDTH, "height": HEIGHT, "layer": list(layers), "config": _CONFIG, **properties}
    return _draw(json.dumps(spec))


# Both languages of a page share some charts, and the files beside it show the same ones once more.
@lru_cache(maxsize=256)
def _draw(spec: str) -> str:
    """The SVG of a specification in JSON, read back here: vl_convert would read the last digits otherwise."""
    svg = _TIP.sub(r"<path\1\3><title>\2</title></path>", str(vl_convert.vegalite_to_svg(json.loads(spec))))
    svg = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", svg)
    return re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace(
        "<svg ", '<svg aria-hidden="true" focusable="false" ', 1
    )


def chart_markup(markup: str) -> Markup:
    """Mark a chart as safe for templates."""
    return Markup(markup)  # noqa: S704  # the chart library escapes the texts that it draws
