"""HubSpot and Salesforce as Fivetran's connectors write them, from configuration alone, without a query."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from features.clock import DAY, to_epoch
from features.ingest.read_history import read_history
from training.config.settings import load_config

TIME = re.compile(r"^created$|date$|timestamp$")
NOW = to_epoch(datetime(2026, 11, 20, tzinfo=UTC))
FUNNEL = """
[funnel]
stages = ["mql", "sql", "lost"]
target = "sql"
closed = ["lost"]
[label]
horizon = "30d"
"""
SALESFORCE = """
[leads]
database = "wh.duckdb"
table = "salesforce.lead"
deleted = "is_deleted"
columns = { lead_id = "id", created_at = "created_date" }
[[transitions]]
database = "wh.duckdb"
table = "salesforce.lead_history"
where = { field = "Status", is_deleted = false }
columns = { occurred_at = "created_date", stage = "new_value" }
[transitions.values.stage]
"Working - Contacted" = "mql"
"Closed - Converted" = "sql"
"Closed - Not Converted" = "lost"
[[touchpoints]]
database = "wh.duckdb"
table = "salesforce.task"
lead_id = ["who_id"]
also = { leads = "converted_contact_id" }
columns = { occurred_at = "created_date", kind = "task_subtype" }
[[touchpoints]]
database = "wh.duckdb"
table = "salesforce.campaign_member"
join = [{ table = "salesforce.campaign", on = { campaign_id = "id" } }]
columns = { lead_id = "lead_id", occurred_at = "created_date", kind = "campaign.type" }
[[merges]]
database = "wh.duckdb"
table = "salesforce.lead"
columns = { lead_id = "id", merged_into = "master_record_id", known_at = "last_modified_date" }
"""
HUBSPOT = """
[leads]
database = "wh.duckdb"
table = "hubspot.contact"
deleted = "_fivetran_deleted"
columns = { lead_id = "id", created_at = "property_createdate" }
[[transitions]]
database = "wh.duckdb"
table = "hubspot.contact_property_history"
where = { name = "lifecyclestage", value = ["marketingqualifiedlead", "salesqualifiedlead"] }
columns = { lead_id = "contact_id", occurred_at = "timestamp", stage = "value" }
values = { stage = { marketingqualifiedlead = "mql", salesqualifiedlead = "sql" } }
[[transitions]]
database = "wh.duckdb"
table = "hubspot.contact_property_history"
where = { name = "hs_lead_status", value = "UNQUALIFIED" }
columns = { lead_id = "contact_id", occurred_at = "timestamp" }
constants = { stage = "lost" }
[[touchpoints]]
database = "wh.duckdb"
table = "hubspot.email_event"
join = [{ table = "hubspot.contact", on = { recipient = "property_email" } }]
columns = { lead_id = "contact.id", occurred_at = "created", kind = "type" }
[[touchpoints]]
database = "wh.duckdb"
table = "hubspot.engagement_contact"
join = [{ table = "hubspot.engagement_call", on = { engagement_id = "engagement_id" } }]
columns = { lead_id = "contact_id", occurred_at = "engagement_call.property_hs_timestamp" }
constants = { kind = "call" }
[[merges]]
database = "wh.duckdb"
table = "hubspot.contact_merge_audit"
columns = { lead_id = "vid_to_merge", merged_into = "canonical_vid", known_at = "timestamp" }
"""
TABLES = {
    "salesforce.lead": (
        "id, is_deleted, master_record_id, created_date, last_modified_date, converted_contact_id, source",
        "('00Q1', false, NULL, '2026-01-01 10:00', '2026-06-01', '0031', 'Web')",
        "('00Q2', true, '00Q1', '2026-01-02 10:00', '2026-01-20', NULL, 'Web')",
        "('00Q3', true, NULL, '2026-01-03 10:00', '2026-01-20', NULL, 'Paid')",
        "('00Q4', false, NULL, '2026-01-04 10:00', '2026-02-01', NULL, 'Paid')",
    ),
    "salesforce.lead_history": (
        "id, is_deleted, lead_id, created_date, field, old_value, new_value",
        "('1', false, '00Q1', '2026-01-01 10:00', 'created', NULL, NULL)",
        "('2', false, '00Q1', '2026-01-03 10:00', 'Status', 'Open', 'Working - Contacted')",
        "('3', false, '00Q1', '2026-02-03 10:00', 'Status', 'Working - Contacted', 'Closed - Converted')",
        "('4', false, '00Q3', '2026-01-09 10:00', 'Status', 'Open', 'Closed - Not Converted')",
        "('5', false, '00Q4', '2026-01-09 10:00', 'Owner', 'Queue', 'Rep')",
    ),
    "salesforce.task": (
        "id, who_id, created_date, task_subtype",
        "('t1', '0031', '2026-01-05 10:00', 'Call')",
        "('t2', '00Q2', '2026-01-06 10:00', 'Email')",
        "('t3', '00Q3', '2026-01-06 11:00', 'Email')",
    ),
    "salesforce.campaign": ("id, name, type", "('c1', 'Webinar May', 'Webinar')"),
    "salesforce.campaign_member": (
        "id, campaign_id, lead_id, created_date",
        "('m1', 'c1', '00Q4', '2026-01-08 10:00')",
    ),
    "hubspot.contact": (
        "id, _fivetran_deleted, property_createdate, property_email, property_jobtitle",
        "(100, false, '2026-01-01 10:00', 'A@x.example', 'CEO')",
        "(101, false, '2026-01-02 10:00', 'b@x.example', 'CTO')",
        "(102, true, '2026-01-02 10:00', 'c@x.example', 'CTO')",
    ),
    "hubspot.contact_property_history": (
        "contact_id, name, timestamp, value",
        "(100, 'lifecyclestage', '2026-01-02 10:00', 'marketingqualifiedlead')",
        "(100, 'lifecyclestage', '2026-01-12 10:00', 'salesqualifiedlead')",
        "(100, 'jobtitle', '2026-01-02 10:00', 'CEO')",
        "(101, 'hs_lead_status', '2026-01-09 10:00', 'UNQUALIFIED')",
        "(102, 'lifecyclestage', '2026-01-12 10:00', 'salesqualifiedlead')",
    ),
    "hubspot.email_event": (
        "id, created, recipient, type",
        "('e1', '2026-01-03 10:00', 'a@x.example', 'OPEN')",
        "('e2', '2026-01-04 10:00', 'b@X.example', 'CLICK')",
        "('e3', '2026-01-04 10:00', 'stranger@x.example', 'CLICK')",
    ),
    "hubspot.engagement_contact": (
        "contact_id, engagement_id, engagement_type",
        "(100, 7, 'CALL')",
        "(101, 7, 'CALL')",
        "(100, 8, 'MEETING')",
        "(90, 9, 'CALL')",
    ),
    "hubspot.engagement_call": (
        "engagement_id, property_hs_timestamp",
        "(7, '2026-01-05 10:00')",
        "(9, '2026-01-06 10:00')",
    ),
    "hubspot.contact_merge_audit": (
        "canonical_vid, vid_to_merge, timestamp",
        "(101, 90, '2026-01-07 10:00')",
    ),
}


@pytest.fixture
def warehouse(tmp_path):
    with duckdb.connect(tmp_path / "wh.duckdb") as db:
        db.execute("CREATE SCHEMA salesforce; CREATE SCHEMA hubspot")
        for name, (columns, *rows) in TABLES.items():
            cells = ", ".join(
                f"CAST({column} AS TIMESTAMP) AS {column}" if TIME.search(column) else column
                for column in columns.split(", ")
            )
            values = f"(VALUES {', '.join(rows)}) AS made({columns})"
            db.execute(f"CREATE TABLE {name} AS SELECT {cells} FROM {values}")
    return tmp_path


def read(warehouse, text):
    path = warehouse / "leadloop.toml"
    path.write_text(text + FUNNEL)
    return read_history(load_config(path).history_mapping, NOW)


def events(history, table, word):
    frame = getattr(history, table)
    day = (pl.col("occurred_at") // DAY - 20453).alias("day")  # 1 is 2026-01-01
    return sorted(frame.select("lead_id", day, word).rows())


def test_salesforce_is_read_from_configuration_alone(warehouse):
    reading = read(warehouse, SALESFORCE)
    history = reading.history
    assert history.leads["lead_id"].to_list() == ["00Q1", "00Q2", "00Q4"]
    assert events(history, "transitions", "stage") == [
        ("00Q1", 3, "mql"),
        ("00Q1", 34, "sql"),
        ("00Q2", 20, "merged"),
        ("00Q2", 34, "sql"),
    ]
    assert events(history, "touchpoints", "kind") == [
        ("00Q1", 5, "Call"),
        ("00Q1", 6, "Email"),
        ("00Q2", 6, "Email"),
        ("00Q4", 8, "Webinar"),
    ]
    assert len(reading.quarantine) == 0
    assert "source" in history.lead_columns
    assert "converted_contact_id" not in history.lead_columns


def test_hubspot_is_read_from_configuration_alone(warehouse):
    reading = read(warehouse, HUBSPOT)
    history = reading.history
    assert history.leads["lead_id"].to_list() == ["100", "101"]
    assert events(history, "transitions", "stage") == [
        ("100", 2, "mql"),
        ("100", 12, "sql"),
        ("101", 9, "lost"),
    ]
    assert events(history, "touchpoints", "kind") == [
        ("100", 3, "OPEN"),
        ("100", 5, "call"),
        ("101", 4, "CLICK"),
        ("101", 5, "call"),
        ("101", 6, "call"),
    ]
    assert len(reading.quarantine) == 0
    assert any("1 rows have no row in contact" in notice for notice in reading.notices)
