from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_export import leads, write

from features.clock import DAY
from features.cohort import CohortRule
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from features.labels import LabelSpec
from features.spec import DisplayText, FeatureSet, attribute
from models.metrics import roc_auc
from training.data.dataset import Dataset, from_flat_export, from_history
from training.leakage.checks import run_checks, sorted_findings
from training.leakage.column_checks import single_column_auc
from training.simulation.simulator import LEAK, simulate

MAPPING = FlatMapping(id="Id", label="Converted", time="No")


def findings_by_code(tmp_path, frame, mapping=MAPPING):
    checks = run_checks(from_flat_export(read_flat(write(tmp_path, frame), mapping), mapping))
    return {check.code: check for check in checks}


def test_a_code_that_tells_leads_apart_and_nothing_else_is_no_leak_though_leads_are_looked_at_often():
    random = np.random.default_rng(4)
    lead = np.repeat(np.arange(900), 6)
    won, code = (random.random(900) < 0.3).astype(np.int8), random.integers(700, size=900)
    rows = pl.DataFrame(
        {
            "lead_id": [f"{number:04d}" for number in lead],
            "as_of": np.tile(np.arange(1, 7), 900) * DAY,
            "campaign": [f"c{number}" for number in code[lead]],
        }
        | {f"noise_{k}": random.normal(size=len(lead)) for k in range(9)}
    )
    columns = [attribute(n, family="fit", says=DisplayText(n, n), unit="number") for n in rows.columns[3:]]
    campaign = attribute("campaign", family="channel", says=DisplayText("campaign", "Kampagne"))
    data = Dataset(FeatureSet((campaign, *columns)), rows, won[lead], "won")
    assert single_column_auc(rows["campaign"], won[lead], data.lead) == pytest.approx(0.5, abs=0.06)
    assert single_column_auc(rows["campaign"], won[lead]) > 0.85
    assert not [finding for finding in sorted_findings(run_checks(data)) if finding.column == "campaign"]


def test_honest_columns_raise_no_alarm(tmp_path):
    checks = findings_by_code(tmp_path, leads(3000))
    assert {code for code, check in checks.items() if check.outcome == "triggered"} == set()


def test_a_column_that_repeats_the_outcome_is_named(tmp_path):
    frame = leads(2000)
    rng = np.random.default_rng(1)
    call = pl.Series("Last call", np.where(rng.random(2000) < 0.95, frame["Converted"], "open"))
    (finding,) = findings_by_code(tmp_path, frame.with_columns(call))["LC001"].findings
    assert (finding.column, finding.severity) == ("Last call", "high")


def test_a_column_filled_after_the_outcome_is_named(tmp_path):
    frame = leads(2000)
    note = pl.when(pl.col("Converted") == "Yes").then(pl.lit("n") + (pl.col("No") % 7).cast(pl.String))
    check = findings_by_code(tmp_path, frame.with_columns(note.alias("Sales note")))["LC002"]
    assert [(f.column, f.severity) for f in check.findings] == [("Sales note", "high")]


@pytest.mark.parametrize(("outcome", "says"), [("Yes", "all of the"), ("No", "none of the")])
def test_a_rare_column_filled_for_one_outcome_only_is_named(tmp_path, outcome, says):
    filled = (pl.col("Converted") == outcome) & (pl.col("No") % 20 == 0)
    note = pl.when(filled).then(pl.lit("n") + (pl.col("No") % 3).cast(pl.String))
    (finding,) = findings_by_code(tmp_path, leads(2000).with_columns(note.alias("Sales note")))[
        "LC002"
    ].findings
    assert (finding.column, finding.severity) == ("Sales note", "medium")
    assert says in finding.message


def test_the_more_leads_a_value_settles_the_graver_is_the_finding(tmp_path):
    frame = leads(3000)
    (won,) = np.nonzero((frame["Converted"] == "Yes").to_numpy())
    severities = []
    for filled in (5, 30, 500):
        sure = pl.Series(np.isin(np.arange(3000), won[:filled]))
        note = pl.when(sure).then(pl.lit("n") + (pl.col("No") % 3).cast(pl.String)).alias("Gift")
        check = findings_by_code(tmp_path, frame.with_columns(note))["LC002"]
        severities.append([(f.column, f.severity) for f in check.findings])
    assert severities == [[], [("Gift", "medium")], [("Gift", "high")]]


