"""Checks on histories: how a lead ends decides which rows it has, and that accuses no honest column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.leak_histories import KINDS, LEAKS, draw_company

from features.history import LeadHistory
from training.leakage.checks import run_checks, sorted_findings
from training.leakage.lead_sample import LeadSample

LEADS = 2_000


def accused(company):
    return {f.column for f in sorted_findings(run_checks(company.dataset())) if f.severity != "info"}


@pytest.mark.parametrize(
    ("kind", "rate", "seed"),
    list(zip(KINDS, (0.015, 0.06, 0.25, 0.06, 0.015), (1, 0, 1, 1, 0), strict=True)),
)
def test_honest_columns_of_a_history_are_not_accused(kind, rate, seed):
    assert accused(draw_company(seed, LEADS, kind, rate)) == set()


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_in_a_history_is_named_and_nothing_beside_it(leak):
    company, columns = LEAKS[leak](draw_company(3, LEADS, "leads differ", 0.25))
    assert accused(company) == columns


def test_the_row_of_a_lead_is_not_chosen_by_its_outcome():
    dataset = draw_company(1, 400, "nothing predicts", 0.25).dataset()
    other = replace(dataset, label=np.random.default_rng(0).permutation(dataset.label))
    sample = LeadSample.draw(dataset)
    assert sample.positions.tolist() == LeadSample.draw(other).positions.tolist()
    rows = dataset.rows.group_by("lead_id").len().sort("lead_id")["len"].to_numpy()
    first = np.searchsorted(np.sort(dataset.lead), np.arange(len(rows)))
    place = sample.positions[np.argsort(dataset.lead[sample.positions])]
    order = np.argsort(np.argsort(dataset.lead, kind="stable"), kind="stable")
    within = (order[place] - first)[rows >= 3] / (rows[rows >= 3] - 1)
    assert within.mean() == pytest.approx(0.5, abs=0.07)


def test_leads_without_an_account_are_no_finding():
    company = draw_company(1, LEADS, "leads differ", 0.25)
    history = company.history
    lonely = replace(history, leads=history.leads.with_columns(account_id=None).cast({"account_id": str}))
    assert isinstance(lonely, LeadHistory)
    assert accused(replace(company, history=lonely)) == set()
