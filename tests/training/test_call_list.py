"""The call list: the best leads whatever the batches, with what people know them by."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from small_model import build_small_model
from typer.testing import CliRunner

from leadloop import app
from models import artifact
from models.additive import PiecewiseLinearTerm
from models.score_parts import PartScales
from models.uncertainty import FeatureSupport, ScoreUncertainty
from training import batch_scoring
from training.batch_scoring import ScoringError, read_flat_leads
from training.call_list import CallListOptions, call_list_of_file, list_best_leads
from training.data.dataset import flat_features, flat_rows
from training.report.call_list_page import call_list_page

HOSTILE = "<script>alert(1)</script>"
LEADS = pl.DataFrame(
    {
        "lead_id": [str(n) for n in range(200)],
        "visits": [float(n % 50) for n in range(200)],
        "city": [("Bern", "Graz", "Ulm", None)[n % 4] for n in range(200)],
    }
)
OWN = LEADS.select(
    name=pl.lit("Lead ") + pl.col("lead_id"),
    owner=pl.when(pl.col("city").is_not_null()).then(pl.lit("Ada & Co")),
    note=pl.lit(HOSTILE),
)


@pytest.fixture(scope="module")
def model():
    features = flat_features(LEADS, ())
    rows = flat_rows(features, LEADS)
    model = build_small_model(features, rows, flat=True, id_column="id")
    families = [spec.family for spec in features.specs]
    return replace(model, part_scales=PartScales.of(model.contributions(rows)[1], families, 0.1))


@pytest.fixture
def leads(tmp_path):
    path = tmp_path / "leads.csv"
    LEADS.rename({"lead_id": "id"}).hstack(OWN).write_csv(path)
    return path


def test_dormant_leads_are_not_listed_nor_counted_as_open(model, leads):
    encodings = model.predictor.encodings
    (place,) = [n for n, each in enumerate(encodings.features) if each.name == "visits"]
    aging = (FeatureSupport("visits", encodings.sources[place], 0.0, high=20.0),)
    doubt = ScoreUncertainty(PiecewiseLinearTerm((0.0,), (0.5,), 0.5), 9.0, aging=aging)
    found = call_list_of_file(replace(model, uncertainty=doubt), leads, CallListOptions(500), print)
    listed = {lead.explanation.score.lead_id for lead in found.leads}
    assert listed == set(LEADS.filter(pl.col("visits") <= 20)["lead_id"])
    # As the console counts them: dormant leads are a state of their own.
    assert (found.open_leads, found.excluded) == (len(listed), {"dormant": LEADS.height - len(listed)})
    assert list(found.in_words(Path("list.html")))[1] == f"on no list: {LEADS.height - len(listed):,} dormant"


def test_where_all_leads_are_dormant_the_list_says_what_to_do(model, leads):
    encodings = model.predictor.encodings
    (place,) = [n for n, each in enumerate(encodings.features) if each.name == "visits"]
    aging = (FeatureSupport("visits", encodings.sources[place], -2.0, high=-1.0),)
    doubt = ScoreUncertainty(PiecewiseLinearTerm((0.0,), (0.5,), 0.5), 9.0, aging=aging)
    found = call_list_of_file(replace(model, uncertainty=doubt), leads, CallListOptions(500), print)
    assert found.open_leads == 0
    assert "[cohort] every" in list(found.in_words(Path("list.html")))[2]


@pytest.mark.parametrize("rows", [7, 64, 1000])
def test_the_list_is_the_top_of_all_scores_whatever_the_batches(model, leads, monkeypatch, rows):
    monkeypatch.setattr(batch_scoring.iter_flat_batches, "__defaults__", (rows, None))
    found = call_list_of_file(model, leads, CallListOptions(25), print)
    scores = model.score_frame(flat_rows(model.features, LEADS))
    best = scores.sort("log_odds", "lead_id", descending=[True, False]).head(25)
    assert [lead.explanation.score.lead_id for lead in found.leads] == best["lead_id"].to_list()
    assert [lead.explanation.score.log_odds for lead in found.leads] == best["log_odds"].to_list()
    assert found.open_leads == LEADS.height
    assert found.expected == pytest.approx(best["probability"].sum())


def test_each_lead_keeps_its_own_name_and_owner(model, leads):
    found = call_list_of_file(model, leads, CallListOptions(50, "owner", ("name",)), print)
    for lead in found.leads:
        number = int(lead.explanation.score.lead_id)
        assert lead.details == (f"Lead {number}",)
        assert lead.owner == OWN["owner"][number]
    assert found.owners == ("Ada & Co",)


@pytest.mark.parametrize("rows", [7, 1000])
def test_each_owner_has_as_many_of_its_own_best_leads_as_it_can_call(model, leads, monkeypatch, rows):
    monkeypatch.setattr(batch_scoring.iter_flat_batches, "__defaults__", (rows, None))
    options = CallListOptions(2_000, "city", ("owner",), capacity_each=3)
    listed = call_list_of_file(model, leads, options, print).leads
    scores = model.score_frame(flat_rows(model.features, LEADS)).join(LEADS, on="lead_id")
    ordered = scores.sort("log_odds", "lead_id", descending=[True, False])
    for city in ("Bern", "Graz", "Ulm", None):
        own = ordered.filter(pl.col("city").eq_missing(pl.lit(city, pl.String)))["lead_id"].head(3).to_list()
        assert [each.explanation.score.lead_id for each in listed if each.owner == city] == own
    assert len(listed) == 12
    log_odds = [each.explanation.score.log_odds for each in listed]
    assert log_odds == sorted(log_odds, reverse=True)


def test_a_capacity_of_owners_needs_the_column_of_owners(tmp_path):
    result = CliRunner().invoke(app, ["leads", "--html", str(tmp_path / "l.html"), "--capacity-each", "3"])
    assert result.exit_code == 2
    assert "name the column of the owner with --owner" in str(result.exception) + result.output


def test_a_model_that_tells_no_leads_apart_lists_none(model, leads):
    none = PiecewiseLinearTerm((0.0, 1.0), (0.0, 0.0), 0.0)
    blind = replace(model, uncertainty=ScoreUncertainty(none, 1.0, lacking="too_few_outcomes", missing=20))
    with pytest.raises(ScoringError, match="20"):
        list_best_leads(blind, read_flat_leads(blind, leads, (), None, print).batches, CallListOptions())


class Scripts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts, self.sources = 0, []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.sources += [value for name, value in attrs if name in {"src", "href"}]


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_page_loads_nothing_and_no_value_is_markup(model, leads, lang):
    options = CallListOptions(30, "owner", ("name", "note"), lang)
    page = call_list_page(call_list_of_file(model, leads, options, print), lang)
    parsed = Scripts()
    parsed.feed(page)
    assert parsed.scripts == 1
    assert parsed.sources == ["#leads"]
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert "Ada &amp; Co" in page


def test_the_command_writes_the_page_and_says_how_many(model, leads, tmp_path):
    artifact.save(model, tmp_path / "model")
    page, answer = tmp_path / "list.html", tmp_path / "answer.json"
    arguments = ["leads", "--html", page, "--leads", leads, "--model", tmp_path / "model", "--top", "10"]
    arguments += ["--owner", "owner", "--show", "name", "--show", "name", "--lang", "de", "--json", answer]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert json.loads(answer.read_text())["leads"] == 10
    assert page.read_text().count("<li data-grade=") == 10
    assert page.stat().st_mode & 0o077 == 0


def test_a_column_that_is_not_there_is_named_with_the_nearest_one(model, leads, tmp_path):
    artifact.save(model, tmp_path / "model")
    arguments = ["leads", "--html", tmp_path / "l.html", "--leads", leads, "--model", tmp_path / "model"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--owner", "ownr"])
    assert result.exit_code != 0
    assert "no column 'ownr'" in str(result.exception) + result.output
    assert not (tmp_path / "l.html").exists()
