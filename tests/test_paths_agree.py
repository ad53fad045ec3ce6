"""One lead, two paths: ``leadloop score`` and the service say the same of it, to the bit.

Models of the default path, each on a part of a real export or history and on the simulated CRM. Leads go
in two ways: as text, just as it stands in the file with every column of it, and as JSON has it, with numbers,
true and false.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from features.clock import to_datetime
from features.cohort import Snapshots, open_lead_snapshots
from features.ingest.read_history import read_history
from features.parsing import as_flag, as_number
from features.record import to_records
from models import artifact
from serving.scorer import MANY, Scorer
from serving.server import post_json, run_service
from training.batch_scoring import ScoringOptions, score_flat, score_history
from training.config.draft import draft_config
from training.config.settings import Config, FlatConfig, TrainingConfig, load_config
from training.data.dataset import compute_feature_rows
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model
from training.simulation.export import write_csv
from training.simulation.simulator import simulate

if TYPE_CHECKING:
    from models.conversion import ConversionModel

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "shared" / "data"
ROWS = 1_200
SENT = 250
LEAKS = ("Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity")
FLAT = {
    "xeducation": ("xeducation/Leads.csv", "Converted", {"id": "Prospect ID", "time": "Lead Number"}, LEAKS),
    "shoppers": (
        "online_shoppers/online_shoppers_intention.csv",
        "Revenue",
        {"time": "Month"},
        ("PageValues",),
    ),
}
HISTORIES = {
    "olist": ("olist_marketing_qualified_leads_dataset.csv", "olist_closed_deals_dataset.csv"),
    "crm": ("sales_pipeline.csv", "accounts.csv"),
}
FOLDERS = {"olist": "olist_funnel", "crm": "crm_opportunities"}


@dataclass(frozen=True)
class Case:
    """A model, its feature rows and scores from files, and the same leads as requests, in two spellings."""

    model: ConversionModel
    folder: Path
    rows: list[dict]
    scores: list[dict]
    as_text: list[dict]
    as_json: list[dict]


def real(path):
    if not (DATA / path).is_file():
        pytest.skip(f"{DATA / path} is not on this machine")
    return DATA / path


def sampled(source, target, rows, keep=lambda _: True):
    """The header and every so many-th row of a CSV file, as text."""
    with source.open(encoding="utf-8", newline="") as file:
        head, *body = csv.reader(file)
    body = [row for row in body if keep(dict(zip(head, row, strict=True)))]
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *body[:: max(1, len(body) // rows)]])
    return target


def dicts(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def typed(features, attributes):
    """Text attributes as a CRM has them: numbers, true and false, and words."""
    read_as = {"flag": lambda text: bool(as_flag(text)), "category": str}
    units = {spec.of: spec.unit for spec in features.specs if spec.reduce == "value"}
    return {
        name: read_as.get(units[name], as_number)(text)
        for name, text in attributes.items()
        if name in units and text.strip()
    }


def learned(dataset, folder):
    """A model of the default path, saved and loaded again."""
    artifact.save(train_model(dataset, TrainingConfig()).model, folder / "model")
    return artifact.load(folder / "model")


def flat_case(name, folder):
    source, label, columns, leaks = FLAT[name]
    path = sampled(real(source), folder / "leads.csv", ROWS)
    config = Config(flat=FlatConfig(path, label, exclude=leaks, **columns))
    dataset = read_dataset(config, folder)
    model = learned(dataset, folder)
    score_flat(model, path, ScoringOptions(folder / "scores.parquet"), say=lambda _: None)
    texts = dicts(path)[:SENT]
    ids = [text[columns["id"]] if "id" in columns else str(n) for n, text in enumerate(texts, 1)]
    by_id = {row["lead_id"]: row for row in dataset.rows.to_dicts()}
    scores = {row["lead_id"]: row for row in pl.read_parquet(folder / "scores.parquet").to_dicts()}
    return Case(
        model,
        folder / "model",
        [by_id[lead] for lead in ids],
        [scores[lead] for lead in ids],
        [{"lead_id": lead, "attributes": text} for lead, text in zip(ids, texts, strict=True)],
        [
            {"lead_id": lead, "attributes": typed(model.features, text)}
            for lead, text in zip(ids, texts, strict=True)
        ],
    )


def drafted(name, folder):
    """The configuration that ``leadloop init`` drafts for a part of a real history."""
    main, other = (real(f"{FOLDERS[name]}/{file}") for file in HISTORIES[name])
    leads = sampled(main, folder / "leads.csv", ROWS, lambda row: row.get("engage_date", "-"))
    known = {row["mql_id"] for row in dicts(leads)} if name == "olist" else set()
    more = sampled(other, folder / "more.csv", 10_000, lambda row: not known or row["mql_id"] in known)
    (folder / "leadloop.toml").write_text(draft_config([leads, more], folder))
    return load_config(folder / "leadloop.toml")


def simulated(_, folder):
    return load_config(write_csv(simulate(ROWS, seed=5), folder))


def history_case(name, folder):
    config = (simulated if name == "simulator" else drafted)(name, folder)
    dataset = read_dataset(config, folder)
    model = learned(dataset, folder)
    score_history(model, config, ScoringOptions(folder / "scores.parquet"), say=lambda _: None)
    scores = {row["lead_id"]: row for row in pl.read_parquet(folder / "scores.parquet").to_dicts()}
    history = read_history(config.history_mapping, now=2**40).history
    leads = [record for record in to_records(history) if record.lead_id in scores][:SENT]
    ids = pl.DataFrame({"lead_id": [lead.lead_id for lead in leads]})
    now = open_lead_snapshots(history, config.cohort_rule).frame.join(ids, on="lead_id", how="semi")
    rows = {
        row["lead_id"]: row
        for row in compute_feature_rows(model.features, history, Snapshots(now)).to_dicts()
    }
    texts = texts_of(config, history)
    return Case(
        model,
        folder / "model",
        [rows[lead.lead_id] for lead in leads],
        [scores[lead.lead_id] for lead in leads],
        [sent(lead, history.observed_until, *texts[lead.lead_id], moment=iso) for lead in leads],
        [
            sent(
                lead,
                history.observed_until,
                *(typed_of(model, *texts[lead.lead_id])),
                moment=int,
                numbers=True,
            )
            for lead in leads
        ],
    )


def texts_of(config, history):
    """Of each lead the cells of its own row and of its account's, as they stand in the files."""
    key = config.leads.columns.get("lead_id", "lead_id")
    own = {row[key]: row for row in dicts(config.leads.file)}
    accounts = {}
    if config.accounts is not None:
        company = config.accounts.columns.get("account_id", "account_id")
        accounts = {row[company]: row for row in dicts(config.accounts.file)}
    belongs = dict(history.leads.select("lead_id", "account_id").iter_rows())
    return {lead: (own[lead], accounts.get(belongs[lead], {})) for lead in belongs}


