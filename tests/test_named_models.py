"""Commands that take the name of a model of the service, as requests do."""

from __future__ import annotations

import polars as pl
import pytest
from current_score_entries import named, scored, write
from small_export import leads
from small_export import write as write_export
from small_model import build_small_model
from typer.testing import CliRunner

import leadloop
from features.spec import DisplayText, FeatureSet, attribute
from models import artifact
from serving.decision_log.database import open_log, writing

SAYS = DisplayText("{value}", "{value}")
FEATURES = FeatureSet(
    (
        attribute("Visits", family="behaviour", says=SAYS, unit="number"),
        attribute("Source", family="channel", says=SAYS),
    )
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an export and a model, which the service has as ``renewal``."""
    rows = leads(60)
    write_export(tmp_path, rows)
    model = build_small_model(
        FEATURES, rows.select(pl.col("Visits").cast(pl.Float64), "Source"), flat=True, time_ordered=False
    )
    artifact.save(model, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEADLOOP_MODELS", f"renewal={tmp_path}/model,upsell=acme-upsell")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(leadloop.app, [*map(str, arguments)])


@pytest.mark.parametrize(
    "command", [("leads", "--html", "list.html"), ("score", "--out", "scores.csv")], ids=lambda each: each[0]
)
def test_a_command_takes_the_model_that_the_service_has_under_a_name(folder, command):
    outputs = []
    for model in ("renewal", folder / "model"):
        result = run(*command, "--model", model, "--leads", "leads.csv")
        assert result.exit_code == 0, result.output
        outputs.append((folder / command[-1]).read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("command", [("leads", "--html", "x.html"), ("score", "--out", "x.csv")])
def test_a_name_that_no_model_has_is_refused_with_those_that_there_are(folder, command):
    result = run(*command, "--model", "renewals", "--leads", "leads.csv")
    assert result.exit_code == 2
    words = " ".join(result.output.replace("│", " ").split())
    assert "it names renewal, upsell" in words
    assert "did you mean 'renewal'?" in words
    assert not (folder / "x.html").exists()


def test_the_current_scores_of_a_model_are_a_file_of_their_own(folder):
    log = writing(open_log(str(folder / "log.db")))
    write(log, scored("a", 100), scored("c", 50))
    write(log, named("renewal", "b", 300), named("renewal", "a", 200))
    log.dispose()
    for model, expected in {"default": ["a", "c"], "renewal": ["b", "a"]}.items():
        result = run("store", "scores", "--log", "log.db", "--out", "out.csv", "--model", model)
        assert result.exit_code == 0, result.output
        assert pl.read_csv(folder / "out.csv")["lead_id"].to_list() == expected
    for model, hint in {"renewals": "; did you mean 'renewal'?", "churn": ""}.items():
        result = run("store", "scores", "--log", "log.db", "--out", "out.csv", "--model", model)
        said = " ".join(result.output.replace("│", " ").split())
        sentence = f"the log has no decision by a model called '{model}', but decisions by renewal{hint}"
        assert (result.exit_code, said.count("renewal"), sentence in said) == (
            2,
            sentence.count("renewal"),
            True,
        )


@pytest.mark.usefixtures("folder")
def test_what_a_named_model_teaches_belongs_to_the_project_of_its_name():
    assert [leadloop._project_of(model) for model in ("upsell", "renewal", "champion")] == [
        "acme-upsell",
        "",
        "",
    ]
