"""Made rows of one company in the tables and columns that CRMs and their exports really have."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 1, tzinfo=UTC)
SOURCES = ("ORGANIC_SEARCH", "PAID_SEARCH", "OFFLINE")
TITLES = ("CEO", "Buyer", "Engineer", None)


@dataclass
class MadeLead:
    """A made-up lead and what became of it; times of the future have not come."""

    number: int
    born: datetime
    source: str
    title: str | None
    stages: dict[str, datetime] = field(default_factory=dict)
    touches: list[tuple[str, datetime]] = field(default_factory=list)
    deleted: bool = False

    @property
    def email(self):
        return f"p{self.number}@firm{self.number % 9}.example"

    @property
    def lost(self):
        return self.stages.get("lost")

    @property
    def sql(self):
        return self.stages.get("sql")


def made_leads(count=140, seed=3):
    """Leads of eleven months: who converts has done more, by and large."""
    r = random.Random(seed)  # noqa: S311
    leads = []
    for i in range(count):
        born = START + timedelta(seconds=int(i * (END - START).total_seconds() / count) + r.randrange(9000))
        lead = MadeLead(i, born, r.choice(SOURCES), r.choice(TITLES), deleted=i % 41 == 40)
        eager = r.random() < 0.45
        mql, sql = born + timedelta(days=r.uniform(0.2, 5)), born + timedelta(days=r.uniform(6, 30))
        if eager or r.random() < 0.4:
            lead.stages["mql"] = mql
        if eager:
            lead.stages |= {"sql": sql}
            if r.random() < 0.5:
                lead.stages |= {"opportunity": sql + timedelta(days=3), "customer": sql + timedelta(days=9)}
        elif r.random() < 0.7:
            lead.stages["lost"] = born + timedelta(days=r.uniform(10, 50))
        lead.stages = {stage: at for stage, at in lead.stages.items() if at < END}
        end = min(filter(None, (lead.sql, lead.lost, END)))
        for _ in range(r.choice((1, 2, 3)) + 2 * eager):
            at = born + timedelta(days=r.expovariate(1 / 9))
            if at < end:
                lead.touches.append((r.choice(("form", "open", "click", "call")), at))
        leads.append(lead)
    return leads


def stamp(moment):
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def frames(tables):
    return {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()}


LIFECYCLE = {
    "mql": "marketingqualifiedlead",
    "sql": "salesqualifiedlead",
    "opportunity": "opportunity",
    "customer": "customer",
}


def _lifecycle(lead):
    return [
        ("lead", lead.born),
        *((LIFECYCLE[s], at) for s, at in sorted(lead.stages.items(), key=lambda e: e[1]) if s in LIFECYCLE),
    ]


def hubspot_fivetran(leads, prefix=""):
    """Fivetran's tables of HubSpot; ``prefix`` is the schema."""
    names = (
        "contact",
        "contact_property_history",
        "contact_form_submission",
        "email_event",
        "engagement_contact",
        "engagement_call",
        "company",
        "contact_merge_audit",
    )
    rows = {name: [] for name in names}
    synced = stamp(END)
    for lead in leads:
        cid = 100 + lead.number
        last = _lifecycle(lead)[-1][0]
        rows["contact"].append(
            {
                "_fivetran_deleted": lead.deleted,
                "_fivetran_synced": synced,
                "id": cid,
                "property_email": lead.email,
                "property_firstname": f"A{lead.number}",
                "property_lastname": f"B{lead.number}",
                "property_createdate": stamp(lead.born),
                "property_jobtitle": lead.title,
                "property_lifecyclestage": last,
                "property_hs_analytics_source": lead.source,
                "property_hs_lead_status": "UNQUALIFIED" if lead.lost else "NEW",
                "property_associatedcompanyid": 5000 + lead.number % 9,
                "property_num_conversion_events": 1 + 5 * bool(lead.sql),
                "property_hubspot_owner_id": 77 + lead.number % 3 if lead.sql else None,
                "property_recent_deal_amount": 5000.0 if lead.sql else None,
                "property_notes_last_contacted": stamp(END),
            }
        )
        history = [("lifecyclestage", stage, at) for stage, at in _lifecycle(lead)]
        history += [("hs_lead_status", "NEW", lead.born + timedelta(hours=2))]
        history += [("hs_lead_status", "UNQUALIFIED", lead.lost)] if lead.lost else []
        history += [("jobtitle", lead.title, lead.born)] if lead.title else []
        history += [("hubspot_owner_id", "77", lead.sql)] if lead.sql else []
        rows["contact_property_history"] += [
            {
                "_fivetran_synced": synced,
                "contact_id": cid,
                "name": n,
                "source": "X",
                "timestamp": stamp(t),
                "value": v,
            }
            for n, v, t in history
        ]
        for kind, at in lead.touches:
            number = sum(map(len, rows.values()))
            if kind == "form":
                rows["contact_form_submission"].append(
                    {
                        "timestamp": stamp(at),
                        "form_id": "f",
                        "contact_id": cid,
                        "conversion_id": f"c{number}",
                        "title": "Whitepaper",
                    }
                )
            elif kind == "call":
                rows["engagement_contact"].append(
                    {"contact_id": cid, "engagement_id": number, "engagement_type": "CALL"}
                )
                rows["engagement_call"].append(
                    {"_fivetran_synced": synced, "engagement_id": number, "property_hs_timestamp": stamp(at)}
                )
            else:
                rows["email_event"] += [
                    {
                        "created": stamp(at),
                        "id": f"e{number}{word}",
                        "email_campaign_id": 1,
                        "filtered_event": False,
                        "recipient": lead.email.upper(),
                        "type": word,
                    }
                    for word in ("SENT", kind.upper())
                ]
    rows["company"] = [
        {
            "_fivetran_deleted": False,
            "id": 5000 + i,
            "property_name": f"Firm {i}",
            "property_industry": ("IT", "HEALTH")[i % 2],
        }
        for i in range(9)
    ]
    rows["contact_merge_audit"] = [
        {
            "canonical_vid": 101,
            "contact_id": 101,
            "timestamp": stamp(START + timedelta(days=30)),
            "vid_to_merge": 103,
        }
    ]
    return {prefix + name: frame for name, frame in frames(rows).items()}


