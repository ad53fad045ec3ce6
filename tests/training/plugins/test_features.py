"""Features of plug-ins join the catalogue's, travel in the model, and are refused where they cannot be."""

from __future__ import annotations

import json

import polars as pl
import pytest
from everything import RICH
from tiny import tiny_model

from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from features.online import OnlineFeatures
from features.record import to_records
from features.spec import DisplayText, EventSelection, FeatureSet, attribute, count, ratio, total
from models import artifact
from serving.openapi import example_lead
from serving.scorer import Scorer
from training.config.settings import load_config
from training.data.dataset import from_history
from training.data.load import read_dataset
from training.data.plugin_features import add_plugin_features
from training.plugins import Plugin, PluginError, load_plugins
from training.simulation.export import write_csv
from training.simulation.simulator import simulate

NAME = "touches.recent_share"
TEXT = DisplayText("x: {value}", "x: {value}")
CATALOGUE = build_feature_set(RICH)


def dataset(history, plugins=()):
    rule = CohortRule(on=("mql",), closed=("sql", "disqualified"))
    return from_history(history, rule, LabelSpec("sql", 60 * DAY), plugins=plugins)


def plugin(value):
    return Plugin("mine", "leadloop.features", "mine.leadloop_features", value)


@pytest.mark.usefixtures("acme")
def test_a_feature_of_a_package_joins_the_data_set_and_both_paths_agree():
    history = simulate(300, seed=4).history
    plain, data = dataset(history), dataset(history, load_plugins("leadloop.features"))
    assert data.features.names == (*plain.features.names, NAME)
    assert data.rows.drop(NAME).equals(plain.rows)
    online, leads = OnlineFeatures(data.features), {lead.lead_id: lead for lead in to_records(history)}
    values = [online(leads[lead], as_of)[NAME] for lead, as_of in data.rows.select("lead_id", "as_of").rows()]
    assert values == data.rows[NAME].to_list()
    assert data.rows[NAME].drop_nulls().n_unique() > 1


def test_it_needs_no_package_where_the_model_is_used(acme, tmp_path):
    data = dataset(simulate(300, seed=4).history, load_plugins("leadloop.features"))
    artifact.save(tiny_model(data.features, data.rows), tmp_path / "model")
    acme.remove()
    loaded = artifact.load(tmp_path / "model")
    assert loaded.features == data.features
    row = data.rows.row(0, named=True)
    reason = next(r for r in loaded.explain(row, "a", 0, "de").reasons if r.feature == NAME)
    assert reason.text.startswith("Anteil der Kontakte in 7 Tagen: ")
    assert json.loads((tmp_path / "model" / "format.json").read_text())["format"] == artifact.FORMAT


@pytest.mark.usefixtures("acme")
def test_the_configuration_brings_it_and_may_leave_it_out(tmp_path):
    path = write_csv(simulate(300, seed=4), tmp_path)
    assert NAME in read_dataset(load_config(path), tmp_path).features.names
    path.write_text(path.read_text().replace("[training]\n", f'[training]\nexclude = ["{NAME}"]\n'))
    assert NAME in path.read_text()
    assert NAME not in read_dataset(load_config(path), tmp_path).features.names


@pytest.mark.usefixtures("acme")
def test_a_flat_export_has_no_events_for_it_and_says_so(tmp_path):
    pl.DataFrame({"Visits": [1, 2] * 20, "Converted": [0, 1] * 20}).write_csv(tmp_path / "leads.csv")
    (tmp_path / "leadloop.toml").write_text('[flat]\nleads = "leads.csv"\nlabel = "Converted"\n')
    data = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
    assert data.features.names == ("Visits",)
    assert "a flat export has no events: engagement" in data.notices[-1]


def test_the_service_reads_the_events_of_a_feature_that_only_derived_ones_need():
    gains, costs = (
        total(EventSelection("fit", "touchpoints", (kind,)), "amount", TEXT) for kind in ("gain", "cost")
    )
    features = FeatureSet((ratio(gains, costs, TEXT, name="ratio"),))
    model = tiny_model(features, pl.DataFrame({"ratio": [0.5, 2.0, None] * 20}))
    lead = example_lead(model)
    assert {touch["kind"] for touch in lead["touchpoints"]} == {"gain", "cost"}
    touches = [
        {"kind": kind, "occurred_at": "2026-01-01T00:00:00Z", "amount": amount}
        for kind, amount in (("gain", 3), ("cost", 2), ("gain", 4))
    ]
    scorer = Scorer(model)
    request = lead | {
        "created_at": "2025-12-01T00:00:00Z",
        "touchpoints": touches,
        "as_of": "2026-02-01T00:00:00Z",
    }
    assert scorer.feature_row(scorer._read(request)) == {"ratio": 3.5}


TOUCHES = EventSelection("tempo", "touchpoints", label="mine")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda _: 7, "returned int 7; this should be FeatureSpecs"),
        (lambda _: "feature", "returned str 'feature'"),
        ([count], "returned function .*this should be FeatureSpecs"),
        (lambda history: history.nonsense, "it raised AttributeError"),
        (CATALOGUE.specs[0], "there is a feature 'country' already"),
        ([count(TOUCHES, TEXT), count(TOUCHES, TEXT)], "share the name 'mine.count'"),
        (total(TOUCHES, "amuont", TEXT), "reads 'amuont' of touchpoints; did you mean 'amount'"),
        (total(TOUCHES, "channel", TEXT), "which is no column of integers"),
        (total(TOUCHES, "known_at", TEXT), "reads 'known_at' of touchpoints"),
        (attribute("created_at", family="fit", says=TEXT), "reads 'created_at' of leads"),
        (
            ratio(total(TOUCHES, "costs", TEXT), count(TOUCHES, TEXT), TEXT),
            "mine.costs.total reads 'costs' of touchpoints",
        ),
        (
            ratio(
                count(EventSelection("fit", "touchpoints", label="visit"), TEXT), count(TOUCHES, TEXT), TEXT
            ),
            "share the name 'visit.count'",
        ),
    ],
)
def test_what_is_no_feature_of_this_history_is_refused(value, says):
    with pytest.raises(PluginError, match=says) as error:
        add_plugin_features(CATALOGUE, [plugin(value)], RICH)
    assert str(error.value).startswith("plug-in 'mine' (leadloop.features, mine.leadloop_features): ")


def test_a_generator_that_raises_late_is_refused_too():
    def late(_):
        yield count(TOUCHES, TEXT)
        raise KeyError

    with pytest.raises(PluginError, match="it raised KeyError"):
        add_plugin_features(CATALOGUE, [plugin(late)], RICH)


def test_an_input_that_is_a_column_as_well_is_folded_once():
    share = ratio(count(TOUCHES, TEXT), count(TOUCHES.last(7), TEXT), TEXT)
    features = FeatureSet((count(TOUCHES, DisplayText("y", "y")), share))
    assert [spec.name for spec in features.folds] == ["mine.count", "mine.count.7d"]
