"""Accounts: companies with open leads, the likeliest first, and one of them with whom to call."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from features.history import ACCOUNT_PREFIX
from serving.console.lead import event_text
from serving.console.lead_rows import row_writer
from serving.console.pages import PageRefused
from serving.console.today import require_lists
from serving.endpoints.accounts import describe_account, encode_account, find_accounts, parse_account
from serving.lead_store.lead_details import describe_lead

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starlette.responses import Response

    from serving.console.lead_rows import RowWriter
    from serving.console.pages import Visit
    from serving.schemas import AccountLead

_PER_PAGE, _LONGEST_TEXT, _EVENTS = 25, 200, 40


async def accounts_page(visit: Visit) -> Response:
    """A page of accounts, by the chance that at least one of their open leads converts."""
    require_lists(visit)
    text, after = visit.query.get("text", "").strip()[:_LONGEST_TEXT], visit.query.get("after", "")
    accounts, count, following = await find_accounts(
        visit.service.journal, parse_account(after) if after else None, _PER_PAGE, text
    )
    return visit.page(
        "accounts.html",
        active="accounts",
        accounts=accounts,
        count=count,
        text=text,
        first_page=visit.url("accounts", text=text) if after else None,
        next_page=None
        if following is None
        else visit.url("accounts", text=text, after=encode_account(following)),
    )


async def account_page(visit: Visit) -> Response:
    """An account with its leads. Why to call the best of them is logged as a decision, as over REST."""
    require_lists(visit)
    if visit.served.champion.current is None:
        raise PageRefused(HTTPStatus.SERVICE_UNAVAILABLE, "console.no_model")
    account = await describe_account(
        visit.service.journal, visit.request.path_params["account_id"], visit.texts.lang
    )
    writer = row_writer(visit)
    events = account.timeline[:_EVENTS]
    return visit.page(
        "account.html",
        active="accounts",
        account=account,
        writer=writer,
        events=events,
        event_text=lambda event: event_text(visit, writer, event),
        attributes=[
            (_title(writer, name), _shown(visit, value))
            for name, value in sorted(account.attributes.items())
            if value is not None and value != account.name
        ],
        names=await _names(visit, account.leads, {event.lead_id for event in events}),
    )


async def _names(visit: Visit, scored: Sequence[AccountLead], lead_ids: Collection[str]) -> dict[str, str]:
    """What people call the leads of an account, also those that the model has no score of."""
    names = {lead.lead_id: lead.name for lead in scored}
    others = sorted(set(lead_ids) - names.keys())
    if not others:
        return names
    known, now = await visit.service.store.leads(others, visit.visitor.tenant), int(time.time()) + 1
    stored = (known.rows.lead(lead_id, now) for lead_id in others)
    return names | {lead.lead_id: describe_lead(lead, now).name for lead in stored if lead is not None}


def _title(writer: RowWriter, name: str) -> str:
    """What people call an attribute of an account: as the company does, else its name made readable."""
    own = writer.names.texts.get(f"{ACCOUNT_PREFIX}{name}")
    return (own or writer.names.column(name)).render(writer.texts.lang)


def _shown(visit: Visit, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return visit.texts.number(value, 0 if float(value).is_integer() else 2)
