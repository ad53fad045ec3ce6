"""Channels: counts by hand, expectations against an exact sum, verdicts against planted truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from report_inputs import CHANNELS, report_input
from small_crm import day, history

from features.clock import DAY
from features.labels import LabelSpec
from features.spec import DisplayText, FeatureSet, attribute
from training.analysis.channels import (
    LABEL,
    MOST_CHANNELS,
    Channels,
    _shift_by_month,
    channels,
    counterfactual_probability,
    first_snapshots,
    matured_outcomes,
)
from training.analysis.inputs import ReportSettings
from training.analysis.not_applicable import NotApplicable
from training.config.settings import ReportConfig
from training.report.report import build_report
from training.stats.significance import shift_to_total

SOURCE = attribute("source", family="channel", says=DisplayText("Source: {value}", "Quelle: {value}"))
WILL = attribute("will", family="fit", says=DisplayText("Will: {value}", "Wille: {value}"), unit="number")


class Additive:
    """A model whose log-odds are its features' own, so that every expectation can be summed exactly."""

    def __init__(self, effects):
        self.effects = effects

    def log_odds(self, rows):
        return np.array([self.effects[source] for source in rows["source"]]) + rows["will"].to_numpy() - 1.5

    def score_frame(self, rows):
        return pl.DataFrame({"log_odds": self.log_odds(rows)})


def company_of(effects, truth, keen, n=6000, seed=1):
    """Leads of which those through ``keen`` are the willing ones; ``truth`` is what channels really add."""
    random = np.random.default_rng(seed)
    source = random.choice(list(effects), n)
    will = random.normal(size=n) + (source == keen)
    rows = pl.DataFrame({"source": source, "will": will})
    true_log_odds = Additive(effects).log_odds(rows)
    really = Additive(truth).log_odds(rows)
    scores = pl.DataFrame(
        {
            "lead_id": [str(i) for i in range(n)],
            "as_of": np.arange(n),
            "log_odds": true_log_odds,
            "probability": 1 / (1 + np.exp(-true_log_odds)),
            "grade": ["D"] * n,
        }
    )
    return replace(
        report_input(50),
        features=FeatureSet((SOURCE, WILL)),
        scores=scores,
        held_out_rows=rows,
        explained_rows=rows.head(5),
        contributions=np.zeros((5, 2)),
        label=(random.random(n) < 1 / (1 + np.exp(-really))).astype(float),
        model=Additive(effects),
    )


def by_name(result):
    return {each.name: each for each in result.dimensions[0].channels}


def test_what_was_expected_is_the_mean_over_the_channels_of_all_leads():
    effects = {"fair": 1.0, "ads": -0.5, "web": 0.0}
    inputs = company_of(effects, effects, keen="fair")
    snapshots = first_snapshots(inputs)
    share = snapshots["source"].value_counts(normalize=True)
    will = snapshots["will"].to_numpy() - 1.5
    exact = sum(
        part / (1 + np.exp(-(will + effects[source])))
        for source, part in zip(share["source"], share["proportion"], strict=True)
    )
    result = counterfactual_probability(inputs, snapshots)
    assert result.sum() == pytest.approx(snapshots[LABEL].sum())
    for source in effects:
        mine = (snapshots["source"] == source).to_numpy()
        assert result[mine].mean() / result.mean() == pytest.approx(
            exact[mine].mean() / exact.mean(), rel=0.02
        )


def test_features_that_are_called_as_figures_are_keep_their_values():
    inputs = company_of({"fair": 1.0, "web": 0.0}, {"fair": 1.0, "web": 0.0}, keen="fair")
    own = inputs.held_out_rows.with_columns(label=pl.lit("mine"), log_odds=pl.lit("ours"))
    snapshots = first_snapshots(replace(inputs, held_out_rows=own))
    assert snapshots["label"].unique().to_list() == ["mine"]
    assert snapshots["log_odds"].unique().to_list() == ["ours"]
    assert snapshots[LABEL].sum() > 0