def hubspot_dlt(leads):
    """The tables of dlt's verified source, with histories."""
    contacts, history = [], []
    for lead in leads:
        cid = str(100 + lead.number)
        contacts.append(
            {
                "id": cid,
                "hs_object_id": cid,
                "createdate": stamp(lead.born),
                "lastmodifieddate": stamp(END),
                "email": lead.email,
                "firstname": "A",
                "lastname": f"B{lead.number}",
                "lifecyclestage": _lifecycle(lead)[-1][0],
                "hs_analytics_source": lead.source,
                "is_deleted": lead.deleted,
                "_dlt_load_id": "1733011200.1",
                "_dlt_id": f"x{lead.number}",
            }
        )
        changes = [("lifecyclestage", stage, at) for stage, at in _lifecycle(lead)]
        changes += [("hs_lead_status", "UNQUALIFIED", lead.lost)] if lead.lost else []
        changes += [
            ("recent_conversion_event_name", "Whitepaper", at) for kind, at in lead.touches if kind == "form"
        ]
        changes += [
            (f"hs_email_last_{kind}_date", stamp(at), at)
            for kind, at in lead.touches
            if kind in {"open", "click"}
        ]
        history += [
            {
                "object_id": cid,
                "property_name": n,
                "value": v,
                "timestamp": stamp(t),
                "source_type": "CRM_UI",
                "_dlt_id": f"h{len(history)}{i}",
            }
            for i, (n, v, t) in enumerate(changes)
        ]
    return frames({"contacts": contacts, "contacts_property_history": history})


HEADERS = {
    "en": {
        "id": "Record ID",
        "born": "Create Date",
        "title": "Job Title",
        "source": "Original Source",
        "stage": "Lifecycle Stage",
        "owner": "Contact owner",
        "mql": "Became a Marketing Qualified Lead Date",
        "sql": "Became a Sales Qualified Lead Date",
        "opportunity": "Became an Opportunity Date",
        "customer": "Became a Customer Date",
        "lost": "Disqualified Date",
        "contact": "Associated Contact ID",
        "kind": "Activity Type",
        "at": "Activity Date",
    },
    "de": {
        "id": "Datensatz-ID",
        "born": "Erstellungsdatum",
        "title": "Jobtitel",
        "source": "Ursprüngliche Quelle",
        "stage": "Lifecycle-Phase",
        "owner": "Zuständiger Mitarbeiter",
        "mql": "Datum der Konversion zum Marketing-Qualified-Lead",
        "sql": "Datum der Konversion zum Sales-Qualified-Lead",
        "opportunity": "Datum der Konversion zur Opportunity",
        "customer": "Datum der Konversion zum Kunden",
        "lost": "Datum der Disqualifizierung",
        "contact": "Zugeordnete Kontakt-ID",
        "kind": "Aktivitätstyp",
        "at": "Aktivitätsdatum",
    },
}
# Accounts in which pipelines of lifecycle stages replaced the older dates.
HEADERS["en, dates entered"] = HEADERS["en"] | {
    "id": "Record ID - Contact",
    "mql": 'Date entered "Marketing Qualified Lead (Lifecycle Stage Pipeline)"',
    "sql": 'Date entered "Sales Qualified Lead (Lifecycle Stage Pipeline)"',
    "opportunity": 'Date entered "Opportunity (Lifecycle Stage Pipeline)"',
    "customer": 'Date entered "Customer (Lifecycle Stage Pipeline)"',
}
HEADERS["de, dates entered"] = HEADERS["de"] | {
    "id": "Datensatz-ID \N{EN DASH} Kontakt",
    "mql": "Datum des Eintritts in „Marketing Qualified Lead“",
    "sql": "Datum des Eintritts in „Sales Qualified Lead“",
    "opportunity": "Eintrittsdatum „Opportunity“",
    "customer": "Eintrittsdatum „Kunde“",
}


