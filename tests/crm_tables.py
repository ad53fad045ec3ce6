"""The history of ``crm_company`` in the real tables and columns of CRMs, and how each of them spells it.

Names of tables and columns are those that the makers document or that their open sources declare; the rows
are made. Columns that nothing is read from are there all the same, where they could be taken for something.
"""

from __future__ import annotations

import json
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import polars as pl
import polars.selectors as cs
from crm_company import (
    CAMPAIGNS,
    COUNTRIES,
    INDUSTRIES,
    JOBS,
    MEDIA,
    SOURCES,
    Event,
    Spelling,
    renamed,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_company import Company, Lead

Tables = dict[str, pl.DataFrame]


_NUMBERED = (
    "mail_message",
    "mail_tracking_value",
    "mail_activity",
    "deals_flow_deal_change",
    "activities",
    "task",
)


class _Rows:
    """Tables that grow row by row; a row may leave columns out."""

    def __init__(self) -> None:
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, table: str, **cells: Any) -> int:
        """Add a row and give the number of rows that there are now, its ``id`` where it names none."""
        rows = self._rows.setdefault(table, [])
        rows.append({"id": len(rows) + 1} | cells if table in _NUMBERED else cells)
        return len(rows)

    def frames(self) -> Tables:
        """The tables, with times in UTC as databases keep them that know no zone."""
        return {
            name: pl.DataFrame([_naive(row) for row in rows], infer_schema_length=None)
            for name, rows in self._rows.items()
        }


def _naive(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.replace(tzinfo=None) if isinstance(v, datetime) else v for k, v in row.items()}


def _of(number: int | None, step: int = 1) -> int | None:
    return None if number is None else number + step


def _uuid(kind: str, number: int) -> str:
    return str(uuid5(NAMESPACE_OID, f"{kind} {number}"))


# --- Odoo 17 on PostgreSQL. Columns: odoo/odoo, addons/crm/models/crm_lead.py, addons/utm/models and
# addons/mail/models (mail_message, mail_tracking_value, mail_activity); translated names are jsonb since 16.

ODOO_STAGES = {"qualified": "Qualified", "won": "Won", "lost": "lost", "reopened": "restored"}
ODOO = Spelling(
    lead_id=lambda lead: str(lead.number),
    kinds={"call": "Call", "meeting": "Meeting", "email_sent": "Email", "email_received": "email_received"},
    stages=renamed(ODOO_STAGES),
    attributes={
        "source_id": lambda lead: word(SOURCES, lead.source),
        "medium_id": lambda lead: word(MEDIA, lead.medium),
        "campaign_id": lambda lead: word(CAMPAIGNS, lead.campaign),
        "country_id": lambda lead: word(COUNTRIES, lead.country),
        "function": lambda lead: word(JOBS, lead.job),
        "email_from": lambda lead: lead.email,
    },
    account_id=lambda lead: None if lead.company is None else f"Firma {lead.company}",
    amounts="expected_revenue",
)
_ODOO_FIELDS = {10: "stage_id", 11: "user_id", 12: "active", 13: "expected_revenue", 14: "lost_reason_id"}
_ODOO_STAGE_IDS = {"qualified": 2, "won": 4}
_ODOO_ACTIVITIES = {"email_sent": 1, "call": 2, "meeting": 3}
_DISCUSSIONS, _NOTE, _ACTIVITIES = 1, 2, 3


