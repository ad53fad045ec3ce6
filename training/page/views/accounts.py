"""Accounts in words: companies with several active leads, and whom of them to talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.insight.accounts import Account, Accounts
from training.page.charts import rows
from training.page.charts.drawing import drawn
from training.page.table import Table
from training.page.views.funnel import days_of

if TYPE_CHECKING:
    from training.page.words import Words
    from training.report import Report

_DRAWN = 8
_COLUMNS = ("account", "lead", "best", "at_least_one", "leads", "touches", "requests", "quiet", "won")


def view(report: Report, t: Words) -> dict[str, Any]:
    """What the template of the accounts shows."""
    found = report.insights.accounts
    if not isinstance(found, Accounts) or not found.accounts:
        return {}
    first = found.accounts[0]
    return {
        "first": t("accounts.first", lead=first.lead, account=first.account, best=t.percent(first.best)),
        "ranges": drawn(rows.ranges(found.accounts[:_DRAWN], t)),
        "table": _table(found, t),
        "days": t.plural("funnel.days", found.days),
        "target": t.named("stages", found.target),
        "horizon": days_of(found.horizon, t),
    }


def _table(found: Accounts, t: Words) -> Table:
    head = tuple(t(f"accounts.{name}", days=t.number(found.days)) for name in _COLUMNS)
    return Table(t("accounts.table"), head, tuple(_row(one, t) for one in found.accounts))


def _row(one: Account, t: Words) -> tuple[str, ...]:
    return (
        one.account,
        one.lead,
        t.percent(one.best),
        t.percent(one.at_least_one),
        *(t.number(count) for count in (one.leads, one.touches, one.requests, one.quiet, one.won)),
    )
