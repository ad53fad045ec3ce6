"""A draft by a recipe gives the data set of SQL that somebody writes by hand, with no line edited."""

from __future__ import annotations

import tomllib
from pathlib import Path

import duckdb
import polars as pl
import pytest
from crm_company import make_company
from crm_databases import write_crm
from crm_layouts import (
    as_data_export,
    hubspot_dlt,
    hubspot_export,
    hubspot_fivetran,
    made_leads,
    salesforce,
    salesforce_report,
)
from crm_tables import suitecrm_tables
from drafted_horizon import with_common_horizon
from polars.testing import assert_frame_equal

from features.ingest.quarantine import SourceError
from training.config.draft import draft_configs
from training.config.recipe import SECTIONS, load_recipes, parse_recipe
from training.config.settings import load_config
from training.data.load import read_dataset

PAGES = Path(__file__).parents[3] / "docs" / "how-to" / "known-crms.md"
LEADS = made_leads()


def data_set(text, folder):
    (folder / "leadloop.toml").write_text(with_common_horizon(text), encoding="utf-8")
    return read_dataset(load_config(folder / "leadloop.toml"), folder)


def assert_same(drafted, by_hand):
    """The same leads at the same moments, with the same features and outcomes."""
    assert sorted(drafted.rows.columns) == sorted(by_hand.rows.columns)
    assert_frame_equal(drafted.rows, by_hand.rows.select(drafted.rows.columns), check_exact=True)
    assert drafted.label.tolist() == by_hand.label.tolist()
    assert by_hand.label.sum(dtype=int) > 20


def draft(places, folder, **options):
    return draft_configs([str(place) for place in places], folder, **options)


def by_hand(folder, tables, queries, rest):
    """A configuration whose tables are SQL written by hand over the same rows in DuckDB."""
    place = folder / "by_hand"
    place.mkdir()
    write_crm("duckdb", tables, place)
    sections = []
    for header, query, more in queries:
        sections.append(f"{header}\ndatabase = 'crm.duckdb'\nquery = '''{query}'''\n{more}\n")
    return data_set("\n".join([*sections, rest]), place)


FUNNEL = """
[funnel]
stages = [%s]
target = "%s"
closed = [%s]
[label]
horizon = "90d"
[cohort]
on = ["created"]
every = "30d"
until_age = "90d"
[training]
seed = 42
"""

HUBSPOT = [
    (
        "[leads]",
        """SELECT id AS lead_id, property_createdate AS created_at,
           property_associatedcompanyid AS account_id, property_email,
           property_hs_analytics_source, _fivetran_deleted AS gone FROM contact""",
        'deleted = "gone"',
    ),
    (
        "[accounts]",
        "SELECT id AS account_id, property_name, property_industry FROM company WHERE NOT _fivetran_deleted",
        "",
    ),
    (
        "[[merges]]",
        """SELECT vid_to_merge AS lead_id, canonical_vid AS merged_into, timestamp AS known_at
           FROM contact_merge_audit""",
        "",
    ),
    (
        "[[transitions]]",
        """SELECT contact_id AS lead_id, timestamp AS occurred_at, value AS stage
           FROM contact_property_history
           WHERE name = 'lifecyclestage' OR (name = 'hs_lead_status' AND value = 'UNQUALIFIED')""",
        "",
    ),
    (
        "[[touchpoints]]",
        """SELECT contact_id AS lead_id, timestamp AS occurred_at, 'form' AS kind, title AS offer
           FROM contact_form_submission""",
        "",
    ),
    (
        "[[touchpoints]]",
        """SELECT c.id AS lead_id, e.created AS occurred_at, 'email_' || lower(e.type) AS kind,
           e.email_campaign_id AS campaign
           FROM email_event e JOIN contact c ON lower(e.recipient) = lower(c.property_email)
           WHERE e.type IN ('OPEN', 'CLICK')""",
        "",
    ),
    (
        "[[touchpoints]]",
        """SELECT l.contact_id AS lead_id, c.property_hs_timestamp AS occurred_at, 'call' AS kind
           FROM engagement_call c JOIN engagement_contact l USING (engagement_id)""",
        "",
    ),
    (
        "[[attributes.history]]",
        """SELECT contact_id AS lead_id, timestamp AS known_at, name, value FROM contact_property_history
           WHERE name = 'jobtitle'""",
        "",
    ),
]
LIFECYCLE = '"lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "UNQUALIFIED"'