def odoo_tables(company: Company) -> Tables:
    """The tables of Odoo 17: stages in ``mail_tracking_value``, dated by ``mail_message``."""
    rows = _Rows()
    for number, name in enumerate(("New", "Qualified", "Proposition", "Won"), 1):
        rows.add(
            "crm_stage",
            id=number,
            sequence=number * 10,
            name=_in_odoo(name),
            is_won=name == "Won",
            fold=False,
        )
    for number, name in _ODOO_FIELDS.items():
        rows.add(
            "ir_model_fields",
            id=number,
            name=name,
            model="crm.lead",
            field_description=_in_odoo(name.title()),
        )
    rows.add(
        "ir_model_fields", id=20, name="stage_id", model="project.task", field_description=_in_odoo("Stage")
    )
    for number, name in enumerate(("Discussions", "Note", "Activities"), 1):
        rows.add(
            "mail_message_subtype",
            id=number,
            name=_in_odoo(name),
            res_model=None,
            internal=name != "Discussions",
        )
    for number, name in enumerate(("Email", "Call", "Meeting", "To-Do"), 1):
        rows.add("mail_activity_type", id=number, name=_in_odoo(name), category="default", res_model=None)
    for table, words in (("utm_source", SOURCES), ("utm_medium", MEDIA)):
        for number, name in enumerate(words, 1):
            rows.add(table, id=number, name=name, active=True)
    for number, name in enumerate(CAMPAIGNS, 1):
        rows.add("utm_campaign", id=number, name=f"{name} [{number}]", title=_in_odoo(name), user_id=2)
    for number, name in enumerate(COUNTRIES, 1):
        rows.add("res_country", id=number, code=name[:2].upper(), name=_in_odoo(name))
    for number, name in enumerate(("Too expensive", "No answer"), 1):
        rows.add("crm_lost_reason", id=number, name=_in_odoo(name), active=True)
    for number, name in enumerate(("Product", "Software", "Training"), 1):
        rows.add("crm_tag", id=number, name=_in_odoo(name), color=number)
    for lead in company.leads:
        if not lead.deleted:
            _add_odoo_lead(rows, lead)
    return rows.frames()


def _in_odoo(name: str) -> str:
    return json.dumps({"en_US": name, "de_DE": f"{name} (de)"})


def _add_odoo_lead(rows: _Rows, lead: Lead) -> None:
    last = lead.stages[-1][1] if lead.stages else lead.created
    stage = next((_ODOO_STAGE_IDS[name] for name, _ in reversed(lead.stages) if name in _ODOO_STAGE_IDS), 1)
    rows.add(
        "crm_lead",
        id=lead.number,
        name=f"Opportunity {lead.number}",
        type="opportunity" if lead.stages else "lead",
        active=lead.stage != "lost",
        stage_id=stage,
        user_id=2 + lead.number % 3,
        team_id=1,
        partner_id=700 + lead.number if lead.stages else None,
        partner_name=ODOO.account_id(lead) if ODOO.account_id else None,
        contact_name=f"Person {lead.number}",
        email_from=lead.email,
        function=word(JOBS, lead.job),
        country_id=lead.country + 1,
        source_id=_of(lead.source),
        medium_id=lead.medium + 1,
        campaign_id=_of(lead.campaign),
        lost_reason_id=1 if lead.stage == "lost" else None,
        priority=str(lead.number % 3),
        probability={"won": 100.0, "lost": 0.0}.get(lead.stage, 20.0),
        automated_probability=20.0,
        expected_revenue=lead.amounts[-1][1] if lead.amounts else 0.0,
        create_date=lead.created,
        write_date=last + timedelta(days=1),
        date_open=lead.created,
        date_closed=last if lead.stage in {"won", "lost"} else None,
        date_conversion=lead.stages[0][1] if lead.stages else None,
        date_last_stage_update=last,
        day_close=float((last - lead.created).days) if lead.stage == "won" else None,
        message_bounce=0,
    )
    if lead.number % 4 == 0:
        rows.add("crm_tag_rel", lead_id=lead.number, tag_id=1 + lead.number % 3)
    before = 1
    for name, at in lead.stages:
        if name in _ODOO_STAGE_IDS:
            after = _ODOO_STAGE_IDS[name]
            _track(rows, lead, at, 10, old_value_integer=before, new_value_integer=after)
            before = after
        else:
            message = _track(
                rows,
                lead,
                at,
                12,
                old_value_integer=int(name == "lost"),
                new_value_integer=int(name != "lost"),
            )
            if name == "lost":
                _add_tracking(rows, message, 14, new_value_integer=1, new_value_char="Too expensive")
    _track(rows, lead, lead.created + timedelta(minutes=5), 11, old_value_integer=0, new_value_integer=2)
    for at, value in lead.amounts:
        _track(rows, lead, at, 13, old_value_float=0.0, new_value_float=value)
    for event in lead.events:
        _add_odoo_event(rows, lead, event)
    _add_message(rows, lead.number, lead.created, message_type="comment", subtype_id=_NOTE)
    _add_message(
        rows, lead.number, lead.created, message_type="comment", subtype_id=_DISCUSSIONS, model="res.partner"
    )
    task = _add_message(
        rows, lead.number, last, message_type="notification", subtype_id=_NOTE, model="project.task"
    )
    _add_tracking(rows, task, 20, old_value_integer=1, new_value_integer=4)