def typed_of(model, own, account):
    prefixed = typed(model.features, {f"account.{name}": text for name, text in account.items()})
    return typed(model.features, own), {name.removeprefix("account."): v for name, v in prefixed.items()}


def iso(seconds):
    return to_datetime(seconds).isoformat()


def sent(lead, until, own, account, *, moment, numbers=False):
    """A request for the lead as known at the end of its history."""

    def event(row):
        whose = {"lead_id": row["colleague"]} if "colleague" in row else {}
        fields = {name: value for name, value in row.items() if name != "colleague" and value is not None}
        return (
            fields | {"occurred_at": moment(row["occurred_at"]), "known_at": moment(row["known_at"])} | whose
        )

    def change(row):
        value = row["number"] if numbers and row["number"] is not None else row["value"]
        return {"name": row["name"], "known_at": moment(row["known_at"]), "value": value}

    return {
        "lead_id": lead.lead_id,
        "created_at": moment(lead.created_at),
        "as_of": moment(until),
        "attributes": own,
        "attribute_history": [change(row) for row in lead.events["attributes"]],
        "touchpoints": [event(row) for row in lead.events["touchpoints"]],
        "transitions": [event(row) for row in lead.events["transitions"]],
        "account": {
            "attributes": account,
            "touchpoints": [event(row) for row in lead.events["account_touchpoints"]],
            "transitions": [event(row) for row in lead.events["account_transitions"]],
        },
    }


@pytest.fixture(scope="module", params=["xeducation", "shoppers", "olist", "crm", "simulator"])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return (flat_case if request.param in FLAT else history_case)(request.param, folder)


@pytest.mark.parametrize("spelling", ["as_text", "as_json"])
def test_a_request_gives_the_feature_row_that_the_file_gives(case, spelling):
    scorer = Scorer(case.model)
    names = case.model.features.names
    for request, row in zip(getattr(case, spelling), case.rows, strict=True):
        scoring_request = scorer._read(request)
        assert scorer.feature_row(scoring_request) == {name: row[name] for name in names}
        assert scoring_request.as_of == row["as_of"] or case.model.card.flat


@pytest.mark.parametrize("size", [1, MANY - 1, SENT])
@pytest.mark.parametrize("spelling", ["as_text", "as_json"])
def test_a_request_of_any_size_gives_the_scores_that_the_file_gives(case, spelling, size):
    scorer = Scorer(case.model)
    leads = getattr(case, spelling)
    parts = [leads[start : start + size] for start in range(0, len(leads), size)]
    answers = [answer for part in parts for answer in scorer.score(part)]
    columns = ("lead_id", "probability", "points", "grade", "low", "high", "sufficient", "insufficient")
    assert [time_text(answer) for answer in answers] == [
        tuple(row[name] for name in columns) for row in case.scores
    ]


def time_text(answer):
    """What a file of scores says of a lead."""
    interval, why = answer.interval, answer.insufficient
    ends = (interval.low, interval.high) if interval else (None, None)
    numbers = (answer.lead_id, answer.probability, answer.points, answer.grade)
    return (*numbers, *ends, answer.sufficient, why.code if why else None)


def test_an_explanation_adds_up_to_the_log_odds_of_the_file(case):
    for result, row in zip(Scorer(case.model).explain(case.as_json[:20]), case.scores, strict=False):
        assert result.log_odds == row["log_odds"]
        assert result.base + sum(reason.contribution for reason in result.reasons) == pytest.approx(
            result.log_odds, abs=1e-9
        )


@pytest.mark.parametrize("case", ["xeducation", "simulator"], indirect=True)
def test_over_http_too(case, tmp_path):
    few = [json.loads(json.dumps(lead)) for lead in (*case.as_text[:3], *case.as_json[:3])]
    with (tmp_path / "log").open("wb") as log, run_service(case.folder, log=log) as service:
        answer = post_json(service.url, "/v1/score", {"leads": few})
    assert answer["model_version"] == case.model.version
    expected = [row["probability"] for row in (*case.scores[:3], *case.scores[:3])]
    assert [result["probability"] for result in answer["results"]] == expected
