"""The history of ``crm_company`` in exports and tables of further products, most of them without a recipe.

The headings of Pipedrive's exports are those that people's scripts for real files name; the columns of
Marketo and Pardot are those of Fivetran's own models, and Close's are its API's with the stamps of Airbyte.
"""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from crm_company import COUNTRIES, JOBS, SOURCES, Spelling, renamed, word

if TYPE_CHECKING:
    from crm_company import Company, Lead

_YEAR = timedelta(days=365)
Tables = dict[str, pl.DataFrame]

PIPEDRIVE_EXPORTS: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "pipedrive_headings.toml").read_text("utf-8")
)
LATE_COLUMNS = [
    "owner",
    "value",
    "weighted",
    "probability",
    "stage",
    "reason",
    "total",
    "done",
    "todo",
    "messages",
]
HONEST_COLUMNS = ("source", "job", "staff")


def deal_headings(language: str) -> dict[str, str]:
    """The headings of the export of deals in a language, by what they hold."""
    export = PIPEDRIVE_EXPORTS[language]
    return {name: f"{export['deal']} - {heading}" for name, heading in export["columns"].items()}


def pipedrive_spelling(language: str) -> Spelling:
    """What the export holds of a company's history: the last end of each deal."""
    words = PIPEDRIVE_EXPORTS[language]["words"]
    return Spelling(
        lead_id=lambda lead: str(lead.number),
        kinds={},
        stages=lambda lead: [(words[lead.stage], lead.stages[-1][1])] if lead.stage in words else [],
        attributes={},
    )


def pipedrive_export(company: Company, language: str) -> Tables:
    """Deals and activities as Pipedrive exports them; what was deleted is not exported."""
    names = deal_headings(language)
    export = PIPEDRIVE_EXPORTS[language]
    words, (activity, kind, due, done) = export["words"], export["activity"].values()
    leads = [lead for lead in company.leads if not lead.deleted]
    rows = [{names[name]: cell for name, cell in _deal(lead, words).items()} for lead in leads]
    activities = [
        {
            f"{activity} - ID": number,
            names["id"]: lead.number,
            f"{activity} - {kind}": event.kind,
            f"{activity} - {due}": event.at.date(),
            f"{activity} - {done}": done if event.done else "-",
        }
        for number, (lead, event) in enumerate(((ld, e) for ld in leads for e in ld.events), 1)
    ]
    return {"deals": _frame(rows), "activities": _frame(activities)}


def _deal(lead: Lead, words: dict[str, str]) -> dict[str, Any]:
    last = lead.stages[-1][1] if lead.stages else lead.created
    ended, events = lead.stage in {"won", "lost"}, len(lead.events)
    return {
        "id": lead.number,
        "created": lead.created,
        "updated": last,
        "changed": last,
        "won": last if lead.stage == "won" else None,
        "lost": last if lead.stage == "lost" else None,
        "closed": last if ended else None,
        "expected": (lead.created + _YEAR).date(),
        "owner": "AB"[lead.number % 2],
        "value": 5000 if lead.stage == "won" else 0,
        "weighted": 5000 if lead.stage == "won" else 0,
        "probability": {"won": 100, "lost": 0}.get(lead.stage, 20),
        "stage": "Proposal" if lead.stages else "New",
        "status": words[lead.stage if ended else "open"],
        "reason": ("Price", "Silence")[lead.number % 2] if lead.stage == "lost" else None,
        "total": events,
        "done": sum(event.done for event in lead.events),
        "todo": sum(not event.done for event in lead.events),
        "messages": sum("email" in event.kind for event in lead.events),
        "person_id": 9000 + lead.number % 50,
        "company": lead.company,
        "source": word(SOURCES, lead.source),
        "job": word(JOBS, lead.job),
        "staff": 10 + lead.number % 90,
    }


MARKETO_STAGES = {"qualified": "MQL", "won": "SQL", "lost": "Disqualified", "reopened": "Known"}
MARKETO = Spelling(
    lead_id=lambda lead: str(100_000 + lead.number),
    kinds={"email_open": "email_open", "email_click": "email_click", "call": "call"},
    stages=renamed(MARKETO_STAGES),
    attributes={},
)
_MARKETO_EVENTS = {"email_open": "activity_open_email", "email_click": "activity_click_email"}


