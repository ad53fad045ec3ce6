"""What is read out of columns, from a file to a served reason: one recipe, and no address or text is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.catalogue import build_feature_set
from features.cohort import Snapshots
from features.extraction import ColumnExtraction, cell_texts, extract_column
from features.ingest.column_roles import ColumnRole
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from features.ingest.mapping import AttributeSelection, HistoryMapping, TableMapping
from features.ingest.read_history import read_history
from features.messages import Message
from features.online import OnlineFeatures
from features.record import to_records
from models import artifact
from models.conversion import ConversionModel
from models.grades import Grades
from models.model_card import ModelCard
from serving.openapi import example_lead
from serving.request_contract import contract_breaches
from serving.request_parsing import LeadParser
from serving.scorer import Scorer
from training.batch_scoring import ScoringOptions, score_flat
from training.config.settings import Config, FlatConfig
from training.data.dataset import Dataset, compute_feature_rows, flat_features, flat_rows
from training.data.load import read_dataset
from training.leakage.checks import run_checks
from training.learner.recipes import BLEND, fit_parts
from training.learner.stacking import StackingWeights
from training.pipeline.fit_model import keep_learned_words
from training.pipeline.messages import ingest_messages

ROWS = 400
PERSON = "zweig"
TITLES = ("CEO", "Leiter Einkauf", "Intern", "Head of IT", "Sales Manager", "Controller", "HR Specialist")
FILLER = [
    "wir",
    "suchen",
    "eine",
    "lösung",
    "für",
    "unser",
    "team",
    "und",
    "haben",
    "fragen",
    "zu",
    "den",
    "funktionen",
]


def make_leads(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    told = random.random(rows) < 0.3
    demo = random.random(rows) < 0.4
    won = random.random(rows) < 0.15 + 0.3 * told + 0.4 * demo
    notes = [
        " ".join(
            [
                *random.permutation(FILLER)[:8],
                "budget" if each else "",
                f"{PERSON}{chr(97 + n % 26)}{chr(97 + n // 26)}",
            ]
        )
        for n, each in enumerate(told)
    ]
    domains = random.choice(["acme.de", "gmail.com", "beta.com"], rows)
    places = [f" {chr(65 + n)}{chr(66 + n)}" for n in range(8)]
    return pl.DataFrame(
        {
            "Id": [f"L{n}" for n in range(rows)],
            "Visits": random.poisson(3, rows),
            "Email": [f"{PERSON}{n}@{domain}" for n, domain in enumerate(domains)],
            "Job Title": [random.choice(TITLES) + random.choice(places) for _ in range(rows)],
            "Message": notes,
            "Interests": [
                ";".join(
                    random.permutation([*(["Demo"] if each else []), "Blog", *random.choice(["API", "X"], 1)])
                )
                for each in demo
            ],
            "Won": np.where(won, "Yes", "No"),
        }
    ).with_columns(pl.when(pl.int_range(pl.len()) % 17 > 0).then(pl.col("Email", "Message", "Interests")))


def quick_model(dataset, **card):
    """The dataset as the model has it, and a model of the default kind that is trained in a second."""
    parts = fit_parts(dataset.to_learning_rows(), 20, 0)
    predictor = parts.predictor(BLEND, StackingWeights(np.array([0.5, 0.5]), 0.0))
    dataset = keep_learned_words(dataset, predictor.encodings)
    record = {"label": "Won", "created_at": "2026-01-01", "rows": ROWS, "positives": 9, "recipe": "x"}
    record |= {"time_ordered": False, "missing": dataset.missing, "marks": dict(dataset.marks)} | card
    return dataset, ConversionModel(dataset.features, predictor, Grades((0.9, 0.5, 0.1)), ModelCard(**record))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extraction")
    make_leads().write_csv(folder / "leads.csv")
    config = Config(flat=FlatConfig(folder / "leads.csv", "Won", id="Id"))
    dataset, model = quick_model(read_dataset(config, folder), flat=True, id_column="Id")
    model = artifact.save(model, folder / "model")
    return folder, dataset, artifact.load(folder / "model")


def requests(frame):
    rows = frame.drop("Won").to_dicts()
    return [
        {
            "lead_id": row.pop("Id"),
            "attributes": {name: value for name, value in row.items() if value is not None},
        }
        for row in rows
    ]


def test_every_part_is_a_feature_and_what_is_read_out_is_told(world):
    folder, dataset, _ = world
    assert {
        "Email: kind",
        "Email: domain",
        "Email: country",
        "Job Title: rank",
        "Job Title: department",
        "Message: words",
        "Interests: Demo",
        "Visits",
    } <= set(dataset.features.names)
    assert not {"Email", "Message", "Interests"} & set(dataset.features.names)
    told = "\n".join(ingest_messages(dataset, folder / "quarantine.csv"))
    assert "'Email': domain, country and private or business are read out" in told
    assert "the addresses are not kept" in told
    assert "columns not used" not in told


def test_a_file_and_a_request_give_the_same_bits(world):
    folder, _, model = world
    fresh = make_leads(80, seed=5)
    fresh.write_csv(folder / "fresh.csv")
    columns = FlatColumns.from_features(model.features, "Id", model.card.missing, model.card.marks)
    leads = pl.concat(batch.leads for batch in iter_flat_batches(folder / "fresh.csv", columns))
    rows = flat_rows(model.features, leads)
    scorer = Scorer(model)
    for lead, row, probability in zip(
        requests(fresh),
        rows.drop("lead_id", "as_of").to_dicts(),
        model.score_frame(rows)["probability"],
        strict=True,
    ):
        assert scorer.feature_row(scorer._read(lead)) == row
        assert scorer.score([lead])[0].probability == probability
    as_lists = [
        lead
        | {"attributes": lead["attributes"] | {"Interests": lead["attributes"]["Interests"].split(";")[::-1]}}
        for lead in requests(fresh)
        if "Interests" in lead["attributes"]
    ]
    sent = [lead for lead in requests(fresh) if "Interests" in lead["attributes"]]
    assert [s.probability for s in scorer.score(as_lists)] == [s.probability for s in scorer.score(sent)]


def test_the_rows_of_training_are_those_of_scoring(world):
    folder, dataset, model = world
    columns = FlatColumns.from_features(model.features, "Id", model.card.missing, model.card.marks)
    leads = pl.concat(batch.leads for batch in iter_flat_batches(folder / "leads.csv", columns))
    assert flat_rows(model.features, leads).equals(dataset.rows)


def test_nothing_that_is_written_knows_an_address_or_a_rare_word(world):
    folder, _, model = world
    make_leads(60, seed=3).write_csv(folder / "new.csv")
    score_flat(model, folder / "new.csv", ScoringOptions(folder / "scores.csv", reasons=9), lambda _: None)
    answer = Scorer(model).explain(requests(make_leads(20, seed=4)))
    files = [file for file in (folder / "model").iterdir() if file.is_file()]
    for text in [*(file.read_text() for file in (*files, folder / "scores.csv")), repr(answer)]:
        assert PERSON not in text


def test_a_texts_reason_is_one_and_names_the_words_that_decide(world):
    *_, model = world
    lead = next(lead for lead in requests(make_leads()) if "budget" in lead["attributes"].get("Message", ""))
    answer = Scorer(model).explain([lead])[0]
    reasons = [reason for reason in answer.reasons if reason.feature == "Message: words"]
    assert len(reasons) == 1
    assert "budget" in reasons[0].text.removeprefix("Message, words: ").split(", ")
    total = answer.base + sum(reason.contribution for reason in answer.reasons)
    assert total == pytest.approx(answer.log_odds, abs=1e-9)
    german = Scorer(model).explain([lead], "de")[0]
    texts = {reason.feature: reason.text for reason in german.reasons}
    assert texts["Message: words"].startswith("Message, Wörter: ")
    assert texts["Email: kind"] in {
        "Email, privat oder geschäftlich: privat",
        "Email, privat oder geschäftlich: geschäftlich",
    }


def test_a_request_may_carry_the_column_and_not_what_is_read_out_of_it(world):
    *_, model = world
    good = {"lead_id": "a", "attributes": {"Email": "ann@acme.de", "Interests": ["Demo", None]}}
    bad = [
        {"lead_id": "b", "attributes": {"Email: domain": "acme.de"}},
        {"lead_id": "c", "attributes": {"Visits": [1]}},
        {"lead_id": "d", "attributes": {"Interests": [["Demo"]]}},
        {"lead_id": "e", "attributes": {"Interests": ["x" * 9_000, "y" * 9_000]}},
    ]
    answers = Scorer(model).score([good, *bad])
    assert answers[0].probability > 0
    assert [answer.error.code for answer in answers[1:]] == ["unknown_attribute", *["invalid_value"] * 3]
    assert Scorer(model).score([example_lead(model)])[0].probability > 0


def test_a_model_that_reads_out_more_breaks_no_request(world):
    folder, *_ = world
    _, _, model = world
    plain = read_dataset(Config(flat=FlatConfig(folder / "leads.csv", "Won", extract={"*": "none"})), folder)
    _, old = quick_model(plain, flat=True, id_column="Id")
    ignored = ("Id", "Email", "Message", "Won")
    old = ConversionModel(
        old.features, old.predictor, old.grades, ModelCard(**vars(old.card) | {"ignored": ignored})
    )
    assert "Email" not in contract_breaches(old, model)


def test_switched_off_a_column_is_what_it_was(world):
    folder, *_ = world
    config = FlatConfig(folder / "leads.csv", "Won", id="Id", extract={"*": "none", "Interests": "choices"})
    dataset = read_dataset(Config(flat=config), folder)
    assert set(dataset.features.names) == {
        "Visits",
        "Job Title",
        *(f"Interests: {choice}" for choice in ("API", "Blog", "Demo", "X")),
    }


def test_a_word_that_sales_wrote_after_the_outcome_is_found():
    frame = make_leads()
    won = pl.col("Won") == "Yes"
    frame = frame.with_columns(
        Message=pl.when(won).then("Message" + pl.lit(" unterschrieben")).otherwise("Message")
    )
    leads = frame.rename({"Id": "lead_id"}).drop("Won")
    extraction = ColumnExtraction("Message", "words")
    dataset = _dataset(leads, extraction, frame["Won"] == "Yes")
    found = {(finding.code, finding.column) for check in run_checks(dataset) for finding in check.findings}
    assert ("LC001", "Message: words") in found
    assert ("LC015", "Message: words: unterschrieben") in found


def _dataset(leads, extraction, won):
    texts = extract_column(extraction, cell_texts(leads[extraction.column]))
    frame = leads.select("lead_id", "Visits").with_columns(pl.col("Visits").cast(pl.Float64), texts)
    role = ColumnRole(extraction.name, "category", Message("columns.words"), extraction=extraction)
    features = flat_features(frame, (role,))
    return Dataset(features, flat_rows(features, frame), won.to_numpy().astype(np.int8), "Won")


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    leads = make_leads(120).rename({"Id": "lead_id"}).drop("Won")
    firms = pl.DataFrame({"account_id": [f"A{n}" for n in range(30)]}).with_columns(
        Contact="office@" + pl.col("account_id").str.to_lowercase() + ".de"
    )
    leads = leads.with_columns(
        created_at=pl.lit("2026-01-01T00:00:00Z"),
        account_id="A" + (pl.int_range(pl.len()) % 30).cast(pl.String),
    )
    leads.write_csv(folder / "leads.csv")
    firms.write_csv(folder / "accounts.csv")
    pl.DataFrame({"lead_id": ["L1"], "occurred_at": ["2026-01-02T00:00:00Z"], "stage": ["won"]}).write_csv(
        folder / "moves.csv"
    )
    return HistoryMapping(
        TableMapping(file=folder / "leads.csv"),
        transitions=(TableMapping(file=folder / "moves.csv"),),
        accounts=TableMapping(file=folder / "accounts.csv"),
        stages=("won",),
    )


def test_columns_of_leads_and_accounts_are_read_out_of_a_history(history):
    reading = read_history(history, 2**40)
    roles = [role.extraction for role in reading.roles if role.extraction is not None]
    features = build_feature_set(reading.history, target="won", extractions=roles)
    assert {"account.Contact: domain", "Email: domain", "Interests: Demo"} <= set(features.names)
    as_of = reading.history.observed_until
    snapshots = Snapshots(reading.history.leads.select("lead_id", as_of=pl.lit(as_of)))
    rows = compute_feature_rows(features, reading.history, snapshots).sort("lead_id")
    plan = OnlineFeatures(features)
    online = sorted(
        ((r.lead_id, plan(r, as_of)) for r in to_records(reading.history)), key=lambda pair: pair[0]
    )
    assert rows.drop("lead_id", "as_of").to_dicts() == [row for _, row in online]
    # A model's own recipes, whatever would be found today.
    only = tuple(dict.fromkeys(each.column for each in features.extractions))
    known = replace(history, plain=AttributeSelection(only=only), extractions=features.extractions)
    again = read_history(known, 2**40).history
    columns = [each.name for each in features.extractions]
    assert not {"Email", "Message"} & set(again.leads.columns)
    assert again.leads.select(name for name in columns if name in again.leads.columns).equals(
        reading.history.leads.select(name for name in columns if name in again.leads.columns)
    )
    assert again.accounts.equals(reading.history.accounts)


@pytest.fixture(scope="module")
def overwritten(tmp_path_factory):
    """Addresses, titles and interests that the CRM overwrites, once for each lead and again for some."""
    folder = tmp_path_factory.mktemp("overwritten")
    frame = make_leads(150)
    attributes = {"email": "Email", "jobtitle": "Job Title", "interests": "Interests"}
    changes = [
        {
            "lead_id": lead["Id"],
            "known_at": f"2026-01-0{1 + n % 3}T00:00:00Z",
            "name": name,
            "value": lead[column],
        }
        for n, lead in enumerate(frame.to_dicts())
        for name, column in attributes.items()
    ]
    changes += [
        change | {"known_at": "2026-01-05T00:00:00Z", "value": "x@web.de"} for change in changes[:30:3]
    ]
    pl.DataFrame(changes).write_csv(folder / "changes.csv")
    leads = frame.select(lead_id="Id", created_at=pl.lit("2025-12-31T00:00:00Z"))
    leads.write_csv(folder / "leads.csv")
    moves = leads.select("lead_id", occurred_at=pl.lit("2026-01-09T00:00:00Z"), stage=pl.lit("won"))
    moves[:1].write_csv(folder / "moves.csv")
    return HistoryMapping(
        TableMapping(file=folder / "leads.csv"),
        transitions=(TableMapping(file=folder / "moves.csv"),),
        attributes=(TableMapping(file=folder / "changes.csv"),),
        stages=("won",),
    )


def test_overwritten_attributes_are_read_out_as_of_each_snapshot(overwritten):
    reading = read_history(overwritten, 2**40)
    history = reading.history
    assert PERSON not in str(history.attributes.rows())
    roles = [role.extraction for role in reading.roles if role.extraction is not None]
    features = build_feature_set(history, target="won", extractions=roles)
    assert {"email: domain", "jobtitle", "jobtitle: rank", "interests: Demo"} <= set(features.names)
    assert "email" not in features.names
    first, last = 1_767_484_800, history.observed_until  # the fourth of January, and after all changes
    plan = OnlineFeatures(features)
    for as_of in (first, last):
        snapshots = Snapshots(history.leads.select("lead_id", as_of=pl.lit(as_of)))
        rows = compute_feature_rows(features, history, snapshots).sort("lead_id")
        online = sorted(((r.lead_id, plan(r, as_of)) for r in to_records(history)), key=lambda pair: pair[0])
        assert rows.drop("lead_id", "as_of").to_dicts() == [row for _, row in online]
        if as_of == last:
            assert rows.filter(lead_id="L1")["email: domain"].item() == "web.de"
    known = replace(overwritten, history_extractions=features.history_extractions)
    again = read_history(known, 2**40).history.attributes
    assert again.sort(again.columns).equals(history.attributes.sort(history.attributes.columns))


def test_a_request_sends_the_changes_as_they_are(overwritten):
    reading = read_history(overwritten, 2**40)
    roles = [role.extraction for role in reading.roles if role.extraction is not None]
    features = build_feature_set(reading.history, target="won", extractions=roles)
    read = LeadParser(features)
    changes = [
        {"name": "email", "known_at": 100, "value": "ann@acme.de"},
        {"name": "email", "known_at": 200, "value": "ann@gmail.com"},
        {"name": "jobtitle", "known_at": 100, "value": "CEO"},
        {"name": "interests", "known_at": 100, "value": ["Demo"]},
    ]
    request = read({"lead_id": "a", "created_at": 50, "as_of": 300, "attribute_history": changes})
    plan = OnlineFeatures(features)
    assert "ann@" not in repr(request)
    assert (plan(request.record, 150)["email: kind"], plan(request.record, 300)["email: kind"]) == (
        "business",
        "private",
    )
    row = plan(request.record, 300)
    assert (row["jobtitle: rank"], row["interests: Demo"], row["interests: Blog"]) == ("c_level", 1, 0)
    plain = read({"lead_id": "a", "created_at": 50, "as_of": 300, "attributes": {"email": "ann@acme.de"}})
    assert plan(plain.record, 300)["email: domain"] == "acme.de"


def test_another_model_is_compared_by_the_words_that_it_knows(world):
    folder, dataset, _ = world
    fresh = read_dataset(Config(flat=FlatConfig(folder / "leads.csv", "Won", id="Id")), folder)
    at = np.arange(50)
    other = dataset.features_for(fresh.features, at)["Message: words"]
    assert other.equals(fresh.rows["Message: words"][at])
    assert dataset.features_for(dataset.features, at).equals(dataset.rows[at])


def test_a_choice_that_nobody_makes_any_more_is_no_reason_not_to_compare(world):
    _, dataset, model = world
    fewer = replace(
        dataset, features=dataset.features.without({"Interests: X"}), rows=dataset.rows.drop("Interests: X")
    )
    rows = fewer.features_for(model.features, np.arange(len(dataset)))
    assert rows["Interests: X"].null_count() == rows["Interests: Demo"].null_count()
    assert set(rows["Interests: X"].drop_nulls()) == {0.0}