@pytest.fixture(scope="module")
def hubspot_by_hand(tmp_path_factory):
    rest = FUNNEL % (LIFECYCLE, "salesqualifiedlead", '"UNQUALIFIED"')
    return by_hand(tmp_path_factory.mktemp("hand"), hubspot_fivetran(LEADS), HUBSPOT, rest)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "csv", "postgresql"])
def test_hubspot_by_fivetran(request, tmp_path, kind, hubspot_by_hand):
    tables = hubspot_fivetran(LEADS)
    url = request.getfixturevalue("postgres_database") if kind == "postgresql" else None
    place = write_crm(kind, tables, tmp_path, url)
    if url is not None:
        place = place.replace("me@", "me:hidden@")
    (drafted,) = draft([place], tmp_path)
    assert drafted.name == "hubspot_fivetran"
    assert "hidden" not in drafted.text + str(drafted.summary)
    assert_same(data_set(drafted.text, tmp_path), hubspot_by_hand)


def test_engagements_of_the_older_layout_bear_their_time_themselves(tmp_path, hubspot_by_hand):
    tables = dict(hubspot_fivetran(LEADS))
    calls = tables["engagement_call"]
    tables["engagement"] = calls.select(
        pl.col("engagement_id").alias("id"),
        pl.lit(value=True).alias("active"),
        pl.lit("CALL").alias("type"),
        pl.col("property_hs_timestamp").alias("timestamp"),
        pl.col("property_hs_timestamp").alias("created_at"),
    )
    tables["engagement_call"] = calls.select("engagement_id")
    (drafted,) = draft([write_crm("csv", tables, tmp_path)], tmp_path)
    assert_same(data_set(drafted.text, tmp_path), hubspot_by_hand)


def test_hubspot_by_dlt(tmp_path):
    tables = hubspot_dlt(LEADS)
    (drafted,) = draft([write_crm("duckdb", tables, tmp_path)], tmp_path)
    history = "contacts_property_history h JOIN contacts c ON c.id = h.object_id AND NOT c.is_deleted"
    event = "h.object_id AS lead_id, h.timestamp AS occurred_at"
    expected = by_hand(
        tmp_path,
        tables,
        [
            (
                "[leads]",
                """SELECT id AS lead_id, createdate AS created_at, email, hs_analytics_source FROM contacts
                   WHERE NOT is_deleted""",
                "",
            ),
            (
                "[[transitions]]",
                f"""SELECT {event}, value AS stage FROM {history} WHERE property_name IN
                    ('lifecyclestage', 'hs_lead_status')""",
                "",
            ),
            (
                "[[touchpoints]]",
                f"""SELECT {event}, 'form' AS kind, value AS offer FROM {history}
                    WHERE property_name = 'recent_conversion_event_name'""",
                "",
            ),
            (
                "[[touchpoints]]",
                f"""SELECT {event}, replace(replace(property_name, '_last', ''), '_date', '')[4:] AS kind
                    FROM {history} WHERE property_name LIKE 'hs_email_last%'""",
                "",
            ),
        ],
        FUNNEL % (LIFECYCLE, "salesqualifiedlead", '"UNQUALIFIED"'),
    )
    assert_same(data_set(drafted.text, tmp_path), expected)


@pytest.mark.parametrize("headers", ["en", "de", "en, dates entered", "de, dates entered"])
def test_hubspots_own_export(tmp_path, headers):
    language = headers[:2]
    for name, frame in hubspot_export(LEADS, headers).items():
        frame.write_csv(tmp_path / f"{name}.csv", separator=";" if language == "de" else ",")
    (drafted,) = draft([tmp_path / "activities.csv", tmp_path / "contacts.csv"], tmp_path)
    assert drafted.name == "hubspot_export"
    plain = hubspot_export(LEADS)
    title = {"en": "Job Title", "de": "Jobtitel"}[language]
    source = {"en": "Original Source", "de": "Ursprüngliche Quelle"}[language]
    dates = {
        "Marketing Qualified Lead": "Became a Marketing Qualified Lead Date",
        "Sales Qualified Lead": "Became a Sales Qualified Lead Date",
        "Opportunity": "Became an Opportunity Date",
        "Customer": "Became a Customer Date",
        "Disqualified": "Disqualified Date",
    }
    moves = " UNION ALL ".join(
        f"""SELECT "Record ID" AS lead_id, "{column}" AS occurred_at, '{stage}' AS stage FROM contacts
            WHERE "{column}" IS NOT NULL"""
        for stage, column in dates.items()
    )
    expected = by_hand(
        tmp_path,
        plain,
        [
            (
                "[leads]",
                f"""SELECT "Record ID" AS lead_id, "Create Date" AS created_at, "Job Title" AS "{title}",
                    "Original Source" AS "{source}" FROM contacts""",
                "",
            ),
            ("[[transitions]]", moves, ""),
            (
                "[[touchpoints]]",
                """SELECT "Associated Contact ID" AS lead_id, "Activity Date" AS occurred_at,
                   CASE "Activity Type" WHEN 'Form submission' THEN 'form' WHEN 'Email open' THEN 'email_open'
                   WHEN 'Email click' THEN 'email_click' ELSE "Activity Type" END AS kind FROM activities""",
                "",
            ),
        ],
        FUNNEL % (", ".join(f'"{stage}"' for stage in dates), "Sales Qualified Lead", '"Disqualified"'),
    )
    assert_same(data_set(drafted.text, tmp_path), expected)