def _add_odoo_event(rows: _Rows, lead: Lead, event: Event) -> None:
    if not event.done:
        rows.add(
            "mail_activity",
            res_model="crm.lead",
            res_id=lead.number,
            activity_type_id=_ODOO_ACTIVITIES[event.kind],
            date_deadline=event.at.date(),
            create_date=lead.created,
        )
    elif event.kind == "email_received":
        _add_message(rows, lead.number, event.at, message_type="email", subtype_id=_DISCUSSIONS)
    elif event.kind in _ODOO_ACTIVITIES:
        kind = _ODOO_ACTIVITIES[event.kind]
        _add_message(
            rows,
            lead.number,
            event.at,
            message_type="notification",
            subtype_id=_ACTIVITIES,
            mail_activity_type_id=kind,
        )


def _add_message(rows: _Rows, lead: int, at: datetime, *, model: str = "crm.lead", **cells: Any) -> int:
    return rows.add("mail_message", model=model, res_id=lead, date=at, create_date=at, **cells)


def _track(rows: _Rows, lead: Lead, at: datetime, field: int, **values: Any) -> int:
    message = _add_message(rows, lead.number, at, message_type="notification", subtype_id=_NOTE)
    _add_tracking(rows, message, field, **values)
    return message


def _add_tracking(rows: _Rows, message: int, field: int, **values: Any) -> None:
    rows.add("mail_tracking_value", field_id=field, mail_message_id=message, **values)


# --- SuiteCRM 7 on MariaDB. Columns: salesagility/SuiteCRM, modules/*/vardefs.php of Leads, Calls, Meetings,
# Emails and CampaignLog, and metadata/ (audit_template, calls_leads, meetings_leads, emails_beans).

SUITECRM_STAGES = {"qualified": "In Process", "won": "Converted", "lost": "Dead", "reopened": "Recycled"}
_SUITE_EMAILS = {"email_sent": "out", "email_received": "inbound"}
_SUITE_CAMPAIGN_LOG = {"email_open": "viewed", "email_click": "link"}
SUITECRM = Spelling(
    lead_id=lambda lead: _uuid("lead", lead.number),
    kinds={"call": "call", "meeting": "meeting"} | _SUITE_EMAILS | _SUITE_CAMPAIGN_LOG,
    stages=renamed(SUITECRM_STAGES),
    attributes={
        "lead_source": lambda lead: word(SOURCES, lead.source),
        "campaign_id": lambda lead: word(CAMPAIGNS, lead.campaign),
        "primary_address_country": lambda lead: word(COUNTRIES, lead.country),
        "title": lambda lead: word(JOBS, lead.job),
    },
    account_id=lambda lead: None if lead.company is None else f"Firma {lead.company}",
    amounts="opportunity_amount",
    campaigns=("email_open", "email_click"),
)


def suitecrm_tables(company: Company) -> Tables:
    """The tables of SuiteCRM: each status in ``leads_audit``, links to activities, deleted rows flagged."""
    rows = _Rows()
    for number, name in enumerate(CAMPAIGNS):
        rows.add(
            "campaigns",
            id=_uuid("campaign", number),
            name=name,
            campaign_type="Email",
            status="Active",
            deleted=0,
        )
    for number in range(len(company.industries)):
        rows.add(
            "accounts",
            id=_uuid("account", number),
            name=company.company_name(number),
            account_type="Customer",
            deleted=0,
        )
    for lead in company.leads:
        _add_suitecrm_lead(rows, lead)
        status = "New"
        for name, at in lead.stages:
            _audit(rows, lead, at, "status", "enum", status, SUITECRM_STAGES[name])
            status = SUITECRM_STAGES[name]
        _audit(
            rows,
            lead,
            lead.created + timedelta(minutes=7),
            "assigned_user_id",
            "relate",
            "1",
            _uuid("user", 1),
        )
        for at, value in lead.amounts:
            _audit(rows, lead, at, "opportunity_amount", "varchar", "", str(value))
        for event in lead.events:
            _add_suitecrm_event(rows, lead, event)
    return rows.frames()


