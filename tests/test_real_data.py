"""Real histories from their files as they are: counted by other means, and no signal where there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from drafted_horizon import with_common_horizon

import leadloop
from training.config.settings import load_config
from training.data.load import read_dataset

DATA = Path(__file__).parents[2] / "shared" / "data"
OLIST = ("olist_marketing_qualified_leads_dataset.csv", "olist_closed_deals_dataset.csv")
CRM = ("sales_pipeline.csv", "accounts.csv", "products.csv", "sales_teams.csv")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder; what it said and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["leadloop", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            leadloop.main()
        assert not ended.value.code
        return capsys.readouterr()

    return command


def files(folder, names):
    paths = [DATA / folder / name for name in names]
    if missing := [path for path in paths if not path.is_file()]:
        pytest.skip(f"{missing[0]} is not on this machine")
    return paths


@pytest.fixture(scope="module")
def olist():
    """Leads from 2018 on with the time until they were won, by pandas."""
    leads, deals = files("olist_funnel", OLIST)
    frame = pd.read_csv(leads, parse_dates=["first_contact_date"]).merge(
        pd.read_csv(deals, parse_dates=["won_date"])[["mql_id", "won_date"]], on="mql_id", how="left"
    )
    frame["took"] = frame["won_date"] - frame["first_contact_date"]
    return frame[frame["first_contact_date"] >= "2018-01-01"]


def test_olist_as_drafted_asks_what_pandas_counts(run, olist):
    run("init", *files("olist_funnel", OLIST))
    draft = Path("leadloop.toml")
    draft.write_text(with_common_horizon(draft.read_text()))
    dataset = read_dataset(load_config(Path("leadloop.toml")), Path())
    # One lead was won before its first contact: it was never open, so nobody could have been asked about it.
    open_once = olist[~(olist["took"] < pd.Timedelta(0))]
    assert (len(olist), len(open_once), len(dataset)) == (5998, 5997, 5997)
    won = open_once[open_once["took"] < pd.Timedelta(days=90)]["mql_id"]
    assert set(dataset.rows["lead_id"].to_numpy()[dataset.label == 1]) == set(won)
    assert dataset.label.mean() == pytest.approx(0.113, abs=5e-4)
    assert dataset.question == "won within 90 days"
    assert set(dataset.features.names) >= {"origin", "landing_page_id"}


def test_olist_before_its_end_counts_only_leads_whose_90_days_are_over(run, olist):
    run("init", *files("olist_funnel", OLIST))
    draft = Path("leadloop.toml")
    # Read as it stood at the end of May: what was won later is in the future, and set aside.
    text = "observed_until = 2018-06-01T00:00:00Z\nquarantine.max_share = 1.0\n" + with_common_horizon(
        draft.read_text()
    )
    draft.write_text(text)
    dataset = read_dataset(load_config(draft), Path())
    over = olist[olist["first_contact_date"] + pd.Timedelta(days=90, seconds=1) <= "2018-06-01"]
    assert 0 < len(dataset) == len(over) < len(olist)
    assert int(dataset.label.sum()) == (over["took"] < pd.Timedelta(days=90)).sum()


@pytest.mark.slow
def test_olist_from_files_to_report_in_two_commands(run):
    run("init", *files("olist_funnel", OLIST))
    result = json.loads(run("train", "--json", "-").out)
    assert (result["rows"], result["time_ordered"]) == (5491, True)
    assert result["metrics"]["validation"]["roc_auc"]["value"] > 0.65
    assert "“Won within 180" in Path(result["report"]).read_text()


@pytest.mark.slow
def test_a_pipeline_that_holds_no_signal_is_said_to_hold_none(run):
    run("init", *files("crm_opportunities", CRM))
    draft = Path("leadloop.toml")
    # The account is entered when a deal is closed: open deals have none. What it says is known only then.
    leads, _, rest = draft.read_text().partition("[accounts]")
    draft.write_text(leads + rest[rest.index("[[transitions]]") :])
    messages = run("train").err
    assert "The model ranks only" in messages
    warned = json.loads(Path("leadloop-out/report.json").read_text())["summary"]["warnings"]
    assert "little_signal" in {warning["code"] for warning in warned}
