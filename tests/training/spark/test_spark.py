"""Spark cuts a history into parts and scores them: the same bits as on one machine, and the same refusals.

All tests share one session, which takes seconds to start, and most of them one cut of one history.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from full_history import ONE_PER_SHAPE
from oracle import feature_rows
from polars.testing import assert_frame_equal
from small_model import build_small_model
from strategies import draw_companies

import leadloop
from features.batch import compute_features
from features.catalogue import build_feature_set
from features.cohort import Snapshots, draw_snapshots, open_lead_snapshots
from features.ingest.mapping import TableJoin, ValueLookup
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.labels import compute_labels
from features.warehouse.table_columns import table_columns
from models import artifact
from models.score_parts import PartScales
from training.batch_scoring import ScoringError, ScoringOptions, mapping_of_model, score_history
from training.config.settings import load_config
from training.data.dataset import compute_feature_rows, flat_features, flat_rows
from training.data.feature_table import dataset_from_table, find_feature_table, open_feature_table
from training.pyfunc import OUTPUTS
from training.registry.tracking import Model, log, mlflow_client
from training.spark import read_spark_history
from training.spark.placement import spelling_key
from training.spark.session import SparkError, write_spark_table
from training.spark.spark_tables import open_spark_tables

spark_sql = pytest.importorskip(
    "pyspark.sql", reason="PySpark is not installed: `make test` does where Java is"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, and there is none"),
    pytest.mark.filterwarnings("ignore"),  # PySpark's own, of pandas and of sockets
]

CONFIG = """\
[leads]
file = "leads.parquet"
columns = { lead_id = "Id", created_at = "Born", account_id = "Firm" }

[accounts]
file = "firms.parquet"
columns = { account_id = "Firm" }

[[touchpoints]]
file = "touches.parquet"
columns = { lead_id = "Who", occurred_at = "At", kind = "What", amount = "Euros" }

[[transitions]]
file = "leads.parquet"
columns = { lead_id = "Id" }
stages = { Won = "won", Lost = "lost" }

[[merges]]
file = "merges.parquet"
columns = { lead_id = "Loser", merged_into = "Winner", known_at = "At" }

[[attributes.history]]
file = "changes.parquet"
columns = { lead_id = "Who", known_at = "At", name = "Field", value = "Value" }

[funnel]
stages = ["lead", "won", "lost"]
target = "won"
closed = ["lost"]

[label]
horizon = "30d"