def _add_suitecrm_lead(rows: _Rows, lead: Lead) -> None:
    last = lead.stages[-1][1] if lead.stages else lead.created
    is_won = lead.stage == "won"
    rows.add(
        "leads",
        id=_uuid("lead", lead.number),
        date_entered=lead.created,
        date_modified=last + timedelta(days=2),
        created_by=_uuid("user", 1),
        description=None,
        deleted=int(lead.deleted),
        assigned_user_id=_uuid("user", lead.number % 3),
        first_name=f"A{lead.number}",
        last_name=f"B{lead.number}",
        title=word(JOBS, lead.job),
        do_not_call=0,
        phone_work=f"+49 30 {100_000 + lead.number}",
        primary_address_country=word(COUNTRIES, lead.country),
        converted=int(is_won),
        lead_source=word(SOURCES, lead.source),
        status=SUITECRM_STAGES.get(lead.stage, "New"),
        account_name=None if lead.company is None else f"Firma {lead.company}",
        contact_id=_uuid("contact", lead.number) if is_won else None,
        account_id=_uuid("account", lead.company) if is_won and lead.company is not None else None,
        opportunity_id=_uuid("opportunity", lead.number) if is_won else None,
        opportunity_amount=str(lead.amounts[-1][1]) if lead.amounts else None,
        campaign_id=None if lead.campaign is None else _uuid("campaign", lead.campaign),
    )


def _audit(rows: _Rows, lead: Lead, at: datetime, field: str, kind: str, before: str, after: str) -> None:
    rows.add(
        "leads_audit",
        id=_uuid(f"audit {field} {at}", lead.number),
        parent_id=_uuid("lead", lead.number),
        date_created=at,
        created_by=_uuid("user", 1),
        field_name=field,
        data_type=kind,
        before_value_string=before,
        after_value_string=after,
        before_value_text=None,
        after_value_text=None,
    )


def _add_suitecrm_event(rows: _Rows, lead: Lead, event: Event) -> None:
    at, person = event.at, _uuid("lead", lead.number)
    number = lead.number * 100 + lead.events.index(event)
    identity = _uuid(event.kind, number)
    if event.kind in {"call", "meeting"}:
        activity = {"call": "calls", "meeting": "meetings"}[event.kind]
        state = "Held" if event.done else "Planned"
        # Some were entered twice and deleted again; a link to a deleted one is no event.
        for copy, deleted in enumerate((0, 1) if number % 5 == 0 else (0,)):
            own = _uuid(event.kind, number + 100_000 * copy)
            rows.add(
                activity,
                id=own,
                name="Follow up",
                date_entered=lead.created,
                date_modified=at,
                deleted=deleted,
                duration_hours=0,
                duration_minutes=30,
                date_start=at,
                date_end=at + timedelta(minutes=30),
                parent_type="Leads",
                parent_id=person,
                status=state,
                **({"direction": "Outbound"} if activity == "calls" else {}),
            )
            rows.add(
                f"{activity}_leads",
                **{"id": _uuid("link", number + 100_000 * copy), f"{event.kind}_id": own},
                lead_id=person,
                required="1",
                accept_status="none",
                date_modified=at,
                deleted=0,
            )
    elif event.kind in _SUITE_EMAILS:
        kind = _SUITE_EMAILS[event.kind]
        rows.add(
            "emails", id=identity, name="Hello", date_entered=at, date_sent_received=at, type=kind,
            status="sent", parent_type="Leads", parent_id=person, deleted=0,
        )  # fmt: skip
        for module, bean in (("Leads", person), ("Users", _uuid("user", 1))):
            rows.add(
                "emails_beans", id=_uuid(f"bean {module}", number), email_id=identity, bean_id=bean,
                bean_module=module, date_modified=at, deleted=0,
            )  # fmt: skip
    else:
        for activity, target in (
            (_SUITE_CAMPAIGN_LOG[event.kind], "Leads"),
            ("targeted", "Leads"),
            ("link", "Contacts"),
        ):
            rows.add(
                "campaign_log",
                id=_uuid(f"log {activity} {target}", number),
                campaign_id=_uuid("campaign", event.campaign or 0),
                target_id=person if target == "Leads" else _uuid("contact", 9),
                target_type=target,
                activity_type=activity,
                activity_date=at,
                deleted=0,
            )


