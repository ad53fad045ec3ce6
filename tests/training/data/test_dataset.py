"""Rows to learn from: only what is known, in the order of time, from files as from a history."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from small_export import leads, write

from features import batch
from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.history import TRANSITION_SCHEMA, LeadHistory
from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from features.labels import LabelSpec, compute_labels
from training.data.dataset import (
    FLAT_AS_OF,
    Dataset,
    NoLabelledRowsError,
    flat_features,
    from_flat_export,
    from_history,
)

LABEL = LabelSpec("sql", 10 * DAY, closed=("disqualified",))
RULE = CohortRule(closed=("sql", "disqualified"))


def history(until=40 * DAY):
    """Forty leads, one a day; every third becomes an SQL five days later, every fifth is disqualified."""
    days = list(range(40))
    moves = [(d, "sql") for d in days if d % 3 == 0] + [(d, "disqualified") for d in days if d % 5 == 1]
    rows = [
        {"lead_id": f"{d:02d}", "occurred_at": (d + 5) * DAY, "known_at": (d + 5) * DAY, "stage": stage}
        for d, stage in moves
    ]
    leads = pl.DataFrame(
        {
            "lead_id": [f"{d:02d}" for d in reversed(days)],
            "created_at": [d * DAY for d in reversed(days)],
            "size": [float(d) for d in reversed(days)],
        }
    )
    return replace(
        LeadHistory.from_leads(leads, until),
        transitions=pl.DataFrame(rows, schema=TRANSITION_SCHEMA).filter(pl.col("occurred_at") < until),
    )


def test_only_rows_whose_window_is_over_are_learned_from():
    dataset = from_history(history(), RULE, LABEL)
    # as_of is a second after creation, so the window of the lead of day 30 is not over on day 40.
    assert dataset.rows["lead_id"].to_list() == [f"{d:02d}" for d in range(30)]


def test_immature_winners_are_left_out_like_immature_losers():
    known = compute_labels(history(), draw_snapshots(history(), RULE), LABEL)
    assert known.filter(~pl.col("matured"))["label"].drop_nulls().n_unique() == 2
    assert len(from_history(history(), RULE, LABEL)) == int(known["matured"].sum())


def test_rows_labels_and_order_belong_together_in_the_order_of_time():
    dataset = from_history(history(), RULE, LABEL)
    assert (np.diff(dataset.order) > 0).all()
    assert dataset.order.tolist() == dataset.rows["as_of"].to_list()
    won = {row["lead_id"] for row, label in zip(dataset.rows.to_dicts(), dataset.label, strict=True) if label}
    # 06 and 21 were disqualified in the very second in which they were won: won is what counts.
    assert won == {f"{d:02d}" for d in range(0, 30, 3)}
    assert dataset.rows["size"].to_list() == [float(name) for name in dataset.rows["lead_id"]]


def test_the_order_of_the_sources_is_irrelevant():
    original = history()
    shuffled = replace(
        original,
        leads=original.leads.sample(fraction=1, shuffle=True, seed=1),
        transitions=original.transitions.reverse(),
    )
    assert from_history(original, RULE, LABEL).fingerprint == from_history(shuffled, RULE, LABEL).fingerprint


def test_the_fingerprint_changes_with_a_value_a_label_or_a_feature():
    dataset = from_history(history(), RULE, LABEL)
    rows = dataset.rows.with_columns(size=pl.when(pl.col("lead_id") == "07").then(99.0).otherwise("size"))
    flipped = dataset.label.copy()
    flipped[3] = 1 - flipped[3]
    others = [
        replace(dataset, rows=rows),
        replace(dataset, label=flipped),
        replace(dataset, features=dataset.features.without({"size"}), rows=dataset.rows.drop("size")),
    ]
    assert len({each.fingerprint for each in (dataset, *others)}) == 4


def test_the_snapshots_of_one_lead_are_learned_from_as_one():
    twice = replace(RULE, every=3 * DAY)
    data = from_history(history(), twice, LABEL)
    leads, groups = data.rows["lead_id"].to_numpy(), data.to_learning_rows().groups
    assert len(set(leads)) < len(leads)
    assert [len(set(groups[leads == lead])) for lead in set(leads)] == [1] * len(set(leads))
    assert len(set(groups)) == len(set(leads))


def test_the_gap_is_the_labels_own_time():
    dataset = from_history(history(), RULE, replace(LABEL, lead_time=DAY, settle=2 * DAY))
    assert dataset.gap == 13 * DAY
    assert dataset.question == "sql within 10 days"


def test_nothing_to_learn_says_how_many_rows_there_are():
    with pytest.raises(NoLabelledRowsError, match=r"sql within 10 days: 0 rows with and 30 without it"):
        from_history(replace(history(), transitions=history().transitions.clear()), RULE, LABEL)


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text(
        "id,won,day,size,city,b2b,const,gone\n"
        + "".join(
            f"{n:03d},{'yes' if n % 3 else 'no'},2026-01-{30 - n:02d},{n / 4},{'Bonn' if n % 2 else ''},"
            f"{'true' if n % 5 else 'false'},1,\n"
            for n in range(25)
        )
    )
    return read_flat(path, MAPPING), MAPPING


MAPPING = FlatMapping(id="id", label="won", time="day", exclude=("size",), missing=("", "?"))


def test_flat_rows_are_what_the_engine_computes(export):
    dataset = from_flat_export(*export)
    leads = export[0].leads
    features = flat_features(leads, export[0].roles)
    flat = LeadHistory.from_leads(leads.with_columns(created_at=pl.lit(0)), FLAT_AS_OF)
    now = Snapshots(leads.select("lead_id", as_of=pl.lit(FLAT_AS_OF, pl.Int64)))
    computed = batch.compute_features(features, flat, now).collect().sort("lead_id")
    assert dataset.rows.sort("lead_id").equals(computed)


def test_an_export_keeps_its_rows_and_their_order_of_time_apart(export):
    dataset = from_flat_export(*export)
    assert dataset.rows["lead_id"].to_list() == [f"{n:03d}" for n in range(25)]
    assert (np.diff(dataset.order) == -DAY).all()
    assert dataset.label.tolist() == [int(n % 3 > 0) for n in range(25)]


def test_an_export_names_every_column_that_is_no_feature(export):
    dataset = from_flat_export(*export)
    assert set(dataset.features.names) == {"city", "b2b"}
    assert dataset.ignored == ("const", "day", "gone", "id", "size", "won")
    assert dataset.missing == ("", "?")


def test_an_export_without_an_outcome_column_is_refused(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("id,city\n1,Bonn\n2,Ulm\n")
    mapping = FlatMapping(id="id")
    with pytest.raises(NoLabelledRowsError, match="name it"):
        from_flat_export(read_flat(path, mapping), mapping)


def test_a_data_set_needs_both_outcomes(export):
    dataset = from_flat_export(*export)
    with pytest.raises(NoLabelledRowsError, match="a model needs both"):
        Dataset(dataset.features, dataset.rows, np.zeros(len(dataset), np.int8), "won")


def test_thinned_rows_stay_together_and_in_order(tmp_path):
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    whole = from_flat_export(read_flat(write(tmp_path, leads(600)), mapping), mapping)
    thin = whole.subsample(100)
    assert len(thin) == 100
    place = {lead: i for i, lead in enumerate(whole.rows["lead_id"])}
    places = [place[lead] for lead in thin.rows["lead_id"]]
    assert places == sorted(places)
    assert thin.label.tolist() == whole.label[places].tolist()
    assert thin.order.tolist() == whole.order[places].tolist()
    assert whole.subsample(600) is whole