[cohort]
every = "20d"
"""
START = datetime(2026, 1, 1)  # noqa: DTZ001 - as a CRM exports it


def _tables(rng):
    """The tables of a CRM that spells the ids of leads and firms in every way that one can."""
    firms = [None, "n/a", *("Müller & Söhne", "Mu\u0308ller & So\u0308hne"), *(f"F{n:02}" for n in range(25))]
    ids = [
        *(f"L{n:03}" for n in range(90)),
        *(f"ann.{n}@x.de" for n in range(25)),
        "Größe",
        *map(str, range(7000, 7010)),
    ]

    def moment(least, most):
        return START + timedelta(days=rng.uniform(least, most))

    def spelled(lead):
        return rng.choice([lead, lead, f" {lead} ", lead.upper() if "@" in lead else lead + "\u00a0"])

    leads = [
        {
            "Id": lead,
            "Born": moment(0, 60),
            "Firm": rng.choice(firms),
            "Won": moment(70, 120) if rng.random() < 0.3 else None,
            "Lost": moment(70, 120) if rng.random() < 0.2 else None,
            "Size": rng.choice([None, 1.5, 20.0, 300.0]),
            "Land.Code": rng.choice(["DE", "AT", None]),
            "Owner": rng.choice("abc"),
            "Sales": rng.choice(["1.500", "70.250", "700", None]),
            "Budget": rng.choice([*(f"{n}.500" for n in range(1, 30)), *["k. A."] * 9]),
        }
        for lead in ids
    ]
    leads[30]["Budget"] = "3.000.000"
    leads[20]["Sales"] = "2.000.000"  # alone tells that the points are no decimals
    # A lead that is there twice, with another firm, and one without an id.
    leads += [leads[5] | {"Firm": "F03"}, leads[6] | {"Firm": "F04"}, leads[7] | {"Id": None}]
    touches = [
        {
            "Who": spelled(rng.choice(ids)),
            "At": moment(60, 150),
            "What": rng.choice(["call", "mail", "visit"]),
            "Euros": rng.choice([None, 3.5, 10.0]),
            "Memo": rng.choice(["x", "y"]),
        }
        for _ in range(900)
    ]
    # Delivered twice; alike but in a column that is not read; of a lead that nobody knows; without a time.
    touches += [touches[0], touches[1], touches[2] | {"Memo": "z"}]
    touches += [touches[3] | {"Who": "stranger"}, touches[4] | {"At": None}]
    changes = [
        {
            "Who": spelled(rng.choice(ids)),
            "At": moment(60, 150),
            "Field": rng.choice(["budget", "owner"]),
            "Value": rng.choice(["1500", "12.5", "mia", "n/a"]),
        }
        for _ in range(200)
    ]
    changes += [
        {"Who": rng.choice(ids), "At": moment(60, 150), "Field": "price", "Value": value}
        for value in ["12.500", "9.750", "880"] * 20 + ["1.250.000"]
    ]
    merges = [
        {"Loser": loser, "Winner": winner, "At": moment(100, 140)}
        for loser, winner in [("L010", "L011"), ("L011", "L040"), ("gone", "L012"), ("ann.3@x.de", "L041")]
    ]
    touches += [{"Who": "gone", "At": moment(60, 90), "What": "call", "Euros": 1.0, "Memo": "x"}]
    accounts = [
        {"Firm": firm, "Branch": rng.choice(["IT", "Food"]), "Staff": rng.randint(1, 99)}
        for firm in firms[2:]
    ]
    return {"leads": leads, "firms": accounts[1:], "touches": touches, "changes": changes, "merges": merges}


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    """The folder of a CRM with ``leadloop.toml``, and a model of it in ``model``."""
    folder = tmp_path_factory.mktemp("crm")
    rng = random.Random(7)  # noqa: S311
    for name, rows in _tables(rng).items():
        rng.shuffle(rows)
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / f"{name}.parquet")
    (folder / "leadloop.toml").write_text(CONFIG, encoding="utf-8")
    config = load_config(folder / "leadloop.toml")
    reading = read_history(config.history_mapping, 2**40)
    history = reading.history
    features = build_feature_set(history, target="won", closed=("lost",))
    rows = compute_feature_rows(features, history, open_lead_snapshots(history, config.cohort_rule))
    model = build_small_model(features, rows)
    _, contributions = model.contributions(rows)
    scales = PartScales.of(contributions, model.reason_families, 0.2)
    card = replace(model.card, marks=dict(reading.marks))
    artifact.save(replace(model, card=card, part_scales=scales), folder / "model")
    return folder


@pytest.fixture(scope="module")
def config(crm):
    return load_config(crm / "leadloop.toml")


@pytest.fixture(scope="module")
def model(crm):
    return artifact.load(crm / "model")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """The one session of all these tests, with two workers on this machine."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    folder = tmp_path_factory.mktemp("spark")
    # Compiled once and lightly: no test runs long enough to win back what more would cost.
    java = f"-Dderby.system.home={folder} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.driver.extraJavaOptions": java,
        "spark.log.level": "OFF",
    }
    builder = spark_sql.SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def parts(spark, config, crm):
    """The history in five parts, or so."""
    history = read_spark_history(spark, config, crm / "model", ("Owner",), leads_a_part=26)
    yield history
    history.unpersist()