def marketo_tables(company: Company) -> Tables:
    """A table for each kind of activity, all numbered alike; the changes of all fields in one of them."""
    tables: dict[str, list[dict[str, Any]]] = {"lead": [], "campaign": [{"id": 1, "name": "C"}]}
    for lead in company.leads:
        number = 100_000 + lead.number
        if lead.deleted:
            continue
        tables["lead"].append(
            {
                "id": number,
                "_fivetran_synced": lead.created + _YEAR,
                "created_at": lead.created,
                "updated_at": lead.created + _YEAR,
                "lead_source": word(SOURCES, lead.source),
                "country": word(COUNTRIES, lead.country),
                "lead_status": MARKETO_STAGES.get(lead.stage, "Known"),
            }
        )
        changes = [(MARKETO_STAGES[name], at, "Lead Status") for name, at in lead.stages]
        for value, at, field in [*changes, ("x", lead.created, "Company Name")]:
            _add_activity(
                tables, "activity_change_data_value", number, at,
                primary_attribute_value=field, old_value="Known", new_value=value,
            )  # fmt: skip
        for event in lead.events:
            if event.kind in _MARKETO_EVENTS and event.done:
                _add_activity(tables, _MARKETO_EVENTS[event.kind], number, event.at, device="unknown")
    return {f"marketo.{name}": _frame(rows) for name, rows in tables.items()}


def _add_activity(tables: dict[str, Any], table: str, lead: int, at: Any, **cells: Any) -> None:
    rows = tables.setdefault(table, [])
    number = sum(map(len, tables.values()))
    rows.append(
        {"id": number, "activity_date": at, "activity_type_id": 9, "campaign_id": number % 3, "lead_id": lead}
        | cells
    )  # fmt: skip


CLOSE_STAGES = {"qualified": "Interested", "won": "Qualified", "lost": "Bad Fit", "reopened": "Potential"}
CLOSE = Spelling(
    lead_id=lambda lead: f"lead_{lead.number:05d}",
    kinds={"call": "call_activities", "meeting": "meeting_activities"},
    stages=renamed(CLOSE_STAGES),
    attributes={},
)


def close_tables(company: Company) -> Tables:
    """Leads with documents in their cells, and the changes of their status with both labels."""
    tables: dict[str, list[dict[str, Any]]] = {
        "leads": [], "lead_status_change_activities": [], "call_activities": [], "meeting_activities": [],
        "users": [{"id": "user_1", "date_created": company.leads[0].created, "_airbyte_raw_id": "u"}],
    }  # fmt: skip

    def add(table: str, **cells: Any) -> None:
        # A stamp that a second table holds, too: as a key it would join rows that have nothing in common.
        tables[table].append({"_airbyte_raw_id": f"r{len(tables[table])}"} | cells)

    for lead in company.leads:
        if lead.deleted:
            continue
        key, before = f"lead_{lead.number:05d}", "Potential"
        add(
            "leads", id=key, date_created=lead.created, date_updated=lead.created + _YEAR,
            status_label=CLOSE_STAGES.get(lead.stage, "Potential"), created_by="user_1",
            opportunities=json.dumps([{"value": 5000}] if lead.won_at else []),
            custom=json.dumps({"Source": word(SOURCES, lead.source), "Job": word(JOBS, lead.job)}),
        )  # fmt: skip
        for name, at in lead.stages:
            label = CLOSE_STAGES[name]
            add(
                "lead_status_change_activities", id=f"acti_s{key}{at}", lead_id=key, old_status_label=before,
                new_status_id=f"stat_{label}", new_status_label=label, date_created=at, date_updated=at,
            )  # fmt: skip
            before = label
        for event in lead.events:
            if event.kind in {"call", "meeting"} and event.done:
                table = f"{event.kind}_activities"
                add(
                    table,
                    id=f"acti_{len(tables[table])}",
                    lead_id=key,
                    date_created=event.at,
                    user_id="user_1",
                )
    return {f"close.{name}": _frame(rows) for name, rows in tables.items()}


VTIGER_STAGES = {
    "qualified": "Contacted",
    "won": "Qualified",
    "lost": "Lost Lead",
    "reopened": "Not Contacted",
}
VTIGER = Spelling(
    lead_id=lambda lead: str(1000 + lead.number),
    kinds={"call": "Call", "meeting": "Meeting"},
    stages=renamed(VTIGER_STAGES),
    attributes={},
)