def test_a_channel_with_better_leads_has_no_effect_of_its_own():
    none = {"fair": 0.0, "ads": 0.0, "web": 0.0}
    fair = by_name(channels(company_of(none, none, keen="fair")))["fair"]
    everyone = (
        sum(each.came for each in by_name(channels(company_of(none, none, keen="fair"))).values()) / 6000
    )
    assert fair.rate.low > 1.3 * everyone
    assert fair.verdict == "level"
    assert fair.ratio.low < 1 < fair.ratio.high


def test_a_channel_that_adds_something_is_called_better_though_the_model_knows_it():
    effects = {"fair": 1.0, "ads": 0.0, "web": 0.0}
    result = by_name(channels(company_of(effects, effects, keen="ads")))
    assert result["fair"].verdict == "more"
    assert {result["ads"].verdict, result["web"].verdict} == {"less"}


def test_channels_that_are_all_alike_are_seldom_told_apart():
    names = {f"c{i}": 0.0 for i in range(12)}
    verdicts = [
        each.verdict != "level"
        for seed in range(8)
        for each in channels(company_of(names, names, keen="", n=2400, seed=seed)).dimensions[0].channels
    ]
    assert sum(verdicts) <= 2


def test_without_a_model_counts_are_those_of_plain_python():
    inputs = report_input(900)
    result = channels(inputs)
    rows = list(zip(inputs.held_out_rows["first_channel"], inputs.label, strict=True))
    assert not result.adjusted
    assert set(by_name(result)) == set(CHANNELS)
    for name, each in by_name(result).items():
        outcomes = [label for channel, label in rows if channel == name]
        assert (each.leads, each.won, each.came) == (len(outcomes), sum(outcomes), sum(outcomes))
        assert each.expected == pytest.approx(len(outcomes) * inputs.label.mean())


def test_the_smallest_of_many_channels_are_pooled():
    names = {f"c{i:02}": 0.0 for i in range(25)}
    result = channels(company_of(names, names, keen="")).dimensions[0].channels
    assert len(result) == MOST_CHANNELS
    (rest,) = [each for each in result if each.pooled]
    assert rest.pooled == 25 - (MOST_CHANNELS - 1)
    assert sum(each.leads for each in result) == 6000


def test_few_leads_get_no_ratio_and_no_verdict():
    result = channels(
        report_input(60, held_out_rows=report_input(60).held_out_rows.with_columns(first_channel=_rare(60)))
    )
    assert by_name(result)["rare"].verdict == "few"
    assert by_name(result)["rare"].ratio is None


def test_all_leads_of_a_history_count_and_only_matured_ones_have_a_rate():
    crm = history(
        {"a": 0, "b": 0, "c": 0, "d": 95, "e": 0},
        [("a", "sql", 5), ("b", "sql", 50), ("c", "disqualified", 3), ("d", "sql", 96)],
        until=100,
        source=["ads", "ads", "ads", "ads", None],
    )
    inputs = report_input(40, history=crm, company=ReportSettings(LabelSpec("sql", 30 * DAY)))
    rows = pl.DataFrame({"source": ["ads"] * 20 + ["web"] * 20})
    changed = replace(
        inputs,
        features=FeatureSet((SOURCE,)),
        held_out_rows=rows,
        explained_rows=rows,
        contributions=np.zeros((40, 1)),
    )
    result = by_name(channels(changed))["ads"]
    # a is in time, b too late, c closed; d is too young for its SQL to count.
    assert (result.leads, result.matured, result.won) == (4, 3, 1)
    assert day(0) == crm.leads["created_at"][0]


def test_leads_from_before_outcomes_were_kept_count_but_have_no_rate():
    crm = history({"a": 0, "b": 10, "c": 10}, [("b", "sql", 15)], until=100, source=["ads"] * 3)
    spec = LabelSpec("sql", 30 * DAY)
    verdicts = [
        matured_outcomes(crm, spec, since).sort("lead_id")["label"].to_list() for since in (None, day(10))
    ]
    assert verdicts == [[0.0, 1.0, 0.0], [None, 1.0, 0.0]]


