"""Groups by chosen columns: named where they are treated otherwise, and only there; never learned from."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input
from scipy.special import expit, logit
from small_export import leads, write

from features.online import OnlineFeatures
from models.metrics import Interval, bootstrap_interval, roc_auc
from serving.request_parsing import LeadParser
from training.analysis.fairness import GroupInput, compare_groups
from training.config.settings import Config, FairnessConfig, FlatConfig, TrainingConfig, load_config
from training.config.toml_reader import ConfigError
from training.data.load import read_dataset
from training.report.render import render
from training.report.report import Report, build_report
from training.report.sections import fairness as fairness_section
from training.report.translator import translator
from training.simulation.export import write_csv
from training.simulation.simulator import simulate


def scored(seed, rows=1_200, snapshots=1, **audit):
    """Leads with right probabilities; each has as many snapshots, which share its outcome."""
    random = np.random.default_rng(seed)
    p = expit(random.normal(-1.2, 1.0, rows))
    y = (random.random(rows) < p).astype(float)
    frame = pl.DataFrame({name: make(random, rows) for name, make in audit.items()})
    again = np.repeat(np.arange(rows), snapshots)
    return GroupInput(y[again], p[again], again, 0.2, frame[again])


def region(random, rows):
    return random.choice(["north", "south", "west"], rows, p=[0.5, 0.4, 0.1])


def age(random, rows):
    return random.normal(45, 12, rows).round()


@pytest.mark.parametrize("snapshots", [1, 5])
def test_groups_at_random_are_named_in_few_reports(snapshots):
    named = [
        bool(compare_groups(scored(seed, 600, snapshots, region=region)).different) for seed in range(40)
    ]
    assert sum(named) <= 6


def groups_of(fairness, column="region"):
    return {group.name: group for group in fairness.groups if group.column == column}


def test_a_group_whose_predictions_are_off_is_named_for_them():
    inputs = scored(1, 6_000, region=region)
    south = (inputs.audit["region"] == "south").to_numpy()
    low = replace(inputs, p=np.where(south, expit(logit(inputs.p) - 0.8), inputs.p))
    differs = {name: group.differs for name, group in groups_of(compare_groups(low)).items()}
    assert {"calibration", "handed_over", "captured"} <= set(differs["south"])


def test_a_difference_is_told_with_both_figures_in_both_languages():
    inputs = scored(1, 6_000, age=lambda random, rows: random.integers(18, 65, rows).astype(float) * 1000)
    old = inputs.audit["age"].to_numpy() > 53_000
    low = replace(inputs, p=np.where(old, expit(logit(inputs.p) - 1.5), inputs.p))
    fairness = compare_groups(low)
    (group,) = [each for each in fairness.groups if each.ends is not None and each.ends[0] > 53_000]
    place = group.differs.index("handed_over")
    assert group.own[place] == pytest.approx(group.handed_over.value)
    assert group.own[place] < group.others[place] - 0.1
    report = build_report(replace(report_input(), fairness=fairness))
    english, german = (
        "\n".join(fairness_section.view(report, translator(lang))["differences"]).replace("\xa0", " ")
        for lang in ("en", "de")
    )
    assert re.search("^age, 54,000 to 64,000: .* are handed over, of the others ", english, re.MULTILINE)
    assert re.search("^age, 54.000 bis 64.000: .* werden übergeben, von den anderen ", german, re.MULTILINE)


def test_a_group_that_is_ranked_worse_is_named_for_it():
    inputs = scored(2, 8_000, region=region)
    south = (inputs.audit["region"] == "south").to_numpy()
    flat = np.where(south, inputs.p[south].mean(), inputs.p) + np.linspace(0, 1e-6, len(inputs.p))
    group = groups_of(compare_groups(replace(inputs, p=flat)))["south"]
    assert "roc_auc" in group.differs
    assert group.roc_auc.value < 0.6


def test_figures_are_those_that_one_would_count():
    inputs = scored(3, 2_000, snapshots=2, region=region)
    fairness = compare_groups(inputs)
    north = groups_of(fairness)["north"]
    own = (inputs.audit["region"] == "north").to_numpy()
    assert north.leads == len(np.unique(inputs.lead[own]))
    assert north.converted == inputs.y[own].sum() / 2
    assert north.observed.value == pytest.approx(inputs.y[own].mean())
    above = inputs.p >= np.quantile(inputs.p, 0.8, method="higher")
    assert north.handed_over.value == pytest.approx(above[own].mean())
    assert north.captured.value == pytest.approx(above[own & (inputs.y > 0)].mean())
    assert fairness.comparisons == 12


def test_the_interval_of_the_ranking_is_that_of_the_bootstrap():
    inputs = scored(7, 1_500, snapshots=2, region=region)
    own = (inputs.audit["region"] == "north").to_numpy()
    interval = groups_of(compare_groups(inputs))["north"].roc_auc
    drawn = bootstrap_interval(roc_auc, inputs.y[own], inputs.p[own], inputs.lead[own])
    assert interval.value == pytest.approx(drawn.value, abs=1e-9)
    assert interval.high - interval.low == pytest.approx(drawn.high - drawn.low, rel=0.15)


def test_small_groups_are_shown_and_not_judged():
    inputs = scored(4, 800, region=lambda _, rows: np.where(np.arange(rows) < 20, "west", "north"))
    west = groups_of(compare_groups(inputs))["west"]
    assert (west.leads, west.is_judged, west.captured, west.differs) == (20, False, None, ())
    assert isinstance(west.observed, Interval)


def test_two_groups_are_one_comparison():
    inputs = scored(5, 800, sex=lambda random, rows: random.choice(["f", "m"], rows))
    assert compare_groups(inputs).comparisons == 4


def test_numbers_are_compared_by_quarters_and_missing_values_are_a_group():
    inputs = scored(6, 1_000, age=age)
    some = inputs.audit.with_columns(age=pl.when(pl.int_range(pl.len()) % 5 > 0).then("age"))
    groups = groups_of(compare_groups(replace(inputs, audit=some)), "age")
    assert list(groups)[-1] == "missing"
    assert len(groups) == 5
    assert sum(group.leads for group in groups.values()) == 1_000


def export(tmp_path, seed=0, name="leads.csv"):
    random = np.random.default_rng(seed)
    frame = leads().with_columns(
        Gender=pl.Series(random.choice(["f", "m", ""], 600)), Age=pl.Series(random.integers(20, 60, 600))
    )
    return write(tmp_path, frame, name)


def config(path, fairness, **flat):
    return Config(flat=FlatConfig(path, "Converted", id="Id", time="No", **flat), fairness=fairness)


def test_what_is_learned_from_does_not_depend_on_the_columns(tmp_path):
    chosen = FairnessConfig(("Gender", "Age"))
    first = read_dataset(config(export(tmp_path), chosen), tmp_path)
    other = read_dataset(config(export(tmp_path, 1, "other.csv"), chosen), tmp_path)
    never = read_dataset(config(write(tmp_path, name="never.csv"), FairnessConfig()), tmp_path)
    assert first.fingerprint == other.fingerprint == never.fingerprint
    assert first.features == never.features
    assert not first.audit.equals(other.audit)
    assert first.audit.columns == ["Gender", "Age"]
    assert {"Gender", "Age"} <= set(first.ignored)
    assert {a.column: a.used for a in first.availability}["Gender"] is False


def test_an_explicit_key_lets_the_model_learn_from_them(tmp_path):
    learned = read_dataset(config(export(tmp_path), FairnessConfig(("Gender",), learn=True)), tmp_path)
    assert "Gender" in learned.features.names
    assert learned.audit_learned
    with pytest.raises(ValueError, match="none is named"):
        FairnessConfig(learn=True)


def test_a_column_that_is_none_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"no column 'Gendre'.*Gender"):
        read_dataset(config(export(tmp_path), FairnessConfig(("Gendre",))), tmp_path)


def test_the_rows_of_a_sample_keep_their_groups(tmp_path):
    whole = read_dataset(config(export(tmp_path), FairnessConfig(("Age",))), tmp_path)
    some = whole.subsample(50)
    assert some.audit.height == 50
    at = whole.rows["lead_id"].to_list().index(some.rows["lead_id"][7])
    assert some.audit["Age"][7] == whole.audit["Age"][at]


def test_the_report_says_it_in_both_languages_and_reads_it_back():
    inputs = report_input()
    random = np.random.default_rng(0)
    rows = len(inputs.label)
    gender = pl.Series("gender", random.choice(["f", "m"], rows))
    p = inputs.scores["probability"].to_numpy()
    fairness = compare_groups(GroupInput(inputs.label, p, inputs.lead, 0.1, pl.DataFrame([gender])))
    report = build_report(replace(inputs, fairness=fairness))
    assert Report.from_json(report.to_json()) == report
    page = render(report)
    assert "Comparison of groups" in page
    assert "Vergleich von Gruppen" in page
    assert "The model does not learn from these columns." in page
    without = render(build_report(inputs))
    assert "because [fairness] columns names no column" in without


def test_training_options_still_exclude_other_columns(tmp_path):
    both = replace(
        config(export(tmp_path), FairnessConfig(("Gender",))), training=TrainingConfig(exclude=("Noise",))
    )
    assert not {"Gender", "Noise"} & set(read_dataset(both, tmp_path).features.names)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """The tables of a history, and the folder with its configuration."""
    folder = tmp_path_factory.mktemp("company")
    write_csv(simulate(300, 3), folder)
    return folder


HISTORY_COLUMNS = ("country", "account.territory", "budget")


def of_history(folder, *columns):
    read = load_config(folder / "leadloop.toml")
    return read_dataset(replace(read, fairness=FairnessConfig(columns)), folder)


def with_other_values(folder, into):
    """The same company, whose countries, territories and budgets belong to others."""
    for name in ("leads", "accounts", "touchpoints", "transitions", "attributes"):
        table = pl.read_csv(folder / f"{name}.csv", infer_schema=False)
        if name == "leads":
            table = table.with_columns(pl.col("country").reverse())
        if name == "accounts":
            table = table.with_columns(pl.col("territory").reverse())
        if name == "attributes":
            budgets = (pl.col("name") == "budget").arg_true()
            turned = table["value"].to_numpy().copy()
            places = table.select(budgets).to_series().to_numpy()
            turned[places] = turned[places[::-1]]
            table = table.with_columns(value=pl.Series(turned.tolist(), dtype=pl.String))
        table.write_csv(into / f"{name}.csv")
    (into / "leadloop.toml").write_text((folder / "leadloop.toml").read_text())


def test_nothing_is_learned_from_chosen_columns_of_leads_accounts_and_changes(company, tmp_path):
    with_other_values(company, tmp_path)
    first, other = (of_history(folder, *HISTORY_COLUMNS) for folder in (company, tmp_path))
    assert first.features == other.features
    assert first.rows.equals(other.rows)
    assert first.audit.columns == [*HISTORY_COLUMNS]
    assert all(not first.audit[name].equals(other.audit[name]) for name in HISTORY_COLUMNS)
    assert {"country", "budget"} & set(of_history(company).features.names)
    assert set(HISTORY_COLUMNS) <= set(first.ignored)


def test_a_changed_value_is_compared_as_of_each_snapshot(company):
    dataset = of_history(company, "budget")
    changes = pl.read_csv(company / "attributes.csv", infer_schema=False).filter(name="budget")
    changes = changes.with_columns(pl.col("known_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.epoch("s"))
    seen = dataset.rows.select("lead_id", "as_of", budget=dataset.audit["budget"])
    for lead, as_of, value in seen.iter_rows():
        known = changes.filter((pl.col("lead_id") == lead) & (pl.col("known_at") < as_of)).sort("known_at")
        assert value == (float(known["value"][-1]) if known.height else None)
    of_a_lead = seen.group_by("lead_id").agg(pl.col("budget").n_unique())["budget"]
    assert of_a_lead.max() > 1


def test_a_request_may_send_a_chosen_column_and_it_changes_no_score(company):
    dataset = of_history(company, *HISTORY_COLUMNS)
    parse = LeadParser(dataset.features, ignored=dataset.ignored)
    lead = {"lead_id": "a", "created_at": 1_700_000_000, "as_of": 1_700_500_000}
    change = {"name": "budget", "known_at": 1_700_000_001, "value": "high"}
    more = lead | {
        "attributes": {"country": "DE"},
        "account": {"attributes": {"territory": "north"}},
        "attribute_history": [change],
    }
    plan = OnlineFeatures(dataset.features)
    rows = [plan(request.record, request.as_of) for request in map(parse, (lead, more))]
    assert rows[0] == rows[1]
