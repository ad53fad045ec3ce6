"""From a model to SQL, and from the table that a warehouse made of it to scores and to a training set."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace

import duckdb
import polars as pl
import pytest
from small_model import build_small_model
from typer.testing import CliRunner
from warehouse_history import END, EVERY_SHAPE, make_history, run_on_duckdb

from features.clock import DAY
from features.cohort import CohortRule, open_lead_snapshots
from features.labels import LabelSpec
from features.spec import FeatureSet
from features.warehouse.table_columns import table_columns
from leadloop import app
from models import artifact
from training.config.settings import load_config
from training.data.dataset import compute_feature_rows, from_history
from training.data.feature_table import (
    FeatureTableError,
    dataset_from_table,
    find_feature_table,
    open_feature_table,
)

pytest.importorskip("ibis", reason="Ibis is not installed (leadloop[warehouse])")

FEATURES = FeatureSet(
    tuple(spec for spec in EVERY_SHAPE.specs if not spec.source.startswith("account_"))[:25]
)
CONFIG = """
[leads]
file = "leads.csv"
[[transitions]]
file = "moves.csv"
[funnel]
stages = ["mql", "sal", "sql", "lost", "reopened"]
target = "sql"
closed = ["lost"]
[label]
horizon = "30d"
[cohort]
every = "7d"
[training]
capacity_share = 0.1
"""
CLOSED = ("sql", "lost")
AS_OF = 100 * DAY


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    """A history, a model of it in its folder, and a configuration."""
    folder, history = tmp_path_factory.mktemp("crm"), make_history()
    rule = CohortRule(closed=CLOSED)
    rows = compute_feature_rows(FEATURES, history, open_lead_snapshots(history, rule))
    model = build_small_model(FEATURES, rows, closed_stages=CLOSED, label="sql within 30 days")
    model = artifact.save(model, folder / "model")
    (folder / "leadloop.toml").write_text(CONFIG)
    return folder, history, model


@pytest.fixture(scope="module")
def tables(crm):
    """What a warehouse makes of both queries of the command: the open leads, and a training set."""
    folder, history, _ = crm
    made = {}
    for name, options in {
        "open": ("--as-of", "1970-04-11"),
        "set": ("--training-set", "--as-of", "1970-05-11"),
    }.items():
        command = ["features", "--sql", "snowflake", "--canonical", "--config", str(folder / "leadloop.toml")]
        out = folder / f"{name}.sql"
        run(*command, "--model", str(folder / "model"), *options, "--out", str(out))
        made[name] = run_on_duckdb(out.read_text(), "snowflake", history)
        made[name].write_parquet(folder / f"{name}.parquet")
    return made


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result


def open_table(file):
    return open_feature_table(find_feature_table(str(file), None), FEATURES)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_is_scored_as_the_history_it_was_made_of(suffix, crm, tables, tmp_path):
    folder, history, model = crm
    file, out = tmp_path / f"lead_features{suffix}", tmp_path / "scores.parquet"
    write = tables["open"].write_csv if suffix == ".csv" else tables["open"].write_parquet
    write(file)
    run("score", "--model", str(folder / "model"), "--features", str(file), "--out", str(out))
    known = history.known_before(AS_OF)
    rows = compute_feature_rows(FEATURES, known, open_lead_snapshots(known, CohortRule(closed=CLOSED)))
    scores = pl.read_parquet(out).sort("as_of", "lead_id")
    assert scores.equals(model.score_frame_with_intervals(rows).select(scores.columns))


def test_a_table_of_the_configured_database_is_scored(crm, tables, tmp_path):
    folder, _, _ = crm
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as connection:
        connection.register("frame", tables["open"].to_arrow())
        connection.execute("CREATE TABLE lead_features AS SELECT * FROM frame")
    config = tmp_path / "leadloop.toml"
    config.write_text(CONFIG.replace('file = "leads.csv"', 'database = "crm.duckdb"\ntable = "leads"'))
    options = (
        "--config",
        str(config),
        "--out",
        str(tmp_path / "s.csv"),
        "--with",
        "COUNTRY",
        "--explain",
        "1",
    )
    run("score", "--model", str(folder / "model"), "--features", "lead_features", *options)
    scores = pl.read_csv(tmp_path / "s.csv")
    assert scores.height == tables["open"].height
    want = tables["open"].select("COUNTRY", lead_id="LEAD_ID")
    assert scores.select("COUNTRY", "lead_id").sort("lead_id").equals(want.sort("lead_id"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: rows.drop("AD_CLICK_COUNT"),
            "no column 'ad_click_count' of the feature 'ad_click.count'",
        ),
        (lambda rows: rows.drop("FEATURE_SET"), "no column 'feature_set'"),
        (lambda rows: rows.with_columns(FEATURE_SET=pl.lit("0123456789ab")), "0123456789ab"),
        (lambda rows: rows.with_columns(AD_CLICK_COUNT=pl.lit("many")), "'many'; it is a number"),
        (lambda rows: rows.with_columns(COUNTRY=pl.lit(1.5)), "country holds Float64"),
        (lambda rows: rows.with_columns(LEAD_ID=pl.lit(None, pl.String)), "rows have no lead_id"),
    ],
)
def test_a_table_that_is_not_of_this_model_is_refused_by_name(change, words, crm, tables, tmp_path):
    folder, _, _ = crm
    file = tmp_path / "lead_features.parquet"
    change(tables["open"]).write_parquet(file)
    command = (
        "score",
        "--model",
        str(folder / "model"),
        "--features",
        str(file),
        "--out",
        str(tmp_path / "s.csv"),
    )
    error = CliRunner().invoke(app, list(command)).exception
    assert isinstance(error, FeatureTableError)
    assert words in str(error)
    assert not (tmp_path / "s.csv").exists()


def test_a_training_set_is_the_data_set_that_the_history_gives(crm, tables):
    folder, history, model = crm
    config = load_config(folder / "leadloop.toml")
    dataset = dataset_from_table(open_table(folder / "set.parquet"), model.card, config)
    rule, spec = config.cohort_rule, config.label_spec
    assert spec == LabelSpec("sql", 30 * DAY, closed=("lost",))
    want = from_history(replace(history, observed_until=END), rule, spec)
    assert dataset.rows.select("lead_id", "as_of").equals(want.rows.select("lead_id", "as_of"))
    for name in ("label", "order", "settled_at", "accounts"):
        assert getattr(dataset, name).tolist() == getattr(want, name).tolist()
    others = ("question", "gap", "immature", "has_dates", "closed_stages", "reopen_stages")
    assert {name: getattr(dataset, name) for name in others} == {name: getattr(want, name) for name in others}
    computed = want.features_for(FEATURES, range(len(want)))
    assert dataset.rows.select(FEATURES.names).equals(computed.select(FEATURES.names))
    assert 0 < dataset.immature < len(tables["set"])


def test_sets_of_two_days_are_not_learned_from_together(crm, tables, tmp_path):
    folder, _, model = crm
    later = tables["set"].with_columns(OBSERVED_UNTIL=pl.col("OBSERVED_UNTIL") + DAY)
    pl.concat([tables["set"], later]).write_parquet(tmp_path / "both.parquet")
    with pytest.raises(FeatureTableError, match="several days"):
        dataset_from_table(
            open_table(tmp_path / "both.parquet"), model.card, load_config(folder / "leadloop.toml")
        )


def test_the_result_names_the_column_of_each_feature(crm, tmp_path, monkeypatch):
    folder, _, model = crm
    monkeypatch.chdir(tmp_path)
    options = ("--model", str(folder / "model"), "--out", str(tmp_path / "f.sql"), "--json", "result.json")
    result = run("features", "--sql", "bigquery", *options)
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "feature_set": model.features.fingerprint,
        "columns": table_columns(FEATURES.names),
        "out": str(tmp_path / "f.sql"),
    }
    assert "whole seconds since 1970" in result.stderr


def test_a_training_set_needs_the_day_up_to_which_the_tables_are_complete(crm):
    folder, _, _ = crm
    command = [
        "features",
        "--sql",
        "trino",
        "--model",
        str(folder / "model"),
        "--training-set",
        "--canonical",
    ]
    result = CliRunner().invoke(app, [*command, "--config", str(folder / "leadloop.toml")])
    assert (result.exit_code, "--as-of DATE" in result.stderr) == (2, True)


def test_without_the_extra_the_command_says_what_to_install(crm, monkeypatch):
    folder, _, _ = crm
    real = builtins.__import__

    def without_ibis(name, *arguments, **options):
        if name.startswith("features.warehouse.sql"):
            raise ModuleNotFoundError(msg := "No module named 'ibis'", name="ibis") from ValueError(msg)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ibis)
    error = (
        CliRunner().invoke(app, ["features", "--sql", "trino", "--model", str(folder / "model")]).exception
    )
    assert str(error).endswith("(ibis is not installed): pip install 'leadloop[warehouse]'")