@pytest.fixture(scope="module")
def plain(config, model):
    """The history as one machine reads it for the model."""
    return read_history(mapping_of_model(model, config, ("Owner",)), 2**40)


def run_command(monkeypatch, *words):
    """The exit code of a command that runs in this process, where the session is."""
    monkeypatch.setattr("sys.argv", ["leadloop", *words])
    with pytest.raises(SystemExit) as ended:
        leadloop.main()
    return ended.value.code


def in_order(rows):
    frame = pl.DataFrame(rows.toArrow())
    return frame.sort("lead_id", "as_of")


def test_scores_of_parts_are_those_of_one_machine_to_the_bit(parts, config, model, tmp_path):
    options = ScoringOptions(tmp_path / "scores.parquet", 2, parts=True, carried=("Owner",), dates=True)
    score_history(model, config, options, print)
    want = pl.read_parquet(options.out).sort("lead_id", "as_of")
    assert_frame_equal(in_order(parts.scores(2, fit_and_engagement=True, dates=True)), want, check_exact=True)
    assert want.height > 50


def test_features_of_parts_are_those_of_the_whole(parts, config, model, plain):
    snapshots = open_lead_snapshots(plain.history, config.cohort_rule)
    want = compute_feature_rows(model.features, plain.history, snapshots).sort("lead_id", "as_of")
    found = in_order(parts.features())
    assert set(found["feature_set"]) == {model.features.fingerprint}
    assert_frame_equal(
        found.drop("feature_set"), want.rename(table_columns(model.features.names)), check_exact=True
    )


def test_labels_of_parts_are_those_of_the_whole(parts, config, plain):
    labels = compute_labels(
        plain.history, draw_snapshots(plain.history, config.cohort_rule), config.label_spec
    )
    assert_frame_equal(in_order(parts.labels()), labels.sort("lead_id", "as_of"))


def test_learning_from_a_training_set_of_spark_is_learning_from_the_history(
    parts, config, model, plain, tmp_path
):
    folder = tmp_path / "set.parquet"
    write_spark_table(parts.training_set().repartition(3), folder)
    assert len(list(folder.glob("*.parquet"))) == 3
    table = open_feature_table(find_feature_table(str(folder), None), model.features)
    found = dataset_from_table(table, model.card, config)
    labels = compute_labels(
        plain.history, draw_snapshots(plain.history, config.cohort_rule), config.label_spec
    )
    known = labels.filter("matured").sort("as_of", "lead_id")
    want = compute_feature_rows(model.features, plain.history, Snapshots(known.select("lead_id", "as_of")))
    order = ["as_of", "lead_id"]
    rows = found.rows.with_columns(label=pl.Series(found.label)).sort(order)
    assert_frame_equal(rows.drop("label").select(want.columns), want, check_exact=True)
    assert rows["label"].to_list() == known["label"].to_list()
    assert 0 < known["label"].sum() < known.height


def test_end_of_observation_and_bad_rows_are_of_the_whole_history(parts, plain):
    assert parts.observed_until == plain.history.observed_until
    columns = ["table", "column", "value", "reason"]
    bad = parts.quarantine.frame.select(columns).sort(columns)
    assert_frame_equal(bad, plain.quarantine.frame.select(columns).sort(columns))
    assert parts.quarantine.rows == plain.quarantine.rows > 3
    # Rows of a Spark table have no order, so no number.
    assert parts.quarantine.frame["row"].is_null().all()
    assert not any(", row " in line for line in parts.quarantine.examples())


def test_tables_and_queries_of_the_catalog_are_read_as_files_are(spark, crm, parts):
    for name in ("leads", "touches"):
        spark.read.parquet(str(crm / f"{name}.parquet")).createOrReplaceTempView(name)
    text = CONFIG.replace('file = "leads.parquet"', 'database = "spark://"\ntable = "leads"').replace(
        'file = "touches.parquet"', 'database = "spark://"\nquery = "SELECT * FROM touches"'
    )
    (crm / "catalog.toml").write_text(text, encoding="utf-8")
    history = read_spark_history(
        spark, load_config(crm / "catalog.toml"), crm / "model", ("Owner",), leads_a_part=500
    )
    assert_frame_equal(in_order(history.scores()), in_order(parts.scores()), check_exact=True)
    history.unpersist()


