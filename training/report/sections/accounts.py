"""Accounts in words: companies with several active leads, and whom of them to talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.accounts import Accounts, AccountScore
from training.report.charts import bars
from training.report.charts.vega import chart_markup
from training.report.sections.funnel import days_of
from training.report.table import Table

if TYPE_CHECKING:
    from training.report.report import Report
    from training.report.translator import Translator

_DRAWN = 8
_COLUMNS = ("account", "lead", "best", "at_least_one", "leads", "touches", "requests", "quiet", "won")


def view(report: Report, t: Translator) -> dict[str, Any]:
    """What the template of the accounts shows."""
    found = report.insights.accounts
    if not isinstance(found, Accounts) or not found.accounts:
        return {}
    first = found.accounts[0]
    return {
        "first": t("accounts.first", lead=first.lead, account=first.account, best=t.percent(first.best)),
        "ranges": chart_markup(bars.range_chart(found.accounts[:_DRAWN], t)),
        "table": _table(found, t),
        "days": t.plural("funnel.days", found.days),
        "target": t.label("stages", found.target),
        "horizon": days_of(found.horizon, t),
    }


def _table(found: Accounts, t: Translator) -> Table:
    head = tuple(t(f"accounts.{name}", days=t.number(found.days)) for name in _COLUMNS)
    return Table(t("accounts.table"), head, tuple(_row(one, t) for one in found.accounts))


def _row(one: AccountScore, t: Translator) -> tuple[str, ...]:
    return (
        one.account,
        one.lead,
        t.percent(one.best),
        t.percent(one.at_least_one),
        *(t.number(count) for count in (one.leads, one.touches, one.requests, one.quiet, one.won)),
    )
