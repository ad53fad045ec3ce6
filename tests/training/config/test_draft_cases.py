"""The cases that people ran into with `init`: each drafted right, through the command."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb
import polars as pl
import pytest

import leadloop
from training.config.draft import draft_config
from training.config.settings import load_config
from training.data.load import read_dataset

CASES = Path(__file__).parents[4] / "shared" / "cases"


@pytest.fixture
def case(request, tmp_path):
    """The files of the case that the test names, and an empty folder for the draft."""
    folder = CASES / request.param
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    return sorted(folder.glob("*.csv")), tmp_path


def drafted(case):
    files, folder = case
    (folder / "leadloop.toml").write_text(draft_config(files, folder), encoding="utf-8")
    text = (folder / "leadloop.toml").read_text(encoding="utf-8")
    return tomllib.loads(text), read_dataset(load_config(folder / "leadloop.toml"), folder), text


@pytest.mark.parametrize("case", ["60-salesforce-tables"], indirect=True)
def test_tasks_are_touchpoints_and_those_of_contacts_are_found(case):
    draft, data, text = drafted(case)
    assert "converted_contact_id" in draft["touchpoints"][0]["also"]["leads"]
    assert draft["touchpoints"][0]["columns"]["kind"] == "task_subtype"
    assert not {"Open", "Completed"} & set(draft["funnel"]["stages"])
    assert "no such lead" not in text
    assert "_fivetran_start" not in str(draft)
    assert data.label.sum(dtype=int) > 100


@pytest.mark.parametrize("case", ["60-salesforce-tables", "61-init-leads-own-status"], indirect=True)
def test_the_day_of_conversion_dates_the_stage(case):
    draft, _, _ = drafted(case)
    (moves,) = draft["transitions"]
    assert moves["columns"]["occurred_at"] == "converted_date"
    assert "is_converted" in draft["attributes"]["exclude"]
    assert "owner_id" in draft["attributes"]["exclude"]


@pytest.mark.parametrize("case", ["90-hubspot-two-exports"], indirect=True)
def test_two_exports_of_hubspot(case):
    draft, data, _ = drafted(case)
    (moves,) = draft["transitions"]
    dates = {
        "Became a Marketing Qualified Lead Date": "Marketing Qualified Lead",
        "Became a Sales Qualified Lead Date": "Sales Qualified Lead",
        "Became an Opportunity Date": "Opportunity",
        "Became a Customer Date": "Customer",
        "Disqualified Date": "Disqualified",
    }
    assert moves["stages"] == dates
    stages = [stage for stage in draft["funnel"]["stages"] if stage != "Disqualified"]
    assert stages == list(dates.values())[:-1]
    assert (draft["funnel"]["target"], draft["funnel"]["closed"]) == (
        "Sales Qualified Lead",
        ["Disqualified"],
    )
    late = {"Lifecycle Stage", "Lead Status", "Number of Sales Activities", "Recent Deal Amount"}
    assert late | {"Contact owner", "HubSpot Score"} == set(draft["attributes"]["exclude"])
    assert draft["touchpoints"][0]["values"]["kind"] == {
        "Demo request": "demo_request",
        "Contact request": "contact_request",
        "Webinar registration": "webinar",
        "Email open": "email_open",
        "Email click": "email_click",
        "Page view": "page_view",
        "Form submission": "form",
    }
    leads = pl.read_csv(next(path for path in case[0] if path.name == "leads.csv"), infer_schema=False)
    held = leads["Became a Sales Qualified Lead Date"].drop_nulls()
    entered = data.history.transitions.filter(pl.col("stage") == "Sales Qualified Lead")
    assert entered["lead_id"].n_unique() == len(held)


@pytest.fixture
def warehouse(tmp_path):
    """The tables of HubSpot and Salesforce that the case's own script makes."""
    script = CASES / "91-real-schemas" / "made_rows.py"
    if not script.is_file():
        pytest.skip(f"{script} is not on this machine")
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "wh.duckdb"


@pytest.mark.parametrize(
    ("draft", "stage", "successes"),
    [
        (
            "leadloop.toml",
            "salesqualifiedlead",
            """SELECT contact_id FROM hubspot.contact_property_history h JOIN hubspot.contact c
               ON c.id = h.contact_id WHERE name = 'lifecyclestage' AND h.value = 'salesqualifiedlead'
               AND NOT _fivetran_deleted""",
        ),
        (
            "leadloop-salesforce.toml",
            "Closed - Converted",
            "SELECT id FROM salesforce.lead WHERE is_converted AND NOT is_deleted",
        ),
    ],
)
def test_a_warehouse_of_two_crms_gets_a_draft_of_each(warehouse, monkeypatch, draft, stage, successes):
    monkeypatch.chdir(warehouse.parent)
    monkeypatch.setattr(sys, "argv", ["leadloop", "init", "wh.duckdb"])
    with pytest.raises(SystemExit, match="0"):
        leadloop.main()
    data = read_dataset(load_config(warehouse.parent / draft), warehouse.parent)
    assert data.intake.unreadable == 0
    entered = data.history.transitions.filter(pl.col("stage") == stage)["lead_id"].unique()
    with duckdb.connect(str(warehouse), read_only=True) as db:
        expected = {str(row[0]) for row in db.sql(successes).fetchall()}
    assert set(entered) == expected
    assert len(expected) > 700


def test_the_command_says_what_it_understood_and_no_password(tmp_path, monkeypatch, capsys):
    for name, rows in {
        "leads": [
            "id,created_at,branch",
            *(f"L{i},2024-01-{1 + i % 28:02d},{'ab'[i % 2]}" for i in range(40)),
        ],
        "deals": ["lead,won_date", *(f"L{i},2024-03-01" for i in range(0, 40, 3))],
    }.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["leadloop", "init", "leads.csv", "deals.csv"])
    with pytest.raises(SystemExit, match="0"):
        leadloop.main()
    assert "'won' is predicted" in capsys.readouterr().err
    monkeypatch.setattr(
        sys, "argv", ["leadloop", "init", "postgresql://ada:hidden@127.0.0.1:1/crm", "--force"]
    )
    with pytest.raises(SystemExit):
        leadloop.main()
    out, err = capsys.readouterr()
    assert "hidden" not in out + err
    assert "cannot be read" in err
