"""The conditions of a points table as filters of lists in HubSpot, Mautic and Account Engagement (Pardot).

The words are those of the editors of lists as their documentation names them:

HubSpot: https://developers.hubspot.com/docs/api/crm/lists-filters; its words for operators were not compared.
Mautic: https://docs.mautic.org/en/5.x/segments/manage_segments.html (from Mautic 7 on "equals" is called "is
equal to"); the names of its counts of visits and e-mails were not compared.
Account Engagement: the reference of criteria of automation rules, which dynamic lists share,
https://help.salesforce.com/apex/HTViewHelpDoc?id=mktg.pardot_automation_rule_criteria_reference.htm (default
and custom fields are two criteria; operators are "is", "contains", "is empty").
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from features.clock import DAY
from features.history import ACCOUNT_PREFIX
from features.messages import translate
from features.spreadsheet import escape_formula

if TYPE_CHECKING:
    from features.messages import Lang
    from training.points.conditions import Condition
    from training.points.learned_table import LearnedScorecard

ListTool = Literal["hubspot", "mautic", "pardot"]
HEADER = ("points", "condition", "filter", "reason")

# What a filter calls the events of a kind: how many in all, and since when at least one.
_MAUTIC = {
    "email_open": ("Read any email (count)", "Read any email (date)"),
    "email_click": (None, "Clicked any email link (date)"),
    "visit": ("Visited URL (count)", "Visited URL (date)"),
    "page_view": ("Visited URL (count)", "Visited URL (date)"),
}
_PARDOT_EVER = {
    "form": "Prospect form: any form, was completed",
    "download": "Prospect file: any file, was accessed",
    "webinar": "Prospect webinar: any webinar, was attended",
}


@dataclass(frozen=True, slots=True)
class ListFilter:
    """A condition as a filter of a list, or why no list can have it.

    Attributes:
        points: What a lead that meets the condition gets.
        condition: The condition in words.
        filter: The filter as the tool's editor of lists has it; "" where there is none.
        reason: Why there is none; "" where there is one.
    """

    points: int
    condition: str
    filter: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Events:
    """Touchpoints of a kind that a lead has at least ``times``, in the last ``days`` or, for None, ever."""

    kind: str
    times: int
    days: int | None


def list_filters(table: LearnedScorecard, tool: ListTool, lang: Lang = "en") -> list[ListFilter]:
    """Every row of a points table as a filter of a list.

    Args:
        table: The table.
        tool: Where the lists are kept.
        lang: The language of conditions and reasons; filters have the words of the tool.

    Returns:
        A filter a row, in the order of the table. A row that no list can express has a reason instead.
    """
    return [_filter_of(row.condition, row.points, tool, lang) for row in table.lines.rows]


def filters_csv(filters: list[ListFilter]) -> str:
    """The filters as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for each in filters:
        writer.writerow([each.points, *map(escape_formula, (each.condition, each.filter, each.reason))])
    return text.getvalue()


def _filter_of(condition: Condition, points: int, tool: ListTool, lang: Lang) -> ListFilter:
    spec, words = condition.spec, condition.says(lang)
    if spec.source in {"leads", "attributes"} and spec.reduce in {"value", "latest"}:
        if spec.extraction is not None:
            why = translate("lists.read_out", lang, column=spec.extraction.column)
            return ListFilter(points, words, reason=why)
        return ListFilter(points, words, _property(condition, tool))
    events = _events(condition)
    if events is None:
        return ListFilter(points, words, reason=translate("lists.computed", lang))
    filter_text = {"hubspot": _hubspot, "mautic": _mautic, "pardot": _pardot}[tool](events)
    reason = "" if filter_text else translate("lists.events", lang, tool=_NAMES[tool])
    return ListFilter(points, words, filter_text, reason)


