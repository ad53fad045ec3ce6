"""A push of what has changed: nothing is sent twice, nothing that moved is kept back, whatever ends it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.crm.protocol import PushError
from training.crm.push import plan, push_scores
from training.crm.retry import RetryPolicy
from training.crm.sent_scores import SentScores
from training.crm.target import CrmTarget

URL = "https://crm.example"
GRADES = "DCBA"


def frame(probabilities):
    return pl.DataFrame(
        {
            "lead_id": list(probabilities),
            "probability": list(probabilities.values()),
            "grade": [GRADES[min(3, int(4 * p))] for p in probabilities.values()],
        },
        {"lead_id": pl.String, "probability": pl.Float64, "grade": pl.String},
    )


@settings(max_examples=40)
@given(
    days=st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1)), min_size=1, max_size=6),
    step=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_the_crm_is_never_farther_off_than_a_step(tmp_path_factory, days, step):
    sent = SentScores(tmp_path_factory.mktemp("sent") / "sent.parquet", step)
    crm = {}
    for day in days:
        today = frame(day)
        for row in sent.changed(today).iter_rows(named=True):
            crm[row["lead_id"]] = (row["probability"], row["grade"])
        sent.add(sent.changed(today), set(day))
        for row in today.iter_rows(named=True):
            probability, grade = crm[row["lead_id"]]
            assert grade == row["grade"]
            assert abs(probability - row["probability"]) <= step
        assert sent.changed(today).is_empty() or step == 0


def test_small_moves_in_one_direction_add_up_to_a_step(tmp_path):
    sent = SentScores(tmp_path / "sent.parquet", 0.05)
    sent.add(frame({"a": 0.30}), {"a"})
    counts = [sent.changed(frame({"a": 0.30 + 0.01 * day})).height for day in range(7)]
    assert counts == [0, 0, 0, 0, 0, 1, 1]


def scored(tmp_path, probabilities, name="scores.csv"):
    path = tmp_path / name
    rows = frame(probabilities)
    rows.with_columns(points=pl.lit(200)).write_csv(path)
    return path


def test_a_push_sends_what_changed_and_an_interrupted_one_loses_nothing(tmp_path, stand_ins):
    crm, sent = stand_ins["salesforce"](), SentScores(tmp_path / "sent.parquet", 0.05)
    first = {f"{n}": 0.3 for n in range(450)}
    target, patience = CrmTarget("salesforce", URL), RetryPolicy(attempts=2, sleep=lambda _: None)
    crm.faults += [None, KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        push_scores(plan(target, scored(tmp_path, first), sent=sent), crm.send, patience)
    assert set(sent.read()["lead_id"]) == set(crm.batches[0])
    rest = push_scores(plan(target, scored(tmp_path, first), sent=sent), crm.send, patience)
    assert rest.acknowledged == 250
    assert plan(target, scored(tmp_path, first), sent=sent).unchanged == 450

    second = first | {"7": 0.31, "8": 0.4, "new": 0.1}
    del crm.batches[:]
    crm.refuses["8"] = "not today"
    planned = plan(target, scored(tmp_path, second, "later.csv"), sent=sent)
    assert "leads whose scores the CRM has already: 449" in list(planned.in_words())
    push_scores(planned, crm.send, patience)
    assert [sorted(batch) for batch in crm.batches] == [["8", "new"]]
    crm.refuses.clear()
    del crm.batches[:]
    push_scores(plan(target, scored(tmp_path, second, "later.csv"), sent=sent), crm.send, patience)
    assert crm.batches == [["8"]]
    assert plan(target, scored(tmp_path, second, "later.csv"), sent=sent).to_dict()["requests"] == 0


def test_another_file_is_not_taken_for_what_was_sent(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("lead_id\na\n")
    with pytest.raises(PushError, match="name another file"):
        SentScores(path, 0.1).read()
