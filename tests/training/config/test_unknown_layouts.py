"""What `init` drafts of products is the company's own history, without what came later."""

from __future__ import annotations

import tomllib

import polars as pl
import pytest
from crm_company import make_company, true_history
from crm_databases import write_crm
from crm_exports import (
    CLOSE,
    HONEST_COLUMNS,
    LATE_COLUMNS,
    MARKETO,
    PARDOT,
    PIPEDRIVE_EXPORTS,
    VTIGER,
    close_tables,
    deal_headings,
    marketo_tables,
    pardot_tables,
    pipedrive_export,
    pipedrive_spelling,
    vtiger_tables,
)

from training.config.draft import draft_config
from training.config.settings import load_config
from training.data.load import read_dataset

COMPANY = make_company()


def drafted(tables, kind, folder):
    """The draft of a company's tables as written to a place, and the data set that it gives."""
    place = write_crm(kind, tables, folder)
    text = draft_config([place], folder)
    (folder / "leadloop.toml").write_text(text, encoding="utf-8")
    return tomllib.loads(text), read_dataset(load_config(folder / "leadloop.toml"), folder), text


def entries(frame):
    """The entries into stages, to the second."""
    at = pl.col("occurred_at")
    seconds = at if frame.schema["occurred_at"].is_integer() else at.dt.epoch("s")
    return set(frame.select(pl.col("lead_id").cast(str), seconds.cast(pl.Int64), "stage").iter_rows())


def assert_history(data, spelling, stages=None):
    """The data set has the leads and the entries into stages that the company has, and no bad rows."""
    truth = true_history(COMPANY, spelling)
    moves = (
        data.history.transitions.filter(pl.col("stage").is_in(stages)) if stages else data.history.transitions
    )
    assert set(data.history.leads["lead_id"]) == set(truth["leads"]["lead_id"])
    assert entries(moves) == entries(truth["transitions"])
    assert data.label.sum(dtype=int) > 20


@pytest.mark.parametrize("language", PIPEDRIVE_EXPORTS)
def test_an_export_of_deals_in_any_language(language, tmp_path):
    names, export = deal_headings(language), PIPEDRIVE_EXPORTS[language]
    words, activity = export["words"], export["activity"]
    draft, data, text = drafted(pipedrive_export(COMPANY, language), "csv", tmp_path)
    columns = {"lead_id": names["id"], "created_at": names["created"], "account_id": names["company"]}
    assert draft["leads"]["columns"] == columns
    assert_history(data, pipedrive_spelling(language))
    # The day of closing is that of either end: as a stage it would be the target of all that was ever closed.
    assert (draft["funnel"]["target"], draft["funnel"]["closed"]) == (words["won"], [words["lost"]])
    assert draft["touchpoints"][0]["columns"]["kind"] == f"{activity['entity']} - {activity['kind']}"
    excluded = set(draft["attributes"]["exclude"])
    assert {names[name] for name in LATE_COLUMNS} - excluded == set()
    assert {names[name] for name in HONEST_COLUMNS} & excluded == set()
    assert f"{names['person_id']}: category (codes" in text


def test_one_table_for_each_kind_of_activity(tmp_path):
    draft, data, _ = drafted(marketo_tables(COMPANY), "duckdb", tmp_path)
    assert draft["leads"]["table"] == "marketo.lead"
    (moves,) = draft["transitions"]
    assert moves["where"] == {"primary_attribute_value": "Lead Status"}
    assert moves["columns"]["stage"] == "new_value"
    assert {each["columns"]["lead_id"] for each in draft["touchpoints"]} == {"lead_id"}
    assert {each["constants"]["kind"] for each in draft["touchpoints"]} == {"email_open", "email_click"}
    assert_history(data, MARKETO)


def test_changes_with_the_status_before_and_after(tmp_path):
    draft, data, text = drafted(close_tables(COMPANY), "duckdb", tmp_path)
    assert "_airbyte" not in str({key: draft[key] for key in ("leads", "touchpoints", "transitions")})
    assert draft["leads"]["columns"] == {"lead_id": "id", "created_at": "date_created"}
    assert {each["columns"]["lead_id"] for each in draft["touchpoints"]} == {"lead_id"}
    assert_history(data, CLOSE)
    assert draft["leads"]["attributes"] == {"Source": "custom.Source", "Job": "custom.Job"}
    sources = {lead.source for lead in COMPANY.leads if not lead.deleted}
    assert data.history.leads["Source"].n_unique() == len(sources)
    # Documents are no words; a deal in one of them is there of won leads alone.
    assert "opportunities: not used, text (JSON" in text


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_vtiger_whose_leads_were_created_in_another_table(kind, tmp_path):
    draft, data, text = drafted(vtiger_tables(COMPANY), kind, tmp_path)
    assert "# vTiger: " in text
    assert draft["funnel"]["target"] == "Qualified"
    assert_history(data, VTIGER)
    events = true_history(COMPANY, VTIGER)["touchpoints"]
    assert data.history.touchpoints["kind"].value_counts(sort=True).rows() == (
        events["kind"].value_counts(sort=True).rows()
    )


def test_pardot_whose_opportunities_are_linked_with_prospects(tmp_path):
    draft, data, text = drafted(pardot_tables(COMPANY), "duckdb", tmp_path)
    assert "# Account Engagement (Pardot): " in text
    assert draft["funnel"]["target"] == "Opportunity"
    assert {"score", "crm_lead_fid"} & set(data.rows.columns) == set()
    assert_history(data, PARDOT)
    events = true_history(COMPANY, PARDOT)["touchpoints"]
    assert set(data.history.touchpoints["kind"]) == set(events["kind"])
    assert data.history.touchpoints.height == events.height