def test_a_file_of_leads_and_stages_says_once_what_is_odd_about_it(tmp_path):
    contacts = hubspot_export(LEADS, "de")["contacts"]
    text = contacts.with_columns(Straße=pl.lit("Südallee")).write_csv(separator=";")
    (tmp_path / "contacts.csv").write_bytes(text.encode("cp1252"))
    (drafted,) = draft([tmp_path / "contacts.csv"], tmp_path)
    assert sum("Windows-1252" in sentence for sentence in drafted.summary) == 1


SALESFORCE = [
    (
        "[leads]",
        "SELECT id AS lead_id, created_date AS created_at, title, lead_source FROM lead WHERE NOT is_deleted",
        "",
    ),
    (
        "[[transitions]]",
        """SELECT lead_id, h.created_date AS occurred_at, new_value AS stage FROM lead_history h
           JOIN lead l ON l.id = h.lead_id WHERE field = 'Status' AND NOT l.is_deleted""",
        "",
    ),
    (
        "[[touchpoints]]",
        """SELECT l.id AS lead_id, t.created_date AS occurred_at,
           task_subtype AS kind FROM task t
           JOIN lead l ON t.who_id IN (l.id, l.converted_contact_id) WHERE NOT l.is_deleted""",
        "",
    ),
    (
        "[[touchpoints]]",
        """SELECT lead_id, m.created_date AS occurred_at,
           CASE c.type WHEN 'Webinar' THEN 'webinar' ELSE c.type END AS kind, c.name AS campaign
           FROM campaign_member m JOIN campaign c ON c.id = m.campaign_id
           JOIN lead l ON l.id = m.lead_id WHERE NOT l.is_deleted""",
        "",
    ),
]
STATUSES = '"Working", "Closed - Not Converted", "Closed - Converted"'


@pytest.mark.parametrize("tool", ["fivetran", "dlt", "data export"])
def test_salesforce(tmp_path, tool):
    tables = salesforce(LEADS, "" if tool == "data export" else tool)
    if tool == "data export":
        own, kind, names = as_data_export(tables), "csv", {"title": "Title", "lead_source": "LeadSource"}
    else:
        own, kind, names = tables, "duckdb", {}
    (drafted,) = draft([write_crm(kind, own, tmp_path)], tmp_path)
    assert drafted.name == "salesforce"
    assert {"fivetran": "Fivetran", "dlt": "dlt", "data export": "its data export"}[tool] in drafted.text
    leads = SALESFORCE[0][1]
    for plain, camel in names.items():
        leads = leads.replace(f" {plain}", f" {plain} AS {camel}")
    expected = by_hand(
        tmp_path,
        tables,
        [("[leads]", leads, ""), *SALESFORCE[1:]],
        FUNNEL % (STATUSES, "Closed - Converted", '"Closed - Not Converted"'),
    )
    assert_same(data_set(drafted.text, tmp_path), expected)