def hubspot_export(leads, language="en"):
    """HubSpot's own export of contacts and activities; in German dates are written day first."""
    names = HEADERS[language]
    pattern = "%Y-%m-%d %H:%M" if language.startswith("en") else "%d.%m.%Y %H:%M"
    contacts = [
        {
            names["id"]: str(100 + lead.number),
            names["born"]: lead.born.strftime(pattern),
            names["title"]: lead.title,
            names["source"]: lead.source,
            names["stage"]: _lifecycle(lead)[-1][0],
            names["owner"]: "Rep" if lead.sql else None,
        }
        | {
            names[s]: lead.stages[s].strftime(pattern) if s in lead.stages else None
            for s in (*LIFECYCLE, "lost")
        }
        for lead in leads
    ]
    words = {"form": "Form submission", "open": "Email open", "click": "Email click", "call": "Call"}
    activities = [
        {
            names["contact"]: str(100 + lead.number),
            names["kind"]: words[kind],
            names["at"]: at.strftime(pattern),
        }
        for lead in leads
        for kind, at in lead.touches
    ]
    return frames({"contacts": contacts, "activities": activities})


def salesforce_id(prefix, number):
    return f"{prefix}5f0000{number:06d}AAA"


def salesforce(leads, tool="fivetran"):
    """Salesforce's objects as Fivetran or dlt write them; tasks of converted leads hang on contacts."""
    synced = {"fivetran": {"_fivetran_synced": stamp(END)}, "dlt": {"_dlt_id": "x"}, "": {}}[tool]
    rows = {name: [] for name in ("lead", "lead_history", "task", "campaign", "campaign_member")}
    rows["campaign"] = [
        {"id": salesforce_id("701", i), "name": name, "type": kind, "is_deleted": False}
        for i, (name, kind) in enumerate((("Spring", "Webinar"), ("Fair", "Trade Show")))
    ]
    for lead in leads:
        lid, contact = salesforce_id("00Q", lead.number), salesforce_id("003", lead.number)
        status = "Closed - Converted" if lead.sql else "Closed - Not Converted" if lead.lost else "Open"
        rows["lead"].append(
            {
                "id": lid,
                "is_deleted": lead.deleted,
                "master_record_id": None,
                "title": lead.title,
                "lead_source": lead.source,
                "status": status,
                "owner_id": salesforce_id("005", lead.number % 4),
                "is_converted": lead.sql is not None,
                "converted_date": stamp(lead.sql)[:10] if lead.sql else None,
                "converted_contact_id": contact if lead.sql else None,
                "created_date": stamp(lead.born),
                "last_modified_date": stamp(END),
                "system_modstamp": stamp(END),
                "last_activity_date": stamp(lead.born + timedelta(days=5))[:10],
            }
            | synced
        )
        moves = [("created", None, lead.born), ("Owner", "Rep", lead.born)]
        if "mql" in lead.stages:
            moves.append(("Status", "Working", lead.stages["mql"]))
        if lead.sql or lead.lost:
            moves.append(("Status", status, lead.sql or lead.lost))
        rows["lead_history"] += [
            {
                "id": f"017{len(rows['lead_history'])}{i}",
                "is_deleted": False,
                "lead_id": lid,
                "field": f,
                "new_value": v,
                "created_date": stamp(t),
            }
            | synced
            for i, (f, v, t) in enumerate(moves)
        ]
        for kind, at in lead.touches:
            number = len(rows["task"])
            if kind == "form":
                rows["campaign_member"].append(
                    {
                        "id": f"00v{number}{stamp(at)}",
                        "is_deleted": False,
                        "campaign_id": salesforce_id("701", number % 2),
                        "lead_id": lid,
                        "created_date": stamp(at),
                    }
                )
            else:
                rows["task"].append(
                    {
                        "id": salesforce_id("00T", number),
                        "who_id": contact if lead.sql else lid,
                        "task_subtype": "Call" if kind == "call" else "Email",
                        "status": "Completed",
                        "is_deleted": False,
                        "created_date": stamp(at),
                    }
                    | synced
                )
    return frames(rows)


def as_data_export(tables):
    """The same objects under the names of the API, as Salesforce's data export writes them."""

    def camel(name):
        return "".join(part.capitalize() for part in name.split("_"))

    return {
        camel(table): frame.rename({c: camel(c) for c in frame.columns}) for table, frame in tables.items()
    }


def salesforce_report(leads):
    """A report of leads with the labels of fields as headers."""
    return frames(
        {
            "report1733050000": [
                {
                    "Lead ID": salesforce_id("00Q", lead.number)[:15],
                    "Title": lead.title,
                    "Lead Source": lead.source,
                    "Lead Status": "Closed - Converted" if lead.sql else "Open",
                    "Lead Owner": "Rep A" if lead.sql else "Queue",
                    "Create Date": lead.born.strftime("%m/%d/%Y"),
                    "Converted Date": lead.sql.strftime("%m/%d/%Y") if lead.sql else None,
                    "Converted": "1" if lead.sql else "0",
                    "Last Activity": lead.born.strftime("%m/%d/%Y"),
                }
                for lead in leads
            ]
        }
    )