def test_a_rate_is_written_as_people_write_it(tmp_path):
    frame = leads(20_000)
    rare = (pl.col("Converted") == "Yes") & (pl.col("No") % 60 == 0)
    frame = frame.with_columns(
        Converted=pl.when(rare).then(pl.lit("Yes")).otherwise(pl.lit("No")),
        Gift=pl.when(rare & (pl.col("No") % 240 == 0)).then(pl.lit("n") + (pl.col("No") % 7).cast(pl.String)),
    )
    (finding,) = findings_by_code(tmp_path, frame)["LC002"].findings
    assert "of all leads 1 in 150 did" in finding.message
    assert "von allen 1 von 150" in finding.message.render("de")


def test_a_few_leads_alike_prove_nothing(tmp_path):
    mine = (pl.col("Converted") == "No") & (pl.col("No") % 200 == 0)
    note = pl.when(mine).then(pl.lit("n") + (pl.col("No") % 3).cast(pl.String))
    checks = findings_by_code(tmp_path, leads(2000).with_columns(note.alias("Sales note")))
    assert checks["LC002"].outcome == "clean"


def test_too_few_outcomes_are_no_evidence_of_anything(tmp_path):
    frame = leads(100).with_columns(
        Converted=pl.when(pl.col("No") < 5).then(pl.lit("Yes")).otherwise(pl.lit("No"))
    )
    check = findings_by_code(tmp_path, frame)["LC001"]
    assert check.outcome == "not applicable"
    assert "only 5 rows" in check.reason


def test_rows_without_time_are_said_to_prove_nothing(tmp_path):
    mapping = FlatMapping(id="Id", label="Converted")
    assert findings_by_code(tmp_path, leads(), mapping)["LC007"].outcome == "triggered"
    assert findings_by_code(tmp_path, leads())["LC007"].outcome == "clean"


def test_the_gravest_finding_comes_first(tmp_path):
    frame = leads(2000)
    gift = pl.when((pl.col("Converted") == "Yes") & (pl.col("No") % 20 == 0)).then(pl.lit("n")).alias("Gift")
    frame = frame.with_columns(gift, pl.lit("x").alias("Same"), frame["Converted"].alias("Copy"))
    mapping = FlatMapping(id="Id", label="Converted", time="No", roles={"Same": "category"})
    ordered = [
        f.severity for f in sorted_findings(tuple(findings_by_code(tmp_path, frame, mapping).values()))
    ]
    assert ordered == sorted(ordered, key=["high", "medium", "info"].index)
    assert set(ordered) == {"high", "medium", "info"}


def test_a_column_of_noise_has_an_auc_of_one_half():
    rng = np.random.default_rng(0)
    label = (rng.random(20_000) < 0.2).astype(np.int8)
    words = pl.Series(rng.choice(["a", "b", "c"], 20_000).tolist()).replace({"c": None})
    assert single_column_auc(words, label) == pytest.approx(0.5, abs=0.02)
    assert single_column_auc(pl.Series(rng.normal(size=20_000)), label) == pytest.approx(0.5, abs=0.02)


def test_the_auc_of_a_number_finds_any_shape():
    rng = np.random.default_rng(0)
    value = rng.normal(size=20_000)
    label = (np.abs(value) > 1).astype(np.int8)
    assert roc_auc(label, value) == pytest.approx(0.5, abs=0.02)
    assert single_column_auc(pl.Series(value), label) > 0.9