def test_a_report_of_salesforces_leads(tmp_path):
    tables = salesforce_report(LEADS)
    ((name, frame),) = tables.items()
    frame.write_csv(tmp_path / f"{name}.csv")
    (drafted,) = draft([tmp_path / f"{name}.csv"], tmp_path)
    assert drafted.name == "salesforce_report"
    rest = FUNNEL % ('"Converted"', "Converted", "")
    expected = by_hand(
        tmp_path,
        tables,
        [
            (
                "[leads]",
                f"""SELECT "Lead ID" AS lead_id, "Title",
                    strptime("Create Date", '%m/%d/%Y')::DATE::VARCHAR AS created_at,
                    "Lead Source" FROM {name}""",
                "",
            ),
            (
                "[[transitions]]",
                f"""SELECT "Lead ID" AS lead_id, strptime("Converted Date", '%m/%d/%Y')::DATE::VARCHAR AS
                    occurred_at, 'Converted' AS stage FROM {name} WHERE "Converted Date" IS NOT NULL""",
                "",
            ),
        ],
        rest.replace('every = "30d"\nuntil_age = "90d"\n', ""),
    )
    assert_same(data_set(drafted.text, tmp_path), expected)


def test_two_crms_in_one_database_get_a_draft_each(tmp_path):
    with duckdb.connect(tmp_path / "crm.duckdb") as db:
        db.execute("CREATE SCHEMA hub; CREATE SCHEMA sf")
        for schema, tables in (("hub", hubspot_fivetran(LEADS)), ("sf", salesforce(LEADS))):
            for name, frame in tables.items():
                db.register("frame", frame.to_arrow())
                db.execute(f"CREATE TABLE {schema}.{name} AS SELECT * FROM frame")
    drafts = draft([tmp_path / "crm.duckdb"], tmp_path)
    assert [each.name for each in drafts] == ["hubspot_fivetran", "salesforce"]
    assert tomllib.loads(drafts[1].text)["leads"]["table"] == "sf.lead"


def test_what_a_company_does_not_have_is_left_out(tmp_path):
    tables = hubspot_fivetran(LEADS)
    kept = {name: tables[name] for name in ("contact", "contact_property_history")}
    kept["contact"] = kept["contact"].drop("property_associatedcompanyid", "_fivetran_deleted")
    (drafted,) = draft([write_crm("duckdb", kept, tmp_path)], tmp_path)
    table = tomllib.loads(drafted.text)
    assert "touchpoints" not in table
    assert set(table["leads"]["columns"]) == {"lead_id", "created_at"}
    assert data_set(drafted.text, tmp_path).label.sum(dtype=int) > 20


def test_without_a_history_the_columns_of_today_are_no_stages(tmp_path):
    """The lifecycle stage of today has no date: there is nothing to learn from, and it is said."""
    contact = hubspot_fivetran(LEADS)["contact"]
    place = write_crm("duckdb", {"contact": contact}, tmp_path)
    with pytest.raises(SourceError, match="no lead has entered a stage"):
        draft([place], tmp_path)


@pytest.mark.parametrize("recipe", load_recipes(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_complete(recipe):
    """It has a page, and its blocks name tables that it knows."""
    headings = [line for line in PAGES.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert any(recipe.page == line.removeprefix("## ").casefold().replace(" ", "-") for line in headings)
    for section in SECTIONS:
        for block in recipe.blocks[section]:
            tables = [block["table"], *(join["table"].removesuffix("?") for join in block.get("join", ()))]
            tables += [each["table"] for each in block.get("lookup", {}).values() if "table" in each]
            assert {table.removesuffix("?") for table in tables} <= recipe.tables.keys()
    assert all(choice.table in {"", *recipe.tables} for choice in recipe.funnel.target)


def test_a_key_that_no_recipe_has_is_refused():
    with pytest.raises(ValueError, match="there is no key 'leeds'"):
        parse_recipe("x", "[[leeds]]")


def test_calls_of_suitecrm_without_links_are_those_of_their_own_record(tmp_path):
    tables = suitecrm_tables(make_company())
    alone = {name: rows for name, rows in tables.items() if name not in {"calls_leads", "meetings_leads"}}
    kinds = {}
    for name, rows in (("linked", tables), ("alone", alone)):
        (tmp_path / name).mkdir()
        (found,) = draft([write_crm("duckdb", rows, tmp_path / name)], tmp_path / name)
        history = data_set(found.text, tmp_path / name).history
        activities = history.touchpoints.filter(pl.col("kind").is_in(["call", "meeting"]))
        kinds[name] = activities.select("lead_id", "occurred_at", "kind").sort(pl.all())
    assert_frame_equal(kinds["alone"], kinds["linked"])
    assert kinds["alone"]["kind"].n_unique() == 2
