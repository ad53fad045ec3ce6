"""A look at a model in use: quiet while nothing changed, and by name about what did."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from markupsafe import escape
from scipy.special import expit
from small_export import leads, write

import leadloop
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from features.ingest.quarantine import SourceError, TooManyBadRowsError
from models.artifact import save
from models.drift import ReferenceDistribution, psi
from models.model_card import ModelCard
from training.batch_scoring import ScoringOptions, score_flat
from training.config.settings import TrainingConfig
from training.data.dataset import from_flat_export
from training.monitoring.inputs import OutcomeFile, read_files, read_outcomes, read_scores
from training.monitoring.monitor import monitor_model
from training.monitoring.page import monitor_page
from training.monitoring.results import Alert, AlertThresholds, MonitoringReport
from training.pipeline.fit_model import train_model
from training.stats.intervals import effective_sample_size


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    data = from_flat_export(read_flat(write(folder, leads(1500)), mapping), mapping)
    return save(train_model(data, TrainingConfig()).model, folder / "model")


def watch(model, scores, outcomes):
    """Both files read and looked at, as the command does."""
    data = read_files(model, scores, outcomes)
    return monitor_model(model, data.scores, data.outcomes)


def scored(model, folder, frame):
    """The leads as the command scores them, and their outcomes, in two files."""
    write(folder, frame.drop("Converted"), "open.csv")
    score_flat(model, folder / "open.csv", ScoringOptions(folder / "scores.csv"), lambda _: None)
    frame.select("Id", "Converted").write_csv(folder / "outcomes.csv")
    return folder / "scores.csv", OutcomeFile(folder / "outcomes.csv", "Id", "Converted")


def codes(report):
    return {reason.code for reason in report.reasons}


def draw_scores(n, seed, shift=0.0, spread=1.2):
    """Scores of leads as a calibrated model gives them, and their outcomes, the base rate shifted or not."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-1.5, spread, n)
    ids = pl.Series("lead_id", [str(i) for i in range(n)])
    p = expit(log_odds)
    grade = np.select([p > 0.5, p > 0.3, p > 0.15], ["A", "B", "C"], "D")
    scores = pl.DataFrame(
        [ids, pl.Series("log_odds", log_odds), pl.Series("probability", p), pl.Series("grade", grade)]
    )
    label = (random.random(n) < expit(log_odds + shift)).astype(float)
    return scores, pl.DataFrame([ids, pl.Series("label", label)])


@pytest.fixture(scope="module")
def watched():
    """As much of a model as a look needs, judged on scores like those that are drawn."""
    log_odds, _ = draw_scores(5000, 99)
    card = ModelCard(
        "Converted", "2026-11-21", rows=1, positives=1, time_ordered=True, recipe="r",
        profiles={"log_odds": ReferenceDistribution.of(log_odds["log_odds"])},
    )  # fmt: skip
    return SimpleNamespace(card=card, version="v", features=SimpleNamespace(names=()))


def test_psi_is_what_a_pencil_says():
    # (0.3-0.5) ln(0.3/0.5) + (0.4-0.3) ln(0.4/0.3) + (0.3-0.2) ln(0.3/0.2) = 0.10217 + 0.02877 + 0.04055
    assert psi([0.5, 0.3, 0.2], [0.3, 0.4, 0.3]) == pytest.approx(0.17148, abs=5e-6)
    assert psi([0.5, 0.5], [0.5, 0.5]) == 0


def test_a_profile_cuts_at_deciles_and_keeps_the_missing_apart():
    column = pl.Series("x", [*range(1, 91), *[None] * 10], pl.Float64)
    profile = ReferenceDistribution.of(column)
    assert profile.edges == (9, 18, 27, 36, 45, 54, 63, 72, 81)
    assert profile.shares == pytest.approx((0.1, *[0.09] * 10))
    assert profile.drift(column).psi == 0
    full = profile.bin_shares(column.drop_nulls())
    assert (full[0], full.sum()) == (0, pytest.approx(1))


def test_words_never_seen_are_a_part_of_their_own():
    profile = ReferenceDistribution.of(pl.Series("source", ["Ads"] * 60 + ["Fair"] * 40))
    assert profile.bin_shares(pl.Series(["Ads", "Podcast", None, "Podcast"])).tolist() == [0.25, 0.25, 0, 0.5]


@pytest.mark.parametrize("rows", [100, 1000, 20_000])
def test_an_index_without_drift_stays_below_what_chance_allows(rows):
    reference = ReferenceDistribution.of(pl.Series(np.random.default_rng(0).normal(size=3000)))
    above = 0
    for seed in range(200):
        drift = reference.drift(pl.Series(np.random.default_rng(seed + 1).normal(size=rows)))
        above += drift.psi > drift.chance
    assert above <= 3