# --- Dynamics 365 Sales, as Azure Synapse Link for Dataverse (before: Export to data lake) writes it as CSV.
# Columns: Microsoft's reference of lead, activitypointer, opportunity, audit, stringmap and campaign. Lookups
# have a column ``..._entitytype`` beside them, deleted rows IsDelete, times seven digits of a second.

DYNAMICS_SOURCES = {8: "Web", 6: "Seminar", 7: "Trade Show", 3: "External Referral"}
_DYNAMICS_KINDS = {
    "call": "phonecall",
    "meeting": "appointment",
    "email_sent": "email",
    "email_received": "email",
}
_ACTIVATE, _DISQUALIFY = 4, 25


def _dynamics_stages(lead: Lead) -> list[tuple[str, datetime]]:
    """A lead that was qualified is an opportunity from then on; the close of that is dated by the day."""
    qualified = any(stage == "qualified" for stage, _ in lead.stages)
    names = {"qualified": "Qualified"} if qualified else {"lost": "Disqualified", "reopened": "Reopened"}
    result = renamed(names)(lead)
    close = {"won": "Won", "lost": "Lost"}.get(lead.stage) if qualified else None
    if close is not None:
        day = lead.stages[-1][1].date()
        result.append((close, datetime.combine(day, time(23, 59, 59), lead.created.tzinfo)))
    return result


DYNAMICS = Spelling(
    lead_id=lambda lead: _uuid("lead", lead.number),
    kinds=_DYNAMICS_KINDS,
    stages=_dynamics_stages,
    attributes={
        "leadsourcecode": lambda lead: word(tuple(DYNAMICS_SOURCES.values()), lead.source),
        "campaignid": lambda lead: word(CAMPAIGNS, lead.campaign),
        "address1_country": lambda lead: word(COUNTRIES, lead.country),
        "jobtitle": lambda lead: word(JOBS, lead.job),
        "emailaddress1": lambda lead: lead.email,
    },
    account_id=lambda lead: None if lead.company is None else f"Firma {lead.company}",
)


def dynamics_tables(company: Company) -> Tables:
    """The tables of Dynamics 365: ``stringmap``, opportunities with ``originatingleadid``, an audit."""
    rows = _Rows()
    for number, name in enumerate(CAMPAIGNS):
        rows.add("campaign", campaignid=_uuid("campaign", number), name=name, typecode=3, IsDelete=None)
    options = [("lead", "leadsourcecode", code, name) for code, name in DYNAMICS_SOURCES.items()]
    options += [("lead", "industrycode", code, f"Industry {code}") for code in DYNAMICS_SOURCES]
    options += [("opportunity", "leadsourcecode", code, f"Other {code}") for code in DYNAMICS_SOURCES]
    for table, column, code, name in options:
        for language, label in ((1033, name), (1031, f"{name} (de)")):
            rows.add(
                "stringmap", stringmapid=_uuid(f"{table} {column} {language}", code), objecttypecode=table,
                attributename=column, attributevalue=code, langid=language, value=label, displayorder=code,
            )  # fmt: skip
    for lead in company.leads:
        _add_dynamics_lead(rows, lead)
        _add_opportunity(rows, lead)
        for name, at in _dynamics_stages(lead):
            action = {"Disqualified": _DISQUALIFY, "Reopened": _ACTIVATE}.get(name)
            if action is not None:
                _add_dynamics_audit(rows, lead, at, action)
        _add_dynamics_audit(rows, lead, lead.created, 1)
        for event in lead.events:
            if event.kind in _DYNAMICS_KINDS:
                _add_activity(rows, event, "lead", _uuid("lead", lead.number))
        if lead.number % 3 == 0 and lead.events:
            _add_activity(rows, lead.events[0], "account", _uuid("account", 1))
    return rows.frames()


def _export_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def _sink_time(moment: datetime) -> str:
    return moment.strftime("%-m/%-d/%Y %-I:%M:%S %p")


