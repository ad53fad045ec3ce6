"""The benchmarks run: at sizes that say nothing, so that they still run when somebody wants to know."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import (
    accounts,
    advice,
    batch,
    combinations,
    console,
    explain,
    handover,
    leak_worlds,
    load,
    misspecified_coverage,
    misspecified_worlds,
    moved_events,
    online,
    reading,
    refused_bodies,
    report,
    run,
    snapshot_grid,
    soak,
    stalls,
    worlds,
)
from small_model import build_small_model

from features.catalogue import build_feature_set
from features.cohort import CohortRule, open_lead_snapshots
from models import artifact
from models.metrics import roc_auc
from serving.server import post_json
from training.data.dataset import compute_feature_rows, flat_features, flat_rows
from training.simulation.simulator import simulate


@pytest.fixture
def company(tmp_path):
    history = simulate(60, seed=1).history
    features = build_feature_set(history)
    rows = compute_feature_rows(features, history, open_lead_snapshots(history, CohortRule()))
    folder = tmp_path / "model"
    return artifact.save(build_small_model(features, rows), folder), folder


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_history_is_written_and_scored_from_file_to_file(company, tmp_path, suffix):
    took = batch.score(company[1], batch.write_history(50, tmp_path / "crm", suffix))
    assert took.seconds > 0
    assert 0.05 < took.peak < 2


def test_a_run_is_compared_with_a_bare_predict_of_the_same_leads(company, tmp_path, capsys):
    config = batch.write_history(50, tmp_path / "crm", "parquet")
    run, start = batch.Run(9.0, 8.0, 0.5), batch.Run(2.0, 1.0, 0.2)
    batch.report_ratio(company[1], config, run, start)
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "times that" in line]
    net, whole = (float(line[1].rstrip(" |")) for line in lines)
    assert 0 < net < whole


def test_an_account_of_many_leads_is_timed():
    assert accounts.cost(40, 2)[0] == 80


def test_a_history_is_read_and_timed(tmp_path):
    reading.write_tables(30, tmp_path)
    assert reading.read_seconds(Path(__file__).parents[2], tmp_path, "csv")[0] == 30 * reading.TOUCHPOINTS


def test_activities_that_move_are_named_or_not():
    history = simulate(150, 1, world=moved_events.drawn_world(1)).history
    kinds = set(history.touchpoints["kind"])
    for how in moved_events.MOVES:
        assert set(moved_events.named(moved_events.move(history, how, 1))) <= kinds


@pytest.mark.filterwarnings("ignore")
def test_contributions_are_those_of_shap(company):
    took, difference = batch.reason_costs(company[0], leads=40)
    assert difference < 1e-12
    assert all(took.values())


def test_contributions_by_look_up_are_timed_beside_those_of_lightgbm(company):
    rows, largest = explain.contributions(company[0], (1, 40))
    assert [row[0] for row in rows] == [1, 40]
    assert largest < 1e-12
    assert all(took > 0 for _, took in explain.one_lead(company[0], times=2))


def test_a_flat_file_is_scored_beside_a_bare_prediction(tmp_path):
    table = batch.flat_export(50, seed=1)
    table.drop("sql").write_csv(tmp_path / "new.csv")
    features = flat_features(table.drop("sql"), ())
    model = build_small_model(
        features, flat_rows(features, table), flat=True, id_column="lead_id", missing=("",)
    )
    assert all(batch.flat(model, tmp_path / "new.csv", tmp_path).values())


def test_the_report_of_a_run_is_measured(tmp_path):
    summing, writing, memory, page = report.made(*report.trained(300, 900, tmp_path))
    assert min(*summing, *writing, memory) > 0
    assert page.startswith("<!doctype html>")


def test_a_hand_over_is_measured_on_a_log_that_was_filled(tmp_path):
    place = str(tmp_path / "decisions.db")
    handover.fill(place, 2_000)
    for wish in handover.WISHES.values():
        spent, server, memory = handover.cost(place, wish)
        assert (spent > 0, server, memory < 100) == (True, 0.0, True)


def test_lists_of_the_console_are_measured_and_read_from_their_indexes(tmp_path):
    place = str(tmp_path / "decisions.db")
    console.fill(place, 2_000)
    figures = console.measure(place, 2_000, rounds=1)
    plans = {name: " ".join(map(" ".join, plans)) for name, (_, _, plans) in figures.items()}
    assert "INDEX current_scores_by_probability" in plans["the first page"]
    assert "INDEX current_scores_by_owner" in plans["how many of an owner"]
    assert "INDEX current_scores_by_probability" in plans["choices (once a minute)"]
    assert not any("SCAN current_scores" in plan for plan in plans.values())


def test_snapshots_of_fixed_ages_are_judged_beside_those_of_any_age():
    company = snapshot_grid.simulated("small", 1.0, 60, 60, 250, seed=1)
    fixed, own = (snapshot_grid.scored(company, fixed=each) for each in (True, False))
    assert (fixed[0] == own[0]).all()
    assert (fixed[2] == own[2]).all()
    assert (fixed[1] != own[1]).any()
    assert fixed[3] < own[3]


def test_companies_that_convert_slowly_convert_less():
    quick, slow = (worlds.Shape(60, slowness, 300).rows(seed=1) for slowness in (0.3, 4.0))
    assert quick.label.mean() > 2 * slow.label.mean() > 0
    assert quick.to_learning_rows().design_effect > 1.5


def residual_share(leads):
    """The share of the variance of true log-odds that no sum of effects of single columns has."""
    columns = [np.ones(leads.frame.height)]
    for name in leads.frame.columns:
        values = leads.frame[name].rank("dense").to_numpy()
        level = np.searchsorted(np.unique(np.quantile(values, np.linspace(0, 1, 13)[1:-1])), values)
        columns += [(level == number).astype(float) for number in np.unique(level)[1:]]
    design = np.column_stack(columns)
    fitted = design @ np.linalg.lstsq(design, leads.log_odds)[0]
    return float(np.var(leads.log_odds - fitted) / np.var(leads.log_odds))


@pytest.mark.parametrize("kind", misspecified_worlds.KINDS)
def test_the_truth_of_a_misspecified_world_is_known_and_is_no_sum_of_effects(kind):
    leads = misspecified_worlds.misspecified_company(kind, 1).leads(5000, seed=2)
    p = 1 / (1 + np.exp(-leads.log_odds))
    assert abs(leads.y.mean() - p.mean()) < 3 * np.sqrt((p * (1 - p)).sum()) / len(p)
    assert (residual_share(leads) > 0.1) == (kind != "additive")


def test_coverage_is_measured_for_each_method(monkeypatch):
    monkeypatch.setattr(misspecified_coverage, "SCORED", 300)
    monkeypatch.setattr(misspecified_coverage, "GRID", 5)
    found = misspecified_coverage.coverages("thresholds", 400, 1, None, other_methods=True)
    assert len(found) == 4
    assert all(len(each.right) == 300 and each.half > 0 for each in found)


def test_one_by_one_and_a_matrix_are_measured_beside_each_other(company):
    rows = online.crossings(company[0], sizes=(1, 2))
    assert [size for size, *_ in rows] == [1, 2]
    assert all(ms > 0 for _, *ways in rows for ms in ways)
    assert all(ms > 0 for _, ms in online.in_process(company[0]))


def test_parts_and_sizes_are_chosen():
    assert run.options([]).parts == run.PARTS
    assert run.options(["batch", "--million"]).parts == ["batch"]
    assert run.options(["load", "soak"]).parts == ["load", "soak"]
    with pytest.raises(SystemExit):
        run.options(["everything"])


def test_the_bare_service_that_load_is_measured_beside_gives_the_same_scores(company, tmp_path):
    model, folder = company
    body = json.dumps({"leads": [load.lead(number) for number in range(2)]})
    with (tmp_path / "lines").open("wb") as log, load.bare(folder, log) as url:
        told = load.measure([load.Asked("bare", url, "/v1/score", body)], 2, 0)["bare"]
        assert post_json(url, "/v1/score", json.loads(body))["model_version"] == model.version
    assert 0 < told.p50 <= told.p99
    assert told.rate == pytest.approx(2 * len(told.seconds) / sum(told.seconds))


@pytest.mark.slow
def test_a_stall_is_measured_beside_the_cost_of_its_request(company, capsys):
    stalls.main(company[1], rounds=1, only="score 1 lead")
    *_, line = capsys.readouterr().out.splitlines()
    name, size, status, answer, *figures = (cell.strip() for cell in line.strip("|").split("|"))
    assert (name, status) == ("score 1 lead", "200")
    assert int(size.replace(",", "")) > 1_000 < int(answer.replace(",", "")) * 10
    assert len(figures) == 4


def test_every_costly_request_fits_into_a_body():
    bodies = [make()[1] for make in stalls.ATTACKS.values()]
    assert max(map(len, bodies)) <= stalls.LIMIT


def test_ready_made_features_are_those_of_the_model(company):
    model, _ = company
    told = json.loads(load.ready_made(model, [load.lead()]))["dataframe_split"]
    assert told["columns"] == list(model.features.names)
    assert [len(row) for row in told["data"]] == [len(model.features)]


@pytest.mark.slow
def test_clients_without_a_key_are_refused_while_memory_is_watched(company):
    growth = refused_bodies.measure(company[1], 5, 1 << 20)
    assert growth.statuses == {b"401": 5}
    assert 0 < growth.before <= growth.peak


@pytest.mark.slow
def test_a_soak_promotes_while_it_asks(company, monkeypatch):
    monkeypatch.setattr(soak, "MEASURED_FOR", 0.5)
    monkeypatch.setenv("LEADLOOP_STORE", "taken back after the test")
    done = soak.soak(company[0], soak.options(["--minutes", "0.4", "--every", "10"]))
    assert done.crm.failures == []
    assert len(done.promoted) >= 3
    assert set(done.promoted[:-1]) <= done.crm.versions
    assert len(done.samples) >= 3


def test_a_soak_finds_what_fails_and_what_grows():
    crm = soak.Crm("http://127.0.0.1:1", versions={"a"})
    crm.ask(0.2, interval=0.05)
    assert soak.growth([900] * 10 + [100] * 10 + [110] * 10) == pytest.approx(1.1)
    faults = soak.Soaked(crm, ["a", "b", "c"], 10.0, [100] * 20 + [110] * 10).faults
    assert "refused" in faults[0]
    assert faults[-2:] == ["1 promotions were never seen", "memory grew by 10.0%"]


def test_made_up_companies_take_turns_with_their_leaks():
    made = [leak_worlds.export(seed, 60) for seed in range(20)]
    planted = {leak for _, leaking in made for leak in leaking.values()}
    assert planted == {names[0] for names in leak_worlds.LEAKS} | {"pair"}
    assert all(set(leaking) < set(frame.columns) for frame, leaking in made)
    assert [len(leaking) for _, leaking in made[3::4]] == [0] * 5
    assert made[5][0].equals(leak_worlds.export(5, 60)[0])


def test_advice_is_counted_in_worlds_of_every_kind(capsys):
    advice.main(["--worlds", "1", "--power", "1", "--leads", "300"])
    lines = capsys.readouterr().out.splitlines()
    kinds = [line.split()[0] for line in lines if not line.startswith(("world ", "null ", "power:"))]
    assert kinds == [*advice.NULL_KINDS, *advice.POWER_KINDS]
    assert sum("any false" in line or "anything false" in line for line in lines) == 2
    assert advice.false_claims("mix", {"calls", "segments", "channel ads more"}) == {"channel ads more"}
    assert advice.false_claims("week", {"calls", "week 3", "week 4"}) == {"week 4"}


@pytest.mark.slow
def test_reports_advise_nothing_false_in_null_worlds_and_what_is_true_in_others():
    """A few of the worlds of ``advice.py``, which counts hundreds: of these few, two reports may be wrong."""
    null = [advice.measure(kind, worlds=4, leads=2000) for kind in advice.NULL_KINDS]
    wrong = [found for worlds in null for found in worlds.found if advice.false_claims(worlds.kind, found)]
    assert len(wrong) <= 2
    power = [advice.measure(kind, worlds=3, leads=2000) for kind in advice.POWER_KINDS]
    assert all(worlds.share(advice.NAMED[worlds.kind]) >= 2 / 3 for worlds in power)


@pytest.mark.parametrize("name", combinations.NULL_WORLDS)
def test_null_worlds_of_combinations_have_both_outcomes(name):
    rows = combinations.NULL_WORLDS[name](np.random.default_rng(1), 400)
    assert 0.05 < rows.y.mean() < 0.6
    assert combinations.false_choices(name, 1, 400) in {0, 1}


def test_in_the_world_of_codes_each_alone_says_next_to_nothing():
    frame, y, p = combinations.world_of_codes(combinations.LEARNED + 3_000, 1)
    later = y[combinations.LEARNED :]
    alone = [roc_auc(later, combinations.smoothed_rates([name], frame, y)) for name in combinations.CODES]
    assert max(alone) < 0.62
    assert roc_auc(later, combinations.smoothed_rates([*combinations.CODES], frame, y)) > 0.7
    assert roc_auc(later, p[combinations.LEARNED :]) > 0.8