def test_leads_that_judged_the_model_several_times_are_no_more_leads():
    above = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        looks = pl.DataFrame({"lead_id": [*map(str, range(100))] * 10})
        reference = pl.Series(np.tile(random.normal(size=100), 10))
        drift = ReferenceDistribution.of(reference, effective_sample_size(looks["lead_id"])).drift(
            pl.Series(random.normal(size=2000))
        )
        above += drift.psi > drift.chance
    assert above <= 3


@pytest.mark.parametrize(("rows", "seeds"), [(60, 60), (500, 60), (5000, 20)])
def test_healthy_stays_healthy_over_seeds(watched, rows, seeds):
    states = [monitor_model(watched, *draw_scores(rows, seed)).state for seed in range(seeds)]
    assert states.count("healthy") >= seeds - 1


def test_a_shifted_base_rate_is_noticed_and_named(watched):
    for seed in range(10):
        report = monitor_model(watched, *draw_scores(3000, seed, shift=-0.9))
        assert "base_rate" in codes(report)
        assert report.state in {"watch", "retrain"}
        assert report.total.ratio == pytest.approx(0.55, abs=0.15)


def test_twice_as_many_conversions_as_forecast_ask_for_retraining(watched):
    report = monitor_model(watched, *draw_scores(5000, 1, shift=1.2))
    assert (report.state, report.exit_code) == ("retrain", 4)


def test_scores_that_are_spread_otherwise_are_drift_although_the_outcomes_fit(watched):
    report = monitor_model(watched, *draw_scores(3000, 1, spread=2.2))
    assert codes(report) == {"score_drift"}
    assert report.score_drift.psi > 0.25


def test_a_few_outcomes_decide_nothing_and_say_so(watched):
    scores, outcomes = draw_scores(2000, 1, shift=2)
    report = monitor_model(watched, scores, outcomes.head(9))
    assert report.state == "healthy"
    assert "10 conversions" in report.unknown["calibration"]
    assert report.total.rows == 9


def test_without_any_outcome_drift_is_still_seen(watched):
    scores, outcomes = draw_scores(3000, 1, spread=2.2)
    report = monitor_model(watched, scores, outcomes.clear())
    assert codes(report) == {"score_drift"}
    assert "no scored lead has an outcome" in report.unknown["outcomes"]


def test_a_month_that_went_wrong_is_named(watched):
    scores, outcomes = draw_scores(4000, 3)
    months = ["2026-01" if i < 2000 else "2026-02" for i in range(4000)]
    label = [
        0.0 if month == "2026-02" else value for month, value in zip(months, outcomes["label"], strict=True)
    ]
    report = monitor_model(
        watched, scores.with_columns(month=pl.Series(months)), outcomes.with_columns(label=pl.Series(label))
    )
    by_month = [reason.message for reason in report.reasons if reason.code == "calibration_by_month"]
    assert len(by_month) == 1
    assert "2026-02" in by_month[0]


def test_one_lead_scored_daily_is_one_witness(watched):
    scores, outcomes = draw_scores(40, 5, shift=1.0)
    daily = pl.concat([scores] * 60)
    assert abs(monitor_model(watched, daily, outcomes).total.beyond) < 5
    assert monitor_model(watched, daily, outcomes).total.rows == 2400


@pytest.mark.parametrize("leads", [20, 60])
def test_healthy_stays_healthy_where_each_lead_is_scored_daily(watched, leads):
    """Scored again, a lead says the same: thirty looks at it bear no more than one."""
    states = []
    for seed in range(40):
        scores, outcomes = draw_scores(leads, seed)
        states.append(monitor_model(watched, pl.concat([scores] * 30), outcomes).state)
    assert states.count("healthy") >= 39


def test_leads_scored_several_times_are_as_surprising_as_if_they_had_been_scored_once(watched):
    scores, outcomes = draw_scores(300, 2, shift=-1.0)
    once, daily = (monitor_model(watched, pl.concat([scores] * times), outcomes) for times in (1, 30))
    assert daily.total.beyond == pytest.approx(once.total.beyond)
    assert daily.total.enough == pytest.approx(once.total.enough)
    assert daily.score_drift.chance == pytest.approx(once.score_drift.chance)