def _add_dynamics_lead(rows: _Rows, lead: Lead) -> None:
    qualified = any(stage == "qualified" for stage, _ in lead.stages)
    last = lead.stages[-1][1] if lead.stages else lead.created
    state = 1 if qualified else 2 if lead.stage == "lost" else 0
    rows.add(
        "lead",
        Id=_uuid("lead", lead.number),
        SinkCreatedOn=_sink_time(lead.created),
        SinkModifiedOn=_sink_time(last),
        IsDelete="True" if lead.deleted else None,
        leadid=_uuid("lead", lead.number),
        createdon=_export_time(lead.created),
        modifiedon=_export_time(last + timedelta(days=1)),
        subject="Request",
        fullname=f"A{lead.number} B{lead.number}",
        companyname=None if lead.company is None else f"Firma {lead.company}",
        jobtitle=word(JOBS, lead.job),
        emailaddress1=lead.email,
        leadsourcecode=None if lead.source is None else list(DYNAMICS_SOURCES)[lead.source],
        leadqualitycode=1 + lead.number % 3,
        industrycode=None,
        address1_country=word(COUNTRIES, lead.country),
        campaignid=None if lead.campaign is None else _uuid("campaign", lead.campaign),
        campaignid_entitytype=None if lead.campaign is None else "campaign",
        ownerid=_uuid("user", lead.number % 3),
        ownerid_entitytype="systemuser",
        statecode=state,
        statuscode=(1, 3, 4)[state],
        qualifyingopportunityid=_uuid("opportunity", lead.number) if qualified else None,
        parentaccountid=_uuid("account", 1) if qualified else None,
        merged="False",
        masterid=None,
    )


def _add_opportunity(rows: _Rows, lead: Lead) -> None:
    created = next((at for stage, at in lead.stages if stage == "qualified"), None)
    if created is None:
        return
    state = {"won": 1, "lost": 2}.get(lead.stage, 0)
    rows.add(
        "opportunity",
        Id=_uuid("opportunity", lead.number),
        IsDelete=None,
        opportunityid=_uuid("opportunity", lead.number),
        originatingleadid=_uuid("lead", lead.number),
        createdon=_export_time(created),
        actualclosedate=lead.stages[-1][1].date().isoformat() if state else None,
        estimatedclosedate=(created + timedelta(days=60)).date().isoformat(),
        actualvalue=1000.0 if state == 1 else None,
        statecode=state,
        statuscode=(1, 3, 4)[state],
    )


def _add_dynamics_audit(rows: _Rows, lead: Lead, at: datetime, action: int) -> None:
    rows.add(
        "audit",
        auditid=_uuid(f"audit {action} {at}", lead.number),
        objectid=_uuid("lead", lead.number),
        objecttypecode="lead",
        operation=1 if action == 1 else 2,
        action=action,
        attributemask=None,
        changedata='{"changedAttributes":[{"logicalName":"statecode","oldValue":"0","newValue":"2"}]}',
        createdon=_export_time(at),
    )


def _add_activity(rows: _Rows, event: Event, table: str, regarding: str) -> None:
    kind = _DYNAMICS_KINDS.get(event.kind, "task")
    rows.add(
        "activitypointer",
        activityid=_uuid(f"activity {table} {regarding} {kind}", int(event.at.timestamp())),
        activitytypecode=kind,
        subject="Follow up",
        regardingobjectid=regarding,
        regardingobjectid_entitytype=table,
        createdon=_export_time(event.at - timedelta(days=2)),
        scheduledstart=_export_time(event.at),
        scheduledend=_export_time(event.at + timedelta(minutes=30)),
        actualend=_export_time(event.at) if event.done else None,
        statecode=1 if event.done else 0,
        statuscode=2 if event.done else 1,
        IsDelete=None,
    )


# --- Pipedrive, loaded by dlt's verified source into DuckDB. Tables and columns: dlt-hub/verified-sources,
# sources/pipedrive, and dlt-hub/dbt-dlt-pipedrive, models/staging; custom fields are called by their names.

PIPEDRIVE_STAGES = {"qualified": "Qualified", "won": "won", "lost": "lost", "reopened": "open"}
_PIPEDRIVE_KINDS = {"call": "call", "meeting": "meeting", "email_sent": "email", "email_received": "email"}
PIPEDRIVE = Spelling(
    lead_id=lambda lead: str(lead.number),
    kinds=_PIPEDRIVE_KINDS,
    stages=renamed(PIPEDRIVE_STAGES),
    attributes={
        "origin": lambda lead: word(SOURCES, lead.source),
        "country": lambda lead: word(COUNTRIES, lead.country),
        "job_title": lambda lead: word(JOBS, lead.job),
    },
    account_id=lambda lead: None if lead.company is None else str(lead.company),
    accounts={},
    amounts="value",
)