def test_all_spellings_of_an_id_have_one_key(spark, config, model):
    """Two ids that leadloop takes for one lead, or one account, are never in two parts."""
    leads = next(
        table for table in open_spark_tables(spark, mapping_of_model(model, config)) if table.kind == "leads"
    )
    spellings = [
        ("Müller", "Mu\u0308ller", "\u200bMüller\u00a0"),
        ("Ann@x.de", "ann@X.DE", " ann@x.de"),
        ("0012", " 0012\t"),
    ]
    for same in spellings:
        rows = spark.createDataFrame([(each,) for each in same], "c0 string")
        keys = rows.select(spelling_key(replace(leads, rows=rows), "c0")).distinct().collect()
        assert len(keys) == 1, same
    numbers = spark.sql("SELECT 7001 AS c0, 7001D AS c1, 7001.00 AS c2, '7001' AS c3, 'n/a' AS c4, ' ' AS c5")
    table = replace(leads, rows=numbers)
    (row,) = numbers.select(*(spelling_key(table, name) for name in numbers.columns)).collect()
    assert list(row) == ["7001"] * 4 + [None] * 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"join": (TableJoin("other", {"a": "b"}),)}, "with Spark, join is not read"),
        ({"lookup": {"Firm": ValueLookup("other")}}, "lookup with a table"),
        (
            {"file": None, "database": "postgresql://host/crm", "table": "leads"},
            "Parquet files and its own tables",
        ),
        ({"file": None, "database": "spark://", "table": "nowhere"}, "Spark cannot read it"),
        ({"file": Path(__file__)}, "is no Parquet file"),
        ({"values": {"lead_id": {"a": "b"}}}, "values.lead_id"),
    ],
)
def test_what_spark_cannot_do_of_a_configuration_is_refused_with_a_way_out(
    spark, config, model, table, message
):
    mapping = mapping_of_model(model, config)
    mapping = replace(mapping, leads=replace(mapping.leads, **table), transitions=())
    with pytest.raises(SourceError, match=message):
        open_spark_tables(spark, mapping)


def test_a_missing_column_is_named_before_spark_has_work_with_it(spark, config, crm):
    with pytest.raises(
        ScoringError, match="no column 'Ownr' to write beside the scores; did you mean 'Owner'"
    ):
        read_spark_history(spark, config, crm / "model", ("Ownr",))


