"""The drafted horizon holds nine in ten conversions, and drafted snapshots have the ages of open leads."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.clock import DAY
from features.cohort import draw_snapshots, open_lead_snapshots
from features.ingest.read_history import read_history
from training.config.draft import draft_config
from training.config.horizon_draft import age_comment, choose_timing, horizon_comments
from training.config.settings import load_config
from training.simulation.export import write_csv
from training.simulation.simulator import simulate

START = 19_000 * DAY


def company(mean_days, span_days=720, leads=2000, rate=0.3, lost=0.5, seed=1):
    """Leads created evenly; some convert after an exponential time, some are lost, the others stay open."""
    random = np.random.default_rng(seed)
    created = START + (random.uniform(0, span_days, leads) * DAY).astype(int)
    fate = random.choice(["sql", "lost", None], leads, p=[rate, lost, 1 - rate - lost])
    took = (random.exponential(np.where(fate == "sql", mean_days, 40), leads) * DAY).astype(int)
    ids = [str(number) for number in range(leads)]
    table = pl.DataFrame({"lead_id": ids, "created_at": created})
    is_known = (fate != None) & (created + took < START + span_days * DAY)  # noqa: E711 - an array
    moves = pl.DataFrame(
        {
            "lead_id": [each for each, known in zip(ids, is_known, strict=True) if known],
            "stage": [str(each) for each in fate[is_known]],
            "occurred_at": (created + took)[is_known],
        }
    )
    return table, moves


def timing(*, span_days=720, **changed):
    end = START + span_days * DAY
    return choose_timing(*company(span_days=span_days, **changed), end, "sql", ["lost"])


@pytest.mark.parametrize(("mean_days", "horizon"), [(2, 7), (5, 14), (20, 60), (35, 90)])
def test_the_horizon_holds_nine_in_ten_conversions(mean_days, horizon):
    chosen = timing(mean_days=mean_days)
    assert chosen.horizon == horizon
    assert chosen.needed == pytest.approx(mean_days * np.log(10), rel=0.2)
    assert dict(chosen.shares)[horizon] >= 0.9


def test_conversions_that_are_yet_to_come_are_counted_in():
    table, moves = company(mean_days=35, span_days=240)
    naive = moves.filter(stage="sql").join(table, on="lead_id")
    ninth = np.quantile((naive["occurred_at"] - naive["created_at"]).to_numpy(), 0.9) / DAY
    assert choose_timing(table, moves, START + 240 * DAY, "sql", ["lost"]).needed > 1.05 * ninth


def test_a_horizon_that_few_leads_have_had_is_not_drafted_and_that_is_said():
    chosen = timing(mean_days=80, span_days=150)
    assert chosen.horizon < chosen.needed
    assert dict(chosen.matured)[chosen.horizon] >= 0.5
    assert "too few leads are old enough" in horizon_comments(chosen)[0]


def test_the_alternatives_are_named_with_their_figures():
    reason, others = horizon_comments(timing(mean_days=20))
    assert reason.startswith("nine in ten conversions come within 4")
    assert others.startswith("7d: ")
    assert "90d: 99% of the conversions, 88% of the leads are so old" in others


def test_few_conversions_show_no_time():
    chosen = timing(mean_days=5, leads=40)
    assert (chosen.horizon, chosen.until_age, chosen.needed) == (90, 90, None)
    assert age_comment(chosen) == "until a lead is so old"


def test_snapshots_go_on_to_the_ages_of_open_leads_as_far_as_outcomes_are_known():
    long, short = timing(mean_days=5), timing(mean_days=5, span_days=100, lost=0.1)
    assert long.open_age > 90
    assert long.until_age >= long.open_age
    assert long.until_age / long.every <= 13
    assert short.until_age + short.horizon <= 100


def test_drafted_snapshots_have_the_ages_at_which_open_leads_are_scored(tmp_path):
    write_csv(simulate(500, seed=3), tmp_path)
    tables = [tmp_path / f"{name}.csv" for name in ("leads", "touchpoints", "transitions")]
    (tmp_path / "drafted.toml").write_text(draft_config(tables, tmp_path), encoding="utf-8")
    drafted = load_config(tmp_path / "drafted.toml")
    history = read_history(drafted.history_mapping, START + 10_000 * DAY).history
    rule = drafted.cohort_rule
    learned, scored = (
        each.frame.join(history.leads.select("lead_id", "created_at"), on="lead_id")
        for each in (draw_snapshots(history, rule), open_lead_snapshots(history, rule))
    )
    oldest = (learned["as_of"] - learned["created_at"]).max()
    ages = scored["as_of"] - scored["created_at"]
    assert (ages <= 1.1 * oldest).mean() >= 0.8