@pytest.mark.parametrize("entered", [0.6, 0.5, 0.0])
def test_an_sql_of_the_day_of_creation_is_one_to_channels_summary_and_funnel_alike(entered):
    """In that very second, or dated to its midnight by a CRM that keeps only the days of stages."""
    crm = history({"a": 0.5, "b": 0.5}, [("a", "sql", entered)], until=100, source=["ads"] * 2)
    company = ReportSettings(LabelSpec("sql", 30 * DAY), ("lead", "sql"))
    assert matured_outcomes(crm, company.label, None).sort("lead_id")["label"].to_list() == [1.0, 0.0]
    changed = build_report(report_input(40, history=crm, company=company))
    assert (changed.summary.leads.rate.value, changed.insights.funnel.overall.matured.value) == (0.5, 0.5)


def test_what_an_sql_cost_is_what_a_lead_cost_over_the_rate():
    inputs = report_input(900)
    costs = ReportSettings(settings=ReportConfig(costs={"referral": 9000.0, "nobody": 5.0}))
    result = channels(replace(inputs, company=costs))
    assert result.unknown == ("nobody",)
    assert by_name(result)["referral"].cost is None  # these rows are snapshots, not all leads

    crm = history(
        {str(i): 0 for i in range(10)},
        [("1", "sql", 3), ("2", "sql", 4)],
        until=100,
        first_channel=["referral"] * 10,
    )
    whole = replace(inputs, history=crm, company=replace(costs, label=LabelSpec("sql", 30 * DAY)))
    cost = by_name(channels(whole))["referral"].cost
    assert cost.value == pytest.approx(9000 / 2)
    assert cost.low < cost.value < cost.high


def test_without_a_channel_there_is_nothing_to_say():
    inputs = report_input(60)
    each = inputs.held_out_rows.with_columns(first_channel=pl.lit("web"))
    assert channels(replace(inputs, held_out_rows=each)) == NotApplicable("no_channels")


def test_a_lead_with_two_snapshots_counts_once():
    inputs = report_input(100)
    twice = replace(
        inputs, scores=inputs.scores.with_columns(lead_id=pl.Series([str(i // 2) for i in range(100)]))
    )
    result = channels(twice)
    assert isinstance(result, Channels)
    assert sum(each.held_out_leads for each in result.dimensions[0].channels) == 50


def _rare(n):
    return pl.Series(["rare"] * 5 + ["web"] * (n - 5))


def test_a_channel_of_a_good_season_is_no_good_channel():
    """Fairs are in the month in which everybody converts thrice as often."""
    random = np.random.default_rng(3)
    month = np.repeat([0, 1], 1000)
    fair = random.random(2000) < np.where(month == 1, 0.4, 0.02)
    y = (random.random(2000) < np.where(month == 1, 0.3, 0.1)).astype(float)
    as_of = pl.Series("as_of", np.where(month == 1, 40 * DAY, 10 * DAY))
    expected = _shift_by_month(np.full(2000, 0.2), y, pl.DataFrame([as_of]))
    assert [expected[month == m].sum() for m in (0, 1)] == pytest.approx(
        [y[month == m].sum() for m in (0, 1)]
    )
    assert y[fair].sum() / expected[fair].sum() == pytest.approx(1.0, abs=0.15)
    assert y[fair].sum() / shift_to_total(np.full(2000, 0.2), y.sum())[fair].sum() > 1.3


def test_a_small_month_has_no_expectation_of_its_own():
    y = np.tile([1.0, 0, 0, 0], 50)
    as_of = pl.Series("as_of", [10 * DAY] * 190 + [40 * DAY] * 10)
    expected = _shift_by_month(np.full(200, 0.1), y, pl.DataFrame([as_of]))
    assert expected.sum() == pytest.approx(y.sum(), abs=2)
    assert np.unique(expected[190:].round(9)).size == 1