def test_the_command_writes_a_folder_of_parquet_in_place_of_the_one_before(
    spark, crm, parts, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(crm)
    out = tmp_path / "scores.parquet"
    assert write_spark_table(parts.labels(), out).count() > 0
    command = ["score", "--engine", "spark", "--model", "model", "--with", "Owner", "--out", str(out)]
    assert run_command(monkeypatch, *command, "--json", "-") == 0
    written = in_order(spark.read.parquet(str(out)))
    assert_frame_equal(written, in_order(parts.scores()), check_exact=True)
    told = json.loads(capsys.readouterr().out)
    assert told["leads"] == written.height
    assert told["insufficient"] == dict(written["insufficient"].drop_nulls().value_counts().iter_rows())
    assert set(told) == {"leads", "unreadable", "repeated", "insufficient", "out"}


def test_scores_that_are_not_to_be_relied_on_are_counted(spark, parts):
    codes = ["too_wide", None, "unseen_value", "too_wide"]
    result = parts.count_scores(spark.createDataFrame([(code,) for code in codes], "insufficient string"))
    assert result.to_dict()["insufficient"] == {"too_wide": 2, "unseen_value": 1}
    lines = list(result.in_words(Path("scores.parquet")))
    assert any(line.startswith("3 of 4 scores are not to be relied on") for line in lines)
    assert lines[-1].startswith("4 scores in scores.parquet")


def test_a_name_without_an_ending_is_a_table_of_the_catalog(spark, parts):
    labels = parts.labels()
    for rows in (labels, labels.where("label = 1")):  # the second takes the place of the first
        assert write_spark_table(rows, Path("lead_labels")).count() == rows.count()
    assert spark.table("lead_labels").columns == labels.columns
    with pytest.raises(SparkError, match="nowhere"):
        write_spark_table(labels, Path("nowhere.lead_labels"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--leads", "leads.csv"], "--engine spark does not go with --leads"),
        (["--contributions", "c.parquet"], "--contributions"),
        (["--out", "scores.csv"], "or a table"),
    ],
)
def test_options_that_spark_does_not_have_are_refused(crm, options, message, monkeypatch, capsys):
    monkeypatch.chdir(crm)
    Path("leads.csv").write_text("id\n1\n", encoding="utf-8")
    out = [] if "--out" in options else ["--out", "scores.parquet"]
    assert run_command(monkeypatch, "score", "--engine", "spark", "--model", "model", *out, *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_mlflow_scores_on_spark_with_named_results_and_the_probability_first(spark, tracked, tmp_path):
    import mlflow.pyfunc  # noqa: PLC0415  # seconds, and warnings about itself

    leads = pl.DataFrame({"lead_id": ["1", "2"] * 40, "size": [3.0, None] * 40, "city": ["Ulm", "Bonn"] * 40})
    features = flat_features(leads, ())
    flat = build_small_model(features, flat_rows(features, leads), flat=True)
    artifact.save(flat, tmp_path / "model")
    example = {"size": [1.0], "city": ["x"]}
    logged = Model(tmp_path / "model", flat.version, dict.fromkeys(example, "any"), OUTPUTS, example)
    ref = log([logged], tracking=tracked)
    rows = spark.createDataFrame([(3.0, "Ulm"), (None, "Bonn")], "size double, city string").coalesce(1)
    with mlflow_client(tracked):
        named = mlflow.pyfunc.spark_udf(spark, ref.model_uri, env_manager="local")
        single = mlflow.pyfunc.spark_udf(spark, ref.model_uri, result_type="double", env_manager="local")
    scored = rows.select(named("size", "city").alias("score"), single("size", "city").alias("single"))
    answer = pl.DataFrame(scored.select("score.*", "single").toArrow())
    want = flat.score_frame(flat_rows(features, leads.head(2))).select(*OUTPUTS)
    assert next(iter(OUTPUTS)) == "probability"
    assert_frame_equal(answer.drop("single"), want, check_exact=True)
    assert answer["single"].to_list() == want["probability"].to_list()


def test_spark_computes_every_shape_of_feature_to_the_bit_of_the_plain_python_definition(spark):
    history, rows = draw_companies(100)
    in_spark = history.map_frames(lambda frame: _spark_frame(spark, frame))
    computed = compute_features(ONE_PER_SHAPE, in_spark, Snapshots(_spark_frame(spark, rows.frame)))
    expected = feature_rows(ONE_PER_SHAPE, history, rows)
    got = pl.DataFrame([tuple(row) for row in computed.collect()], schema=expected.schema, orient="row")
    assert got.sort("lead_id", "as_of").equals(expected)
    # Nothing agrees because nothing is there.
    same = [name for name in ONE_PER_SHAPE.names if expected[name].n_unique() == 1]
    assert len(same) <= len(ONE_PER_SHAPE) // 5


def _spark_frame(spark, frame):
    types = {pl.String: "string", pl.Int64: "bigint", pl.Float64: "double"}
    schema = ", ".join(f"`{name}` {types[dtype]}" for name, dtype in frame.schema.items())
    return spark.createDataFrame(frame.rows(), schema)