def test_the_verdict_is_its_gravest_reason_and_the_exit_codes_are_apart():
    def report_of(*states):
        reasons = tuple(Alert(state, "x", "y") for state in states)
        return MonitoringReport("v", 1, reasons, None, (), None, None, (), (), None, {})

    assert (report_of().state, report_of().exit_code) == ("healthy", 0)
    assert (report_of("watch").state, report_of("watch").exit_code) == ("watch", 3)
    assert (report_of("watch", "retrain").state, report_of("watch", "retrain").exit_code) == ("retrain", 4)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_new_leads_of_the_same_kind_leave_a_real_model_healthy(model, tmp_path, seed):
    report = watch(model, *scored(model, tmp_path, leads(800, seed)))
    assert report.state == "healthy", list(report.in_words())
    assert report.roc_auc.value > 0.7
    assert sum(group.rows for group in report.grades) == report.total.rows == 800


def test_leads_without_their_features_are_counted_and_the_changed_column_named(model, tmp_path):
    frame = leads(800, 21).with_columns(
        pl.lit(None, pl.Int64).alias("Visits"), pl.lit(None, pl.String).alias("Source")
    )
    scores, outcomes = scored(model, tmp_path, leads(800, 21))
    beside = pl.read_csv(scores, schema_overrides={"lead_id": pl.String}).hstack(
        frame.select("Visits", "Source")
    )
    beside.write_parquet(tmp_path / "beside.parquet")
    report = watch(model, tmp_path / "beside.parquet", outcomes)
    assert report.without_data == 1
    assert {"without_data", "feature_drift"} <= codes(report)
    assert {drift.column for drift in report.feature_drift if drift.psi > 1} == {"Visits", "Source"}
    assert report.state == "retrain"


def test_a_file_of_outcomes_may_have_one_kind_only_and_gaps(tmp_path):
    path = tmp_path / "outcomes.csv"
    path.write_text("Id,Won,When\n007,no,2026-02-03\n8,,2026-02-04\n9,No,2026-03-01\n")
    outcomes = read_outcomes(OutcomeFile(path, "Id", "Won", "When"))
    assert outcomes.drop("at").rows() == [("007", 0.0, "2026-02"), ("9", 0.0, "2026-03")]
    path.write_text("Id,Won\n1,lost\n2,lost\n")
    with pytest.raises(SourceError, match="one class only"):
        read_outcomes(OutcomeFile(path, "Id", "Won"))


def test_a_lead_that_ever_converted_has_converted(tmp_path):
    path = tmp_path / "outcomes.csv"
    path.write_text("Id,Won\n1,no\n1,yes\n2,no\n")
    assert sorted(read_outcomes(OutcomeFile(path, "Id", "Won")).rows()) == [("1", 1.0), ("2", 0.0)]