def pipedrive_spelling(company: Company) -> Spelling:
    """How Pipedrive spells a company, with its organizations as accounts."""
    own = {
        "industry": lambda number: word(INDUSTRIES, company.industries[number]),
        "employee_count": lambda number: company.employees[number],
    }
    return Spelling(**{**vars(PIPEDRIVE), "accounts": own})


def pipedrive_tables(company: Company) -> Tables:
    """The tables that dlt makes of Pipedrive: each change of a deal in ``deals_flow_deal_change``."""
    rows = _Rows()
    for number, name in enumerate(("New", "Qualified", "Proposal"), 1):
        rows.add(
            "stages",
            id=number,
            order_nr=number,
            name=name,
            pipeline_id=1,
            pipeline_name="Sales",
            active_flag=True,
        )
    for number, industry in enumerate(company.industries):
        rows.add(
            "organizations", id=number, name=company.company_name(number), industry=INDUSTRIES[industry],
            employee_count=company.employees[number], won_deals_count=number % 2, active_flag=True,
            _dlt_load_id="1.0",
        )  # fmt: skip
    for lead in company.leads:
        _add_deal(rows, lead)
        for name, at in lead.stages:
            _change(
                rows,
                lead,
                at,
                *(("stage_id", "2") if name == "qualified" else ("status", PIPEDRIVE_STAGES[name])),
            )
        _change(rows, lead, lead.created, "user_id", "77")
        for at, value in lead.amounts:
            _change(rows, lead, at, "value", str(value))
        for event in lead.events:
            if event.kind in _PIPEDRIVE_KINDS:
                _add_pipedrive_activity(rows, lead, event, deal=lead.number)
        if lead.number % 2 and lead.events:  # an activity of a person alone
            _add_pipedrive_activity(rows, lead, lead.events[0], deal=None)
    in_utc = cs.datetime().dt.replace_time_zone("UTC")
    return {f"pipedrive_data.{name}": frame.with_columns(in_utc) for name, frame in rows.frames().items()}


def _add_deal(rows: _Rows, lead: Lead) -> None:
    last = lead.stages[-1][1] if lead.stages else lead.created
    rows.add(
        "persons",
        id=3000 + lead.number,
        name=f"P {lead.number}",
        job_title=word(JOBS, lead.job),
        active_flag=True,
    )
    rows.add(
        "deals",
        id=lead.number,
        user_id=77,
        person_id=3000 + lead.number,
        org_id=lead.company,
        stage_id=2 if any(stage == "qualified" for stage, _ in lead.stages) else 1,
        title=f"Deal {lead.number}",
        value=lead.amounts[-1][1] if lead.amounts else 0.0,
        currency="EUR",
        add_time=lead.created,
        update_time=last + timedelta(days=1),
        stage_change_time=last,
        active=lead.stage not in {"won", "lost"},
        deleted=lead.deleted,
        status=lead.stage if lead.stage in {"won", "lost"} else "open",
        won_time=lead.won_at,
        lost_time=last if lead.stage == "lost" else None,
        lost_reason="Price" if lead.stage == "lost" else None,
        close_time=last if lead.stage in {"won", "lost"} else None,
        pipeline_id=1,
        activities_count=len(lead.events),
        origin=word(SOURCES, lead.source),
        country=word(COUNTRIES, lead.country),
        _dlt_load_id="1.0",
        _dlt_id=f"d{lead.number}",
    )


def _change(rows: _Rows, lead: Lead, at: datetime, field: str, value: str) -> None:
    rows.add(
        "deals_flow_deal_change",
        item_id=lead.number,
        user_id=77,
        field_key=field,
        old_value=None,
        new_value=value,
        log_time=at,
        timestamp=at,
        change_source="app",
        _dlt_load_id="1.0",
    )


def _add_pipedrive_activity(rows: _Rows, lead: Lead, event: Event, deal: int | None) -> None:
    rows.add(
        "activities",
        type=_PIPEDRIVE_KINDS.get(event.kind, "task"),
        subject="Follow up",
        done=event.done,
        due_date=event.at.date(),
        due_time="09:00",
        duration="00:30",
        add_time=event.at - timedelta(days=1),
        marked_as_done_time=event.at if event.done else None,
        deal_id=deal,
        person_id=3000 + lead.number,
        org_id=lead.company,
        active_flag=True,
        _dlt_load_id="1.0",
    )


