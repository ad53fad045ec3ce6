"""Who may become champion: by what was shown on rows that nobody had learned from, or by a kept reason."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss
from small_export import write

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from features.spec import FeatureSet
from models import artifact
from training.config.settings import Config, FlatConfig
from training.data.dataset import from_history
from training.pipeline.train import run_training
from training.registry import registry
from training.registry.comparison import (
    EVIDENCE,
    JUDGED,
    NotComparable,
    PromotionEvidence,
    collect_evidence,
    compare,
    compare_held_out,
    compare_on_later_rows,
    held_out_performance,
    high_severity_findings,
    no_champion,
)
from training.registry.promotion import PromotionGate, PromotionRefusedError, decide, promote_model, rollback
from training.registry.tracking import Artifact, Model, Text, log, mlflow_client
from training.simulation.simulator import simulate

bento = [
    pytest.mark.usefixtures("bento_store"),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]
GATE = PromotionGate()


def world(n=4000, seed=0):
    """What can be known of leads, in log-odds, and what became of them."""
    random = np.random.default_rng(seed)
    truth = random.normal(-1.5, 1.2, n)
    return truth, (random.random(n) < expit(truth)).astype(float)


def predictions(y, log_odds):
    ids = [f"lead {i}" for i in range(len(y))]
    return pl.DataFrame({"lead_id": ids, "as_of": 1, "label": y, "log_odds": log_odds}).cast(
        {"as_of": pl.Int64}
    )


def spoken_for(y, log_odds, version="aaaaaaaaaaaa", grave=(), lead=None):
    return PromotionEvidence(
        version=version,
        question="Converted",
        time_ordered=True,
        rows=len(y),
        positives=int(y.sum()),
        standing=held_out_performance(y, log_odds, np.arange(len(y)) if lead is None else lead),
        grave=grave,
        not_comparable=no_champion(),
    )


@pytest.fixture
def trained(tracked, make_folder, loadable):  # noqa: ARG001
    """Trains a model, or does as if: the run that left these predictions behind."""

    def run(name, y, log_odds):
        folder = make_folder(name, f"trees of {name}")
        version = artifact.load(folder).version
        predictions(y, log_odds).write_parquet(folder.parent / JUDGED)
        items = [
            Text(f"promotion/{EVIDENCE}", spoken_for(y, log_odds, version).to_json()),
            Artifact(folder.parent / JUDGED, "promotion"),
            Model(folder, version),
        ]
        return log(items, tracking=tracked).run_id

    return run


def in_charge(tracked):
    with mlflow_client(tracked) as client:
        return registry.find_champion(client, tracked)


class TestThroughTheRegistry:
    pytestmark = bento

    def test_a_worse_challenger_is_refused_and_the_old_champion_stays(self, tracked, trained):
        truth, y = world()
        good, bad = trained("good", y, truth), trained("bad", y, np.full_like(truth, -1.2))
        assert promote_model(good, tracking=tracked).verdict.allowed
        with pytest.raises(PromotionRefusedError, match=rf"worse than the champion.*promote {bad} --force"):
            promote_model(bad, tracking=tracked)
        assert in_charge(tracked).run_id == good

    def test_a_forced_challenger_keeps_its_reason_and_what_was_overruled(self, tracked, trained):
        truth, y = world()
        good, bad = trained("good", y, truth), trained("bad", y, np.full_like(truth, -1.2))
        promote_model(good, tracking=tracked)
        with pytest.raises(PromotionRefusedError, match="reason in words"):
            promote_model(bad, tracking=tracked, force="  ")
        result = promote_model(bad, tracking=tracked, force="the good one reads a field that is gone")
        assert result.forced == "the good one reads a field that is gone"
        with mlflow_client(tracked) as client:
            version = registry.find_champion(client, tracked)
            of_run = client.get_run(bad).data.tags
        for tags in (version.tags, of_run):
            assert tags["leadloop.gate"] == "forced"
            assert tags["leadloop.forced_because"] == result.forced
            assert "worse than the champion" in tags["leadloop.refused_for"]
        assert rollback(tracking=tracked).promotion.run_id == good

    def test_a_reason_is_not_kept_where_the_gate_was_open(self, tracked, trained):
        truth, y = world()
        result = promote_model(trained("good", y, truth), tracking=tracked, force="just in case")
        assert (result.forced, result.verdict.allowed) == (None, True)
        assert in_charge(tracked).tags == {"leadloop.gate": "passed", "leadloop.role": "champion"}

    def test_a_model_of_which_nothing_was_kept_needs_force(self, tracked, make_folder, loadable):  # noqa: ARG002
        folder = make_folder("foreign")
        with pytest.raises(PromotionRefusedError, match="train it again"):
            promote_model(folder, tracking=tracked)
        assert in_charge(tracked) is None
        assert (
            promote_model(folder, tracking=tracked, force="moved from the old machine").promotion.version == 1
        )

    def test_a_folder_from_elsewhere_brings_its_evidence_along(self, tracked, make_folder, loadable):  # noqa: ARG002
        truth, y = world()
        folder = make_folder("foreign")
        evidence = spoken_for(y, truth, artifact.load(folder).version)
        (folder.parent / EVIDENCE).write_text(evidence.to_json())
        predictions(y, truth).write_parquet(folder.parent / JUDGED)
        assert promote_model(folder, tracking=tracked).verdict.allowed
        with mlflow_client(tracked) as client:
            files = {file.path for file in client.list_artifacts(in_charge(tracked).run_id, "promotion")}
        assert files == {f"promotion/{EVIDENCE}", f"promotion/{JUDGED}"}

    @pytest.mark.slow
    def test_a_model_without_the_best_column_does_not_replace_the_one_with_it(self, tracked, tmp_path):
        data, messages = write(tmp_path), []
        whole = Config(flat=FlatConfig(data, "Converted", id="Id", time="No"))
        lesser = replace(whole, flat=replace(whole.flat, exclude=("Visits",)))
        first_run = run_training(whole, tmp_path / "one", tracked, say=messages.append)
        assert promote_model(first_run.model_dir, tracking=tracked).verdict.allowed
        two = run_training(lesser, tmp_path / "two", tracked, say=messages.append)
        with pytest.raises(PromotionRefusedError, match=r"worse than the champion.*held-out rows"):
            promote_model(two.run.run_id, tracking=tracked)
        assert promote_model(first_run.run.run_id, tracking=tracked).verdict.notes == (
            "it is the champion already",
        )
        assert any("(undated)" in line for line in messages)


@pytest.mark.parametrize("seed", range(5))
def test_a_first_champion_needs_no_rival(seed):
    truth, y = world(1500, seed)
    assert decide(spoken_for(y, truth), no_champion(), GATE).allowed


@pytest.mark.parametrize("seed", range(10))
def test_a_challenger_as_good_as_the_champion_passes(seed):
    truth, y = world(1500, seed)
    noise = np.random.default_rng(seed).normal(0, 0.05, (2, len(y)))
    compared = compare(predictions(y, truth + noise[0]), pl.Series(truth + noise[1]), "champion", "later")
    assert decide(spoken_for(y, truth + noise[0]), compared, GATE).allowed


def test_a_challenger_within_the_margin_passes_and_beyond_it_does_not():
    truth, y = world(40_000)
    challenger = truth + np.random.default_rng(1).normal(0, 0.25, len(y))
    compared = compare(predictions(y, challenger), pl.Series(truth), "champion", "later")
    worse_by = compared.worse_by.value / compared.champion_standing.log_loss
    evidence = spoken_for(y, challenger)
    assert worse_by > 0
    assert decide(evidence, compared, PromotionGate(margin=worse_by * 1.01)).allowed
    assert not decide(evidence, compared, PromotionGate(margin=worse_by * 0.99)).allowed


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda f: 2.5 * f, "too extreme"),
        (lambda f: 0.4 * f - 0.8, "too cautious"),
        (lambda f: f + 0.8, "too high"),
        (lambda f: f - 0.8, "too low"),
    ],
)
def test_an_uncalibrated_model_is_refused_by_name_of_the_fault(wrong, says):
    truth, y = world()
    verdict = decide(spoken_for(y, wrong(truth)), no_champion(), GATE)
    assert any(says in reason for reason in verdict.reasons)


def test_a_perfect_forecast_is_not_refused_because_leads_were_looked_at_again_and_again():
    refused = 0
    for seed in range(60):
        lead = np.tile(np.arange(150), 10)
        truth, y = (values[lead] for values in world(150, seed))
        refused += not decide(spoken_for(y, truth, lead=lead), no_champion(), GATE).allowed
    assert refused <= 3


def test_the_bounds_of_calibration_are_those_of_a_logistic_regression_by_lead():
    """Rows of one lead, all alike, bound the figures as wide as one row of each."""
    truth, y = world(800)
    lead = np.tile(np.arange(800), 5)
    once, five = (
        held_out_performance(y, truth, np.arange(800)),
        held_out_performance(np.tile(y, 5), np.tile(truth, 5), lead),
    )
    for name in ("slope", "intercept"):
        narrow, wide = (getattr(performance.calibration, name) for performance in (once, five))
        assert wide.high - wide.low == pytest.approx(narrow.high - narrow.low, rel=1e-6)
    assert five.calibration.chance == pytest.approx(once.calibration.chance, rel=0.01)


def test_an_open_check_of_high_severity_shuts_the_gate():
    truth, y = world()
    verdict = decide(spoken_for(y, truth, grave=("LC001 lead_quality",)), no_champion(), GATE)
    assert verdict.reasons == ("a check of high severity is open: LC001 lead_quality",)


def test_a_finding_of_no_column_is_told_in_full():
    severities = {"LC001": ("high", "lead_quality"), "LC004": ("medium", "note"), "LC017": ("high", "")}
    findings = [
        {"code": code, "severity": severity, "column": column, "message": f"what {code} says"}
        for code, (severity, column) in severities.items()
    ]
    told = high_severity_findings(SimpleNamespace(findings=findings))
    assert told == ("LC001 lead_quality", "LC017: what LC017 says")


def test_the_comparison_is_that_of_scikit_learn():
    truth, y = world()
    challenger = truth * 0.7
    compared = compare(predictions(y, challenger), pl.Series(truth), "champion", "later")
    expected = log_loss(y, expit(challenger)) - log_loss(y, expit(truth))
    assert compared.worse_by.value == pytest.approx(expected, abs=1e-12)
    assert compared.worse_by.low < expected < compared.worse_by.high
    assert compared.champion_standing.log_loss == pytest.approx(log_loss(y, expit(truth)))


def test_rows_of_one_lead_count_as_one_witness():
    truth, y = world(500)
    once = predictions(y, truth * 0.7)
    five = pl.concat([once] * 5)
    alone = compare(once, pl.Series(truth), "champion", "later").worse_by
    again = compare(five, pl.Series(np.tile(truth, 5)), "champion", "later").worse_by
    assert again.value == pytest.approx(alone.value)
    assert again.high - again.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_the_same_ids_with_other_outcomes_are_other_leads():
    (first, y), (second, other) = world(500, 1), world(500, 2)
    comparison = compare_held_out(predictions(y, first), predictions(other, second), "champion")
    assert isinstance(comparison, NotComparable)
    assert comparison.because == "other rows"
    verdict = decide(spoken_for(y, first), comparison, GATE)
    assert "cannot be compared" in verdict.reasons[0]


def test_few_shared_rows_are_no_comparison():
    truth, y = world(500)
    comparison = compare_held_out(predictions(y, truth), predictions(y, truth).head(60), "champion")
    assert comparison == NotComparable("too few rows", comparison.message)


def test_evidence_survives_json():
    truth, y = world(500)
    compared = compare(predictions(y, truth), pl.Series(truth * 0.9), "champion", "later")
    evidence = replace(spoken_for(y, truth), comparison=compared, not_comparable=None)
    assert PromotionEvidence.from_json(evidence.to_json()) == evidence


@pytest.fixture(scope="module")
def history():
    return simulate(1500, 1).history


@pytest.fixture(scope="module")
def dataset(history):
    return from_history(history, CohortRule(every=30 * DAY, until_age=90 * DAY), LabelSpec("sql", 60 * DAY))


def as_if_fitted(dataset):
    """What a run would hold that judged all rows; its model says the base rate of each."""
    log_odds = np.full(len(dataset), -2.0)
    scores = dataset.rows.select("lead_id", "as_of", log_odds=pl.Series(log_odds))
    everything = np.arange(len(dataset))
    return SimpleNamespace(
        dataset=dataset, held_out_rows=everything, scores=scores, label=dataset.label.astype(float)
    )


def champion_until(dataset, share, features=None, label=None):
    """A champion that learned until ``share`` of the time had passed, and remembers what it was asked."""
    first_day, last = dataset.window
    frames = []

    def score_frame(rows):
        frames.append(rows)
        return rows.select(log_odds=pl.repeat(-2.0, pl.len()))

    card = SimpleNamespace(
        label=label or dataset.question, window=(first_day, first_day + int(share * (last - first_day)))
    )
    model = SimpleNamespace(
        card=card, version="champion", features=features or dataset.features, score_frame=score_frame
    )
    return model, frames


def test_the_champion_is_asked_only_about_what_is_later_than_all_it_learned(dataset):
    champion, frames = champion_until(dataset, 0.5)
    compared = compare_on_later_rows(as_if_fitted(dataset), champion)
    assert compared.basis == "later"
    assert frames[0]["as_of"].min() > champion.card.window[1] + 60 * DAY
    assert compared.rows == len(frames[0])
    assert compared.worse_by.value == 0


def test_a_champion_with_other_features_is_given_its_own(dataset):
    renamed = FeatureSet(tuple(replace(s, name=f"old.{s.name}") for s in dataset.features.specs[:4]))
    champion, frames = champion_until(dataset, 0.5, renamed)
    compare_on_later_rows(as_if_fitted(dataset), champion)
    now = dataset.rows.join(frames[0], on=["lead_id", "as_of"], maintain_order="right")
    for spec in dataset.features.specs[:4]:
        assert frames[0][f"old.{spec.name}"].equals(now[spec.name], null_equal=True)


@pytest.mark.parametrize(
    ("share", "change", "because"),
    [
        (1.0, {}, "too few rows"),
        (0.5, {"label": "customer within 60 days"}, "other question"),
    ],
)
def test_what_cannot_be_compared_is_said_with_a_reason(dataset, share, change, because):
    champion, frames = champion_until(dataset, share, **change)
    comparison = compare_on_later_rows(as_if_fitted(dataset), champion)
    assert (comparison.because, frames) == (because, [])


def test_undated_rows_have_no_later_ones(dataset):
    champion, _ = champion_until(dataset, 0.5)
    undated = replace(dataset, has_dates=False)
    assert compare_on_later_rows(as_if_fitted(undated), champion).because == "undated"


def test_a_flat_export_without_the_champions_column_says_which(dataset):
    renamed = FeatureSet((replace(dataset.features.specs[0], name="gone"),))
    champion, _ = champion_until(dataset, 0.5, renamed)
    comparison = compare_on_later_rows(as_if_fitted(replace(dataset, history=None)), champion)
    assert comparison.because == "other features"
    assert "'gone'" in comparison.message


def test_a_champion_that_cannot_be_had_does_not_stop_a_run(dataset):
    model = SimpleNamespace(
        version="new", card=SimpleNamespace(label="Converted", time_ordered=True, findings=())
    )
    evidence = collect_evidence(
        as_if_fitted(dataset), model, NotComparable("unavailable", "the server is down")
    )
    assert evidence.not_comparable.because == "unavailable"