def test_a_column_that_the_whole_model_rests_on_is_named(tmp_path):
    frame = leads(3000)
    rng = np.random.default_rng(2)
    won = (frame["Converted"] == "Yes").to_numpy()
    leak = pl.Series("Call", np.where(rng.random(3000) < 0.85, won, rng.random(3000) < 0.5).astype(int))
    noise = [pl.Series(f"Noise {n}", rng.normal(size=3000)) for n in range(6)]
    check = findings_by_code(tmp_path, frame.with_columns(leak, *noise))["LC003"]
    assert [finding.column for finding in check.findings] == ["Call"]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_column_of_a_model_that_knows_little_is_no_leak(tmp_path, seed):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=2000)
    won = rng.random(2000) < 1 / (1 + np.exp(1.5 - 0.7 * signal))
    noise = [pl.Series(f"Noise {n}", rng.normal(size=2000)) for n in range(10)]
    frame = leads(2000, seed).select("Id", "No").with_columns(*noise, Income=pl.Series(signal))
    frame = frame.with_columns(Converted=pl.Series(np.where(won, "Yes", "No")))
    assert findings_by_code(tmp_path, frame)["LC003"].outcome == "clean"


def test_of_few_columns_each_may_carry_much(tmp_path):
    assert findings_by_code(tmp_path, leads(3000))["LC003"].outcome == "not applicable"


@pytest.mark.parametrize(
    "name",
    [
        *("Last Activity", "Lead Quality", "close_value", "Sales notes", "Lost reason", "Next Step"),
        *("Letzte Aktivität", "Gesprächsergebnis", "Absagegrund", "Leadbewertung", "Nächster Schritt"),
    ],
)
def test_a_name_that_speaks_of_later_is_named(tmp_path, name):
    check = findings_by_code(tmp_path, leads().rename({"Newsletter": name}))["LC004"]
    assert [finding.column for finding in check.findings] == [name]


def test_a_name_alone_is_a_hint_and_no_accusation(tmp_path):
    renamed = leads(3000).rename({"Newsletter": "Last page", "Visits": "Last score"})
    check = findings_by_code(tmp_path, renamed)["LC004"]
    assert {f.column: f.severity for f in check.findings} == {"Last page": "info", "Last score": "medium"}


def test_a_column_of_one_season_is_named(tmp_path):
    late = pl.when(pl.col("No") > 400).then("Noise").alias("Index of summer")
    check = findings_by_code(tmp_path, leads().with_columns(late))["LC005"]
    assert [finding.column for finding in check.findings] == ["Index of summer"]


def test_newest_leads_whose_time_has_not_come_are_noticed(tmp_path):
    young = pl.when(pl.col("No") < 480).then("Converted").otherwise(pl.lit("No")).alias("Converted")
    assert findings_by_code(tmp_path, leads().with_columns(young))["LC008"].outcome == "triggered"
    assert findings_by_code(tmp_path, leads())["LC008"].outcome == "clean"


def simulated(seed, *, leak):
    world = simulate(3000, seed, leak=leak)
    rule = CohortRule(on=("mql",), every=30 * DAY, closed=("sql", "disqualified"), until_age=60 * DAY)
    return run_checks(from_history(world.history, rule, LabelSpec("sql", 60 * DAY)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_of_a_simulated_crm_the_planted_leak_is_named_and_nothing_else(seed):
    grave = {f.column for f in sorted_findings(simulated(seed, leak=True)) if f.severity != "info"}
    assert grave == {LEAK}
    assert not {f.column for f in sorted_findings(simulated(seed, leak=False)) if f.severity != "info"}


DATA = Path(__file__).parents[4] / "shared" / "data"
LEAKS = {
    "xeducation/Leads.csv": (
        FlatMapping(id="Prospect ID", label="Converted", time="Lead Number"),
        {"Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity"}
        | {f"Asymmetrique {what} {how}" for what in ("Activity", "Profile") for how in ("Index", "Score")},
    ),
    "online_shoppers/online_shoppers_intention.csv": (
        FlatMapping(label="Revenue", time="Month"),
        {"PageValues"},
    ),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the real sets are not here")
@pytest.mark.parametrize("name", LEAKS)
def test_the_known_leaks_of_real_exports_are_named_and_nothing_else(name):
    mapping, leaks = LEAKS[name]
    checks = run_checks(from_flat_export(read_flat(DATA / name, mapping), mapping))
    assert {f.column for f in sorted_findings(checks) if f.severity != "info"} == leaks