_NAMES = {"hubspot": "HubSpot", "mautic": "Mautic", "pardot": "Account Engagement"}
_OPERATORS: dict[ListTool, dict[str, str]] = {
    "hubspot": {
        "is": "is any of",
        "at_least": "is greater than or equal to",
        "at_most": "is less than or equal to",
        "missing": "is unknown",
    },
    "mautic": {
        "is": "equals",
        "at_least": "greater than or equal",
        "at_most": "less than or equal",
        "missing": "empty",
    },
    "pardot": {"is": "is", "at_least": "is greater than or equal to", "at_most": "is less than or equal to"},
}
_FIELDS: dict[ListTool, tuple[str, str]] = {
    "hubspot": ("Contact property", "Company property"),
    "mautic": ("Contact field", "Company field"),
    "pardot": ("Prospect default or custom field", "Prospect account field"),
}


def _property(condition: Condition, tool: ListTool) -> str:
    """The comparison of a field of the lead or of its account."""
    column = condition.spec.of or condition.spec.name
    of_account = column.startswith(ACCOUNT_PREFIX)
    operator = _OPERATORS[tool].get(condition.test, "is empty")
    value = condition.value
    # As a tool reads it: a point, no separators, no exponent.
    text = f"{Decimal(f'{value:.15g}'):f}" if isinstance(value, float) else value
    if condition.spec.unit == "flag" and condition.test == "is":
        text = "true" if value else "false"
    return (
        f"{_FIELDS[tool][of_account]} {column.removeprefix(ACCOUNT_PREFIX)} {operator} {text or ''}".strip()
    )


def _events(condition: Condition) -> _Events | None:
    """The touchpoints of one kind that the condition counts; None where it is about something else."""
    spec, value = condition.spec, condition.value
    if spec.source != "touchpoints" or len(spec.kind) != 1 or spec.where or not isinstance(value, float):
        return None
    if spec.reduce == "count" and condition.test == "at_least":
        return _Events(spec.kind[0], ceil(value), _days(spec.within))
    # "At most 7 days ago" is "at least once in the last 7 days".
    is_recent = spec.reduce == "recency" and condition.test == "at_most" and spec.within is None
    return _Events(spec.kind[0], 1, _days(int(value))) if is_recent and value >= DAY else None


def _days(seconds: int | None) -> int | None:
    return None if seconds is None else max(1, seconds // DAY)


def _hubspot(events: _Events) -> str:
    span = "" if events.days is None else f" in the last {events.days} days"
    times = "once" if events.times == 1 else f"{events.times} times"
    return f"Event {events.kind} has been completed at least {times}{span}"


def _mautic(events: _Events) -> str:
    times, date = _MAUTIC.get(events.kind, (None, None))
    if events.days is None and times is not None:
        return f"{times} greater than or equal {events.times}"
    return f"{date} greater than -{events.days} days" if events.days and events.times == 1 and date else ""


def _pardot(events: _Events) -> str:
    if events.kind == "email_open" and events.days and events.times == 1:
        return f"Prospect email opens: opened an email in the last {events.days} days"
    is_ever = events.days is None and events.times == 1
    return _PARDOT_EVER.get(events.kind, "") if is_ever else ""


def describe_filters(filters: list[ListFilter], tool: ListTool, lang: Lang = "en") -> list[str]:
    """The filters as lines for a terminal, then what cannot be expressed, each with its reason."""
    lines = [f"{each.points:+6d}  {each.filter}" for each in filters if each.filter]
    rest = [each for each in filters if not each.filter]
    if rest:
        lines.append(translate("lists.rest", lang, count=len(rest), tool=_NAMES[tool]))
    return [*lines, *(f"{each.points:+6d}  {each.condition} ({each.reason})" for each in rest)]


def filter_records(filters: list[ListFilter]) -> list[dict[str, Any]]:
    """The filters as JSON can hold them."""
    return [
        {"points": each.points, "condition": each.condition, "filter": each.filter, "reason": each.reason}
        for each in filters
    ]