def vtiger_tables(company: Company) -> Tables:
    """Leads, activities and all else numbered alike in one table that says when they were created."""
    tables: dict[str, list[dict[str, Any]]] = {}

    def add(table: str, **cells: Any) -> int:
        rows = tables.setdefault(f"vtiger_{table}", [])
        rows.append(cells)
        return len(rows)

    def track(number: int, at: Any, field: str, value: str) -> None:
        change = len(tables.get("vtiger_modtracker_basic", ())) + 1
        add("modtracker_basic", id=change, crmid=number, module="Leads", whodid=1, changedon=at, status=0)
        add("modtracker_detail", id=change, fieldname=field, prevalue=None, postvalue=value)

    for lead in company.leads:
        number, last = 1000 + lead.number, lead.created + _YEAR
        add(
            "crmentity", crmid=number, setype="Leads", smownerid=5, createdtime=lead.created,
            modifiedtime=last, deleted=int(lead.deleted),
        )  # fmt: skip
        add("leaddetails", leadid=number, leadstatus=VTIGER_STAGES.get(lead.stage), converted=0,
            company=None if lead.company is None else f"Firma {lead.company}",
            leadsource=word(SOURCES, lead.source))  # fmt: skip
        add("leadaddress", leadaddressid=number, country=word(COUNTRIES, lead.country))
        track(number, lead.created, "assigned_user_id", "5")
        for name, at in lead.stages:
            track(number, at, "leadstatus", VTIGER_STAGES[name])
        for event in lead.events:
            if event.kind in VTIGER.kinds:
                activity = 500_000 + add("activity_numbers", number=0)
                add("crmentity", crmid=activity, setype="Calendar", smownerid=5, createdtime=event.at,
                    modifiedtime=last, deleted=0)  # fmt: skip
                add("activity", activityid=activity, activitytype=VTIGER.kinds[event.kind],
                    date_start=event.at.date(), eventstatus="Held" if event.done else "Planned",
                    status=None)  # fmt: skip
                add("seactivityrel", crmid=number, activityid=activity)
    del tables["vtiger_activity_numbers"]
    return {name: _frame(rows) for name, rows in tables.items()}


PARDOT = Spelling(
    lead_id=lambda lead: str(402_000_000 + lead.number),
    kinds={"email_open": "email_open", "email_click": "email_click"},
    stages=lambda lead: [("Opportunity", lead.won_at)] if lead.won_at else [],
    attributes={},
)
_PARDOT_TYPES = {"email_open": 11, "email_click": 1, "email_sent": 6}


def pardot_tables(company: Company) -> Tables:
    """Prospects, what visitors did, known or not, and opportunities that a third table links with them."""
    tables: dict[str, list[dict[str, Any]]] = {
        "prospect": [], "visitor_activity": [], "opportunity": [], "opportunity_prospect": [],
        "campaign": [{"id": 7, "name": "C", "cost": 0}],
    }  # fmt: skip
    for lead in company.leads:
        number = 402_000_000 + lead.number
        tables["prospect"].append({
            "id": number, "created_at": lead.created, "updated_at": lead.created + _YEAR, "campaign_id": 7,
            "crm_lead_fid": f"00Q{number}", "crm_contact_fid": f"003{number}" if lead.won_at else None,
            "source": word(SOURCES, lead.source), "score": 100 if lead.won_at else 10,
            "_fivetran_deleted": lead.deleted,
        })  # fmt: skip
        for event in lead.events:
            if event.kind in _PARDOT_TYPES and event.done:
                for prospect in (number, None):  # a stranger did the same
                    tables["visitor_activity"].append({
                        "id": number, "prospect_id": prospect, "created_at": event.at,
                        "type": _PARDOT_TYPES[event.kind], "type_name": "Email", "campaign_id": 7,
                    })  # fmt: skip
        if lead.won_at:
            opportunity = len(tables["opportunity"])
            tables["opportunity"].append({
                "id": f"{opportunity}", "created_at": lead.won_at, "closed_at": lead.won_at + _YEAR,
                "status": "Open", "probability": 20,
            })  # fmt: skip
            tables["opportunity_prospect"].append(
                {"id": opportunity, "opportunity_id": f"{opportunity}", "prospect_id": number}
            )
    return {f"pardot.{name}": _frame(rows) for name, rows in tables.items()}


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.selectors.datetime().dt.replace_time_zone(None))
