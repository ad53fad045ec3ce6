"""Scoring files: in pieces as at once, whatever the file holds, and all of it or nothing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import polars as pl
import pytest
from small_model import build_small_model

from features.catalogue import build_feature_set
from features.clock import to_datetime
from features.cohort import open_lead_snapshots
from features.ingest.history_parts import find_parts, write_part
from features.ingest.known_leads import HistoryCut
from features.ingest.partitions import read_partitioned
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from models import artifact
from models.score_parts import PART_COLUMNS, PartScales, parts_to_frame
from training import batch_scoring
from training.batch_scoring import (
    ScoringError,
    ScoringOptions,
    read_open_leads,
    score_flat,
    score_history,
    score_open_leads,
)
from training.config.settings import load_config
from training.data.dataset import compute_feature_rows, flat_features, flat_rows
from training.file_output import frame_writer
from training.lead_attributes import read_lead_attributes
from training.simulation.export import write_csv
from training.simulation.simulator import simulate
from training.worker_pool import Workers

FLAT = {"flat": True, "id_column": "id"}
LEADS = pl.DataFrame(
    {
        "lead_id": [str(n) for n in range(200)],
        "visits": [float(n % 7) for n in range(200)],
        "city": [("Bern", "Graz", "Ulm", None)[n % 4] for n in range(200)],
    }
)


@pytest.fixture(scope="module")
def flat():
    features = flat_features(LEADS, ())
    return build_small_model(features, flat_rows(features, LEADS), **FLAT)


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    """The files of a small company, its history as one, and a model of it."""
    config = load_config(write_csv(simulate(400, seed=3), tmp_path_factory.mktemp("crm")))
    history = read_history(config.history_mapping, 0).history
    features = build_feature_set(history)
    return (
        config,
        history,
        build_small_model(
            features,
            compute_feature_rows(features, history, open_lead_snapshots(history, config.cohort_rule)),
        ),
    )


@pytest.fixture
def write(tmp_path):
    def write_file(text):
        path = tmp_path / "leads.csv"
        path.write_text(text)
        return path

    return write_file


def scored_flat(model, leads, out, messages=None, **options):
    result = score_flat(
        model, leads, ScoringOptions(out, **options), (messages if messages is not None else []).append
    )
    return result, pl.read_csv(out, schema_overrides={"lead_id": pl.String})


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_flat_file_scored_in_batches_equals_all_at_once(flat, tmp_path, monkeypatch, rows):
    leads = tmp_path / "leads.parquet"
    LEADS.rename({"lead_id": "id"}).write_parquet(leads)
    want = flat.score_frame_with_intervals(flat_rows(flat.features, LEADS)).drop("as_of")
    monkeypatch.setattr(batch_scoring.iter_flat_batches, "__defaults__", (rows, None))
    score_flat(flat, leads, ScoringOptions(tmp_path / "scores.parquet"), print)
    assert pl.read_parquet(tmp_path / "scores.parquet").equals(want)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_an_id_that_stands_there_twice_is_said_and_both_rows_are_scored(flat, tmp_path, monkeypatch, rows):
    leads = tmp_path / "leads.parquet"
    pl.concat([LEADS, LEADS.head(3)]).rename({"lead_id": "id"}).write_parquet(leads)
    monkeypatch.setattr(batch_scoring.iter_flat_batches, "__defaults__", (rows, None))
    result = score_flat(flat, leads, ScoringOptions(tmp_path / "scores.parquet"), print)
    assert result.to_dict() == {"leads": 203, "unreadable": 0, "repeated": 3, "insufficient": {}}
    assert any(line.startswith("3 rows have the id of a row further up") for line in result.in_words(leads))


@pytest.mark.parametrize("size", [30, 150, 1000])
def test_a_history_scored_in_parts_equals_all_at_once(crm, tmp_path, monkeypatch, size):
    config, history, model = crm
    rows = compute_feature_rows(model.features, history, open_lead_snapshots(history, config.cohort_rule))
    want = model.score_frame_with_intervals(rows).sort("lead_id")
    monkeypatch.setattr(batch_scoring, "PART_LEADS", size)
    score_history(model, config, ScoringOptions(tmp_path / "scores.parquet"), print)
    assert pl.read_parquet(tmp_path / "scores.parquet").sort("lead_id").equals(want)


@pytest.mark.slow
def test_any_number_of_processes_writes_the_same_files(crm, tmp_path, monkeypatch):
    config, _, model = crm
    artifact.save(model, tmp_path / "model")
    loaded = artifact.load(tmp_path / "model")
    monkeypatch.setattr(batch_scoring, "PART_LEADS", 90)
    for count in (1, 2):
        options = ScoringOptions(
            tmp_path / f"{count}.csv", reasons=2, contributions=tmp_path / f"{count}.parquet", dates=True
        )
        score_history(loaded, config, options, print, Workers(count, tmp_path / "model"))
    for suffix in ("csv", "parquet"):
        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()


@pytest.mark.slow
def test_a_part_that_fails_is_named_and_the_others_go_on(crm, tmp_path, monkeypatch):
    config, _, model = crm
    artifact.save(model, tmp_path / "model")
    monkeypatch.setattr(batch_scoring, "PART_LEADS", 150)
    read, lines = batch_scoring.read_partitioned, []

    @contextmanager
    def with_a_bad_part(*args, **kwargs):
        with read(*args, **kwargs) as parts:
            broken = tmp_path / "broken.arrow"
            broken.write_bytes(b"no leads")
            bad = replace(parts.parts[1], _tables=(("leads", ((broken, 0, 1),)),))
            yield replace(parts, parts=[parts.parts[0], bad, parts.parts[2]])

    monkeypatch.setattr(batch_scoring, "read_partitioned", with_a_bad_part)
    options = ScoringOptions(tmp_path / "scores.csv")
    with pytest.raises(ScoringError, match=r"1 of 3 parts could not be scored, .*: part 2 of 3: "):
        score_history(model, config, options, lines.append, Workers(2, tmp_path / "model"))
    assert not (tmp_path / "scores.csv").exists()
    assert sum("leads scored" in line for line in lines) == 2


def test_fit_and_engagement_of_a_file_are_those_of_the_model(crm, tmp_path, monkeypatch):
    config, history, model = crm
    rows = compute_feature_rows(model.features, history, open_lead_snapshots(history, config.cohort_rule))
    families = [spec.family for spec in model.features.specs]
    model = replace(model, part_scales=PartScales.of(model.contributions(rows)[1], families, 0.1))
    monkeypatch.setattr(batch_scoring, "PART_LEADS", 150)
    score_history(model, config, ScoringOptions(tmp_path / "scores.parquet", parts=True), print)
    written = pl.read_parquet(tmp_path / "scores.parquet").sort("lead_id").select(*PART_COLUMNS)
    parts = model.split_contributions(model.contributions(rows.sort("lead_id"))[1])
    assert written.equals(parts_to_frame(parts))
    assert written["combined_grade"].is_not_null().all()


def test_a_model_without_parts_refuses_to_write_them_before_it_reads(flat, tmp_path):
    with pytest.raises(ScoringError, match="train it again, or score without --parts"):
        score_flat(flat, tmp_path / "missing.csv", ScoringOptions(tmp_path / "s.csv", parts=True), print)


@pytest.mark.parametrize("rows", [7, 1000])
def test_own_columns_stand_beside_the_scores_of_their_leads(flat, tmp_path, monkeypatch, rows):
    own = pl.DataFrame({"owner": [f"owner {n % 3}" for n in range(200)], "grade": ["7"] * 200})
    LEADS.rename({"lead_id": "id"}).hstack(own).write_parquet(tmp_path / "leads.parquet")
    monkeypatch.setattr(batch_scoring.iter_flat_batches, "__defaults__", (rows, None))
    options = ScoringOptions(tmp_path / "scores.parquet", carried=("owner", "grade"), best_first=True)
    score_flat(flat, tmp_path / "leads.parquet", options, print)
    written = pl.read_parquet(tmp_path / "scores.parquet")
    assert written["log_odds"].is_sorted(descending=True)
    assert written["owner"].to_list() == [f"owner {int(lead) % 3}" for lead in written["lead_id"]]
    assert written["grade"].is_in(list("ABCD")).all()
    assert written["grade (lead)"].unique().to_list() == ["7"]


def test_own_columns_of_a_history_stand_beside_the_scores_of_their_leads(crm, tmp_path, monkeypatch):
    config, history, model = crm
    monkeypatch.setattr(batch_scoring, "PART_LEADS", 150)
    carried = ("country", "account_id", "first_conversion")
    score_history(model, config, ScoringOptions(tmp_path / "s.parquet", carried=carried, dates=True), print)
    written = pl.read_parquet(tmp_path / "s.parquet").sort("lead_id")
    leads = history.leads.with_columns(pl.col("lead_id", *carried).cast(pl.String))
    expected = written.select("lead_id").join(leads.select("lead_id", *carried), on="lead_id", how="left")
    assert written.select(carried).equals(expected.select(carried))
    assert written["as_of_date"].unique().to_list() == [f"{to_datetime(written['as_of'][0]):%Y-%m-%d}"]
    score_history(model, config, ScoringOptions(tmp_path / "plain.parquet"), print)
    plain = pl.read_parquet(tmp_path / "plain.parquet").sort("lead_id")
    assert written.select(plain.columns).equals(plain)


def test_a_column_to_write_that_is_not_there_is_named(crm, tmp_path):
    config, _, model = crm
    with pytest.raises(ScoringError, match="no column 'contry' to write beside the scores; did you mean"):
        score_history(model, config, ScoringOptions(tmp_path / "s.csv", carried=("contry",)), print)


def test_what_a_plan_decides_by_is_the_same_in_parts_as_in_the_whole(crm, tmp_path, monkeypatch):
    config, history, model = crm
    monkeypatch.setattr(batch_scoring, "PART_LEADS", 50)
    names = ("stage", "channel", "account", "country")
    with read_open_leads(model, config, ("country",), tmp_path / "bad.csv", names) as leads:
        batches = list(leads.batches)
    assert len(batches) > 1
    rows = pl.concat([each.rows.select("lead_id") for each in batches])
    texts = pl.concat([each.attributes for each in batches])
    whole = history.map_frames(lambda frame: frame.with_columns(pl.col("^lead_id$").cast(pl.String)))
    assert texts.equals(read_lead_attributes(whole, rows, names))
    assert texts["channel"].n_unique() > 2


def test_the_parts_of_a_history_are_the_whole(crm):
    config, history, _ = crm
    with read_partitioned(config.history_mapping, 0, leads=50) as parts:
        parts_in_words = [part.map_frames(in_words) for part in parts.histories()]
    assert len(parts_in_words) == 8
    for name in ("leads", "touchpoints", "transitions", "attributes"):
        together = pl.concat([getattr(part, name) for part in parts_in_words])
        whole = getattr(history, name)
        assert together.select(whole.columns).sort(whole.columns).equals(whole.sort(whole.columns)), name


def in_words(frame):
    return frame.with_columns(pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))


def test_an_account_is_never_torn_apart(crm):
    leads, cut = crm[1].leads, HistoryCut(3)
    buckets = cut.add_leads(leads)
    parts = leads.with_columns(part=pl.Series(cut.parts[buckets]))
    by_account = parts.drop_nulls("account_id").group_by("account_id").agg(pl.col("part").n_unique())
    assert by_account["part"].max() == 1
    assert parts.group_by("part").len()["len"].median() <= 4


def test_leads_that_stand_twice_are_all_scored(flat, write, tmp_path):
    _, scores = scored_flat(flat, write("id,visits,city\n007,1,Bern\n007,2,Graz\n"), tmp_path / "s.csv")
    assert scores["lead_id"].to_list() == ["007", "007"]


def test_a_number_that_cannot_be_read_is_missing_and_listed(flat, write, tmp_path):
    result, scores = scored_flat(flat, write("id,visits,city\n1,many,Bern\n2,,Bern\n"), tmp_path / "s.csv")
    assert scores["log_odds"][0] == scores["log_odds"][1]
    assert result.quarantine.frame.select("row", "column", "value").rows() == [(2, "visits", "many")]


def test_planned_activities_are_said_as_such_and_not_as_rows_that_could_not_be_read(crm, tmp_path):
    _, _, model = crm
    config = load_config(write_csv(simulate(400, seed=3), tmp_path))
    touchpoints = tmp_path / "touchpoints.csv"
    rows = pl.read_csv(touchpoints, infer_schema=False)
    planned = rows.head(7).with_columns(occurred_at=pl.lit("2090-01-01T00:00:00Z"))
    pl.concat([rows, planned]).write_csv(touchpoints)
    out = tmp_path / "scores.csv"
    result = score_history(model, config, ScoringOptions(out), print)
    *_, total = result.in_words(out)
    assert total.endswith(
        "; 0 cells or rows could not be read; 7 activities are planned for later and left out"
    )
    assert result.to_dict()["unreadable"] == 0
    assert result.quarantine.planned == 7


def test_columns_the_model_does_not_know_are_named(flat, write, tmp_path):
    messages = []
    scored_flat(flat, write("id,visits,owner,city\n1,2,Ada,Ulm\n"), tmp_path / "s.csv", messages)
    assert "columns the model does not use were ignored: owner" in messages


def test_a_missing_column_is_named(flat, write, tmp_path):
    with pytest.raises(SourceError, match="lacks columns that the model was trained on: visits"):
        scored_flat(flat, write("id,city\n1,Ulm\n"), tmp_path / "s.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["leads.csv"]


def test_a_history_without_a_column_of_the_model_is_refused(crm, tmp_path):
    config, history, model = crm
    wider = build_feature_set(
        type(history)(
            history.leads.with_columns(shoe_size=pl.lit(43.0)),
            history.touchpoints,
            history.transitions,
            history.observed_until,
        )
    )
    other_model = type(model)(wider, model.predictor, model.grades, model.card)
    with pytest.raises(ScoringError, match="lack columns that the model was trained on: shoe_size"):
        score_history(other_model, config, ScoringOptions(tmp_path / "s.csv"), print)


def test_models_and_leads_of_different_kinds_are_refused(crm, flat, write, tmp_path):
    with pytest.raises(ScoringError, match="use --config instead"):
        score_flat(crm[2], write("id\n1\n"), ScoringOptions(tmp_path / "s.csv"), print)
    with pytest.raises(ScoringError, match="name the file of leads with --leads"):
        score_history(flat, crm[0], ScoringOptions(tmp_path / "s.csv"), print)


def test_contributions_add_up_to_the_log_odds(flat, write, tmp_path):
    parts = tmp_path / "parts.parquet"
    leads = write("id,visits,city\n1,3,Ulm\n2,,Paris\n")
    _, scores = scored_flat(flat, leads, tmp_path / "s.csv", reasons=1, contributions=parts)
    total = pl.read_parquet(parts).select(pl.sum_horizontal(pl.exclude("lead_id"))).to_series()
    assert (total - scores["log_odds"]).abs().max() < 1e-9
    assert scores["reason_1"].null_count() == 0


def interrupted(path):
    with frame_writer(path) as append:
        append(pl.DataFrame({"a": [1]}))
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_an_interrupted_file_leaves_nothing_but_what_was_there(tmp_path, name):
    path = tmp_path / name
    path.write_text("the file of yesterday")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text() == "the file of yesterday"


@pytest.mark.parametrize(("name", "back"), [("s.csv", pl.read_csv), ("s.parquet", pl.read_parquet)])
def test_what_was_appended_is_read_back(tmp_path, name, back):
    frames = [pl.DataFrame({"a": [1, 2], "b": ["x", None]}), pl.DataFrame({"a": [3], "b": ["ü,;\n"]})]
    with frame_writer(tmp_path / name) as append:
        for frame in frames:
            append(frame)
    assert back(tmp_path / name).equals(pl.concat(frames))


@pytest.mark.parametrize("count", [2, 5])
def test_any_cut_that_keeps_accounts_whole_gives_the_same_scores_in_any_order(crm, tmp_path, count):
    config, history, model = crm
    model = replace(model, card=replace(model.card, closed_stages=config.cohort_rule.closed))
    options = ScoringOptions(tmp_path / "s.parquet", reasons=2, carried=("country",))
    whole = score_open_leads(model, history, options).scores.sort("lead_id")
    for number in range(1, count + 1):
        write_part(cut_by_account(history, number, count), tmp_path / f"p{number}", number, count)
    parts = reversed(find_parts(tmp_path))
    scores = pl.concat([score_open_leads(model, part.read(), options).scores for part in parts])
    assert scores.sort("lead_id").equals(whole)


def cut_by_account(history, number, count):
    """The leads of every so many accounts, or alone, with their events and accounts."""
    belongs = pl.coalesce("account_id", "lead_id").rank("dense") % count == number - 1
    leads = history.leads.filter(belongs)
    return replace(
        history,
        leads=leads,
        accounts=history.accounts.join(leads, on="account_id", how="semi"),
        **{
            name: getattr(history, name).join(leads, on="lead_id", how="semi")
            for name in ("touchpoints", "transitions", "attributes")
        },
    )


def test_a_part_that_lacks_what_the_model_reads_is_refused(crm, tmp_path):
    config, history, model = crm
    options = ScoringOptions(tmp_path / "s.csv")
    with pytest.raises(ScoringError, match="does not know which stages close a lead; train it again"):
        score_open_leads(model, history, options)
    numbers = replace(history, leads=history.leads.with_columns(country=pl.lit(1.0)))
    with pytest.raises(ScoringError, match="'country' holds numbers, the model learned it as text"):
        score_open_leads(model, numbers, options, config.cohort_rule)
