"""Decisions of people about leads: outcomes like those that a CRM reports, in the same log."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import RedirectResponse

from serving.console.login import next_page
from serving.console.pages import PageRefused
from serving.console.rendering import ROOT
from serving.endpoints.outcomes import record_outcomes
from serving.schemas import OutcomeRecorded

if TYPE_CHECKING:
    from starlette.responses import Response

    from serving.console.lead_lists import PersonalOutcome
    from serving.console.pages import Visit

_OUTCOMES = ("accepted", "rejected")
# Of one that is taken back twice the second time changes nothing.
_TAKEN_BACK = "-withdrawn"


async def record_decision(visit: Visit) -> Response:
    """Accept or reject a lead, with a reason. The same form sent twice counts once."""
    form, lead_id = visit.form, visit.form.get("lead_id", "")
    if form.get("outcome") not in _OUTCOMES:
        raise PageRefused(HTTPStatus.BAD_REQUEST, "console.no_form")
    await _require_lead(visit, lead_id)
    reason = form.get("reason", "").strip()
    if form["outcome"] == "rejected" and not reason:
        raise PageRefused(HTTPStatus.BAD_REQUEST, "console.reason_missing")
    report = {"outcome": form["outcome"], "reason": reason or None, "key": form.get("key", "")}
    await _record(visit, lead_id, report)
    return await _answer(visit, lead_id)


async def take_back(visit: Visit) -> Response:
    """Withdraw what a person decided about a lead: it is open again, as if nobody had decided."""
    lead_id, key = visit.form.get("lead_id", ""), visit.form.get("corrects", "")
    await _require_lead(visit, lead_id)
    lists = visit.console.lists
    decided = [] if lists is None else await lists.decided(visit.visitor.tenant, visit.model, lead_id)
    # One that is taken back already, by a second click or by a colleague, is as it should be.
    if any(outcome.key == key for outcome in decided):
        report = {
            "outcome": "withdrawn",
            "corrects": key,
            "key": f"{key[: 200 - len(_TAKEN_BACK)]}{_TAKEN_BACK}",
        }
        await _record(visit, lead_id, report)
    return await _answer(visit, lead_id)


async def just_decided(visit: Visit) -> PersonalOutcome | None:
    """What was decided about the lead that the address names as done; None where nothing was, or stands."""
    lead_id, lists = visit.query.get("done", ""), visit.console.lists
    if not lead_id or lists is None:
        return None
    decided = await lists.decided(visit.visitor.tenant, visit.model, lead_id, 1)
    return decided[0] if decided else None


async def _require_lead(visit: Visit, lead_id: str) -> None:
    scores = visit.console.scores
    if scores is None:
        raise PageRefused(HTTPStatus.NOT_IMPLEMENTED, "console.no_log")
    if await scores.find(lead_id, visit.visitor.tenant, visit.model) is None:
        raise PageRefused(HTTPStatus.NOT_FOUND, "console.no_lead")


async def _record(visit: Visit, lead_id: str, report: dict[str, Any]) -> None:
    """Log an outcome as ``POST /v1/outcomes`` would, of the model that the list is by.

    Raises PageRefused where it is none.
    """
    item = report | {"lead_id": lead_id, "occurred_at": int(time.time()), "decided_by": "person"}
    (result,) = await record_outcomes([item], visit.service.journal)
    # A second click comes a second later, and so as another outcome under the same key: the first one counts.
    if isinstance(result, OutcomeRecorded) or result.error.code == "key_conflict":
        return
    raise PageRefused(HTTPStatus.BAD_REQUEST, "console.problem", detail=result.error.message)


async def _answer(visit: Visit, lead_id: str) -> Response:
    """The lead as it is now for the script, which puts it into its page; for a browser the page again."""
    if visit.by_script:
        lists = visit.console.lists
        decided = [] if lists is None else await lists.decided(visit.visitor.tenant, visit.model, lead_id, 1)
        score = (
            None
            if visit.console.scores is None
            else await visit.console.scores.find(lead_id, visit.visitor.tenant, visit.model)
        )
        outcome = decided[0] if decided else None
        return visit.page("decision.html", outcome=outcome, score=score, here=visit.form.get("here", ROOT))
    place = urlsplit(next_page(visit.form.get("here", "")))
    query = [(name, value) for name, value in parse_qsl(place.query) if name != "done"]
    address = f"{place.path}?{urlencode([*query, ('done', lead_id)])}"
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