# --- Salesforce in the tables of Fivetran's connector. Columns: fivetran/dbt_salesforce_source, and the
# object reference. On conversion Salesforce moves the tasks of a lead to the contact that it became.

SALESFORCE_STAGES = {
    "qualified": "Working - Contacted",
    "won": "Closed - Converted",
    "lost": "Closed - Not Converted",
    "reopened": "Reopened",
}
_SALESFORCE_KINDS = {"call": "Call", "meeting": "Task", "email_sent": "Email", "email_received": "Email"}
SALESFORCE = Spelling(
    lead_id=lambda lead: _salesforce_id("00Q", lead.number),
    kinds=_SALESFORCE_KINDS,
    stages=renamed(SALESFORCE_STAGES),
    attributes={
        "lead_source": lambda lead: word(SOURCES, lead.source),
        "country": lambda lead: word(COUNTRIES, lead.country),
        "title": lambda lead: word(JOBS, lead.job),
        "email": lambda lead: lead.email,
    },
)


def _salesforce_id(kind: str, number: int) -> str:
    return f"{kind}5f00000{number:06d}AAA"


def salesforce_tables(
    company: Company, moved: Callable[[Lead], bool] = lambda _: True, others: int = 0
) -> Tables:
    """The tables of Salesforce; the tasks of a converted lead for which ``moved`` holds are its contact's.

    So many ``others`` are tasks of contacts that never were leads.
    """
    rows = _Rows()
    for lead in company.leads:
        _add_salesforce_lead(rows, lead)
        status = "Open - Not Contacted"
        for name, at in lead.stages:
            _add_field_change(rows, lead, at, "Status", status, SALESFORCE_STAGES[name])
            status = SALESFORCE_STAGES[name]
        _add_field_change(rows, lead, lead.created + timedelta(hours=1), "Owner", "Queue", "Rep")
        is_contact = lead.stage == "won" and moved(lead)
        for event in lead.events:
            if event.done and event.kind in _SALESFORCE_KINDS:
                _add_task(rows, event, _salesforce_id("003" if is_contact else "00Q", lead.number))
    for number in range(others):
        _add_task(rows, Event("call", company.leads[0].created), _salesforce_id("003", 900_000 + number))
    return {f"salesforce.{name}": frame for name, frame in rows.frames().items()}


def _add_salesforce_lead(rows: _Rows, lead: Lead) -> None:
    won = lead.won_at
    rows.add(
        "lead",
        id=_salesforce_id("00Q", lead.number),
        is_deleted=lead.deleted,
        master_record_id=None,
        last_name=f"B{lead.number}",
        title=word(JOBS, lead.job),
        country=word(COUNTRIES, lead.country),
        email=lead.email,
        lead_source=word(SOURCES, lead.source),
        status=SALESFORCE_STAGES.get(lead.stage, "Open - Not Contacted"),
        owner_id=_salesforce_id("005", lead.number % 3),
        is_converted=lead.stage == "won",
        converted_date=won.date() if won else None,
        converted_contact_id=_salesforce_id("003", lead.number) if won else None,
        converted_account_id=_salesforce_id("001", lead.number) if won else None,
        created_date=lead.created,
        last_modified_date=lead.stages[-1][1] if lead.stages else lead.created,
        _fivetran_synced=lead.created + timedelta(days=400),
    )


def _add_field_change(rows: _Rows, lead: Lead, at: datetime, field: str, old: str, new: str) -> None:
    rows.add(
        "lead_history",
        lead_id=_salesforce_id("00Q", lead.number),
        is_deleted=False,
        created_date=at,
        field=field,
        old_value=old,
        new_value=new,
    )


def _add_task(rows: _Rows, event: Event, who: str) -> None:
    rows.add(
        "task",
        who_id=who,
        what_id=None,
        subject=_SALESFORCE_KINDS[event.kind],
        activity_date=event.at.date(),
        status="Completed",
        task_subtype=_SALESFORCE_KINDS[event.kind],
        is_deleted=False,
        is_closed=True,
        created_date=event.at,
    )
