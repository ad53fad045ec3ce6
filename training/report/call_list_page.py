"""The call list as one HTML page without external files, for those who have no service."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from models.explanation import top_reasons
from models.grades import LETTERS
from models.score_parts import combine_grades
from training.report.render import environment, style
from training.report.translator import translator

if TYPE_CHECKING:
    from features.messages import Lang
    from models.explanation import Reason
    from training.call_list import CallList, ListedLead
    from training.report.translator import Translator

# Reasons that are shown at once, and those that open.
_FOR, _AGAINST, _ALL = 3, 1, 12


@dataclass(frozen=True, slots=True)
class LeadRow:
    """One lead as the page shows it; every text is in the reader's language.

    Attributes:
        rank: Its place, from 1.
        lead_id: The lead.
        details: Its own values, empty where missing.
        owner: Whose lead it is, empty where nobody's.
        chance: The probability.
        interval: The interval of the probability, empty without one.
        grade: A to D.
        combined: The grades of fit and engagement in one word, empty without them.
        parts: What these grades mean, in a sentence.
        doubt: Why the score is not to be relied on, empty where it is.
        raises: The weightiest reasons for the lead.
        lowers: The weightiest reasons against it.
        reasons: The weightiest reasons with their points.
        reserve: Whether it is called only where another lead cannot be.
    """

    rank: int
    lead_id: str
    details: tuple[str, ...]
    owner: str
    chance: str
    interval: str
    grade: str
    combined: str
    parts: str
    doubt: str
    raises: tuple[str, ...]
    lowers: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    reserve: bool


def call_list_page(call_list: CallList, lang: Lang = "en") -> str:
    """Render a call list as an HTML page that loads nothing: no script, font or file from elsewhere.

    Args:
        call_list: The list; its reasons are in the language they were made in.
        lang: The language of the page.

    Returns:
        The page. Values from data are escaped, and its content security policy allows its own script only.
    """
    t, script = translator(lang).with_names(call_list.names), _script()
    return (
        environment()
        .get_template("call-list.html")
        .render(
            t=t,
            call_list=call_list,
            day=None if call_list.as_of is None else t.day(call_list.as_of),
            question=t.question(call_list.question),
            columns=[t.names.column(name).render(lang) for name in call_list.columns],
            rows=[_lead_row(rank, lead, t) for rank, lead in enumerate(call_list.leads, 1)],
            letters=LETTERS,
            style=Markup(style()),  # noqa: S704  # our own file, no data in it
            script=Markup(script),  # noqa: S704  # the same
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def _lead_row(rank: int, lead: ListedLead, t: Translator) -> LeadRow:
    score, explanation = lead.explanation.score, lead.explanation
    between = score.interval
    parts = {part.part: part for part in explanation.parts}
    return LeadRow(
        rank,
        score.lead_id,
        tuple(value or "" for value in lead.details),
        lead.owner or "",
        t.percent(score.probability, 0),
        ""
        if between is None
        else t("call-list.between", low=t.percent(between.low), high=t.percent(between.high)),
        score.grade,
        combine_grades(explanation.parts) or "",
        t("call-list.parts", **{name: t.number(min(part.percentile, 99)) for name, part in parts.items()})
        if len(parts) > 1
        else "",
        "" if score.insufficient is None else str(score.insufficient.message),
        _texts([reason for reason in explanation.reasons if reason.contribution > 0][:_FOR]),
        _texts([reason for reason in explanation.reasons if reason.contribution < 0][:_AGAINST]),
        tuple((reason.text, t.signed(reason.points, 1)) for reason in top_reasons(explanation.reasons, _ALL)),
        lead.reserve,
    )


def _texts(reasons: list[Reason]) -> tuple[str, ...]:
    return tuple(reason.text for reason in reasons)


def _script() -> str:
    return (
        resources.files("training.report").joinpath("templates", "call-list.js").read_text(encoding="utf-8")
    )