def test_scores_that_leadloop_did_not_write_are_refused(model, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("lead_id,points\n1,20\n")
    with pytest.raises(SourceError, match="log_odds"):
        read_scores(model, path)


def test_the_result_is_plain_json_values(watched):
    import json  # noqa: PLC0415

    result = json.loads(json.dumps(monitor_model(watched, *draw_scores(500, 1)).to_dict(), allow_nan=False))
    assert (result["state"], result["exit_code"], result["scored"]) == ("healthy", 0, 500)
    assert math.isfinite(result["score_drift"]["psi"])
    assert AlertThresholds().psi == (0.1, 0.25)


def test_scores_that_say_not_to_be_relied_on_are_counted_by_reason(watched):
    scores, outcomes = draw_scores(1000, 1)
    why = pl.Series("insufficient", ["too_wide"] * 300 + ["unseen_value"] * 200 + [None] * 500)
    report = monitor_model(watched, scores.with_columns(why), outcomes)
    assert report.insufficient == {"too_wide": 0.3, "unseen_value": 0.2}
    assert "insufficient" in codes(report)
    fewer = pl.Series("insufficient", ["too_wide"] * 390 + [None] * 610)
    assert "insufficient" not in codes(monitor_model(watched, scores.with_columns(fewer), outcomes))
    dormant = pl.Series("insufficient", ["too_wide"] * 390 + ["dormant"] * 610)
    assert "insufficient" not in codes(monitor_model(watched, scores.with_columns(dormant), outcomes))


def test_a_lead_that_was_scored_twice_may_have_come_to_either(watched):
    scores, outcomes = draw_scores(400, 1)
    twice = pl.concat([scores.with_columns(as_of=pl.lit(at)) for at in (1, 2)])
    both = pl.concat(
        [outcomes.with_columns(as_of=pl.lit(1)), outcomes.with_columns(as_of=pl.lit(2), label=0.0)]
    )
    report = monitor_model(watched, twice, both)
    assert (report.total.rows, report.scored) == (800, 800)
    assert report.total.observed.value == pytest.approx(outcomes["label"].mean() / 2)


def test_the_page_says_all_of_it_and_runs_nothing_of_the_data(watched):
    scores, outcomes = draw_scores(3000, 2, shift=-0.9)
    evil = "<script>alert(1)</script>"
    report = monitor_model(watched, scores.with_columns(month=pl.lit(evil)), outcomes)
    page = monitor_page(report)
    assert all(str(escape(reason.message)) in page for reason in report.reasons)
    assert all(f'<th scope="row">{grade.name}</th><td>{grade.rows:,}</td>' in page for grade in report.grades)
    assert evil not in page
    assert str(escape(evil)) in page
    assert "default-src 'none'" in page


def test_a_healthy_model_has_a_page_that_says_so(watched):
    page = monitor_page(monitor_model(watched, *draw_scores(3000, 2)))
    assert "<h1>The model is healthy</h1>" in page
    assert "Nothing differs" in page


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs the command in an empty folder; what it answered: (exit code, messages)."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["leadloop", *map(str, words)])
        code = 0
        try:
            leadloop.main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        return code, err + out

    return command


def test_files_in_another_encoding_are_scored_and_monitored(model, tmp_path, run):
    save(model, tmp_path / "m")
    frame = leads(400, seed=5).with_columns(pl.lit("東京").alias("都市"))
    (tmp_path / "open.csv").write_bytes(frame.drop("Converted").write_csv().encode("shift_jis"))
    words = ("score", "--leads", "open.csv", "--model", "m", "--out", "s.csv", "--encoding")
    code, answer = run(*words, "shift_jis")
    assert (code, "都市" in answer) == (0, True)
    code, answer = run(*words, "shift-jiss")
    assert (code, "is no encoding" in answer) == (2, True)
    text = (
        pl.when(frame["Converted"].cast(pl.String).str.to_lowercase().is_in(["yes", "1", "true", "won"]))
        .then(pl.lit("成約"))
        .otherwise(pl.lit("失注"))
    )
    outcomes = frame.select("Id", text.alias("結果"))
    (tmp_path / "o.csv").write_bytes(outcomes.write_csv().encode("shift_jis"))
    words = (
        "monitor",
        "--scores",
        "s.csv",
        "--outcomes",
        "o.csv",
        "--id",
        "Id",
        "--label",
        "結果",
        "--model",
        "m",
    )
    code, answer = run(*words, "--encoding", "shift_jis")
    assert (code, "--positive VALUE" in answer) == (2, True)
    code, answer = run(*words, "--encoding", "shift_jis", "--positive", "成約")
    assert (code, "verdict" in answer) == (0, True), answer
    expected = f"{outcomes['結果'].eq('成約').mean():.1%}"
    assert expected in answer
    turned = run(*words, "--encoding", "shift_jis", "--positive", "失注")
    assert turned[0] > 0


def test_addresses_in_other_letters_are_the_leads_of_the_scores(model, tmp_path):
    frame = leads(400, seed=5).with_columns(("lead" + pl.col("Id").cast(pl.String) + "@X.de").alias("Id"))
    scores, outcomes = scored(model, tmp_path, frame)
    plain = read_files(model, scores, outcomes)
    frame.select(pl.col("Id").str.to_lowercase(), "Converted").write_csv(outcomes.file)
    lowered = read_files(model, scores, outcomes)
    assert lowered.known.sort("lead_id").equals(plain.known.sort("lead_id"))
    assert any("400 outcomes name a lead by an address" in notice for notice in lowered.notices)


def test_scores_that_were_appended_twice_count_once(model, tmp_path):
    scores, outcomes = scored(model, tmp_path, leads(50, seed=5))
    head, *rows = scores.read_text().splitlines()
    scores.write_text("\n".join([head, *rows, *rows]) + "\n")
    assert read_files(model, scores, outcomes).scores.height == 50


def test_no_verdict_rests_on_what_is_left_of_a_damaged_file(model, tmp_path):
    scores, outcomes = scored(model, tmp_path, leads(200, seed=5))
    rows = outcomes.file.read_text().splitlines()
    outcomes.file.write_text("\n".join([*rows[:10], rows[10].replace(",", ',"'), *rows[11:]]) + "\n")
    with pytest.raises(TooManyBadRowsError, match=r"191 of 200 rows cannot be used"):
        read_files(model, scores, outcomes)


def test_rows_without_an_outcome_are_told(model, tmp_path):
    scores, outcomes = scored(model, tmp_path, leads(200, seed=5))
    text = outcomes.file.read_text()
    blank = text.count(",No\n")
    outcomes.file.write_text(text.replace(",No\n", ",\n"))
    notices = read_files(model, scores, outcomes).notices
    assert any(f"{blank} rows have no outcome yet and are left out" in notice for notice in notices)
