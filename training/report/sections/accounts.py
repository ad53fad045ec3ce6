"""The section on accounts: companies with several active leads, and whom of them to call."""

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

_SHOWN = 8
_COLUMNS = ("account", "lead", "best", "at_least_one", "leads", "touches", "requests", "quiet", "won")


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``accounts.html``; {} where no account has several active leads.

    Returns:
        first (sentence), ranges (chart), table, days, target and horizon.
    """
    accounts = report.insights.accounts
    if not isinstance(accounts, Accounts) or not accounts.accounts:
        return {}
    first = accounts.accounts[0]
    return {
        "first": t("accounts.first", lead=first.lead, account=first.account, best=t.percent(first.best)),
        "ranges": chart_markup(bars.range_chart(accounts.accounts[:_SHOWN], t)),
        "table": _table(accounts, t),
        "days": t.plural("funnel.days", accounts.days),
        "target": t.label("stages", accounts.target),
        "horizon": days_of(accounts.horizon, t),
    }


def _table(accounts: Accounts, t: Translator) -> Table:
    head = tuple(t(f"accounts.{name}", days=t.number(accounts.days)) for name in _COLUMNS)
    return Table(t("accounts.table"), head, tuple(_row(account, t) for account in accounts.accounts))


def _row(account: AccountScore, t: Translator) -> tuple[str, ...]:
    return (
        account.account,
        account.lead,
        t.percent(account.best),
        t.percent(account.at_least_one if account.chance is None else account.chance),
        *(
            t.number(count)
            for count in (account.leads, account.touches, account.requests, account.quiet, account.won)
        ),
    )
