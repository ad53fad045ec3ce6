"""The additive part: penalties are those of the evidence, with few evaluations of the Hessian."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from training.data.training_rows import TrainingRows
from training.learner import additive
from training.learner.additive import RATE, SHAPE, fit_additive, fit_ridge_by_evidence
from training.learner.encoders import fit_encoders


def problem(rows=3000, widths=(3, 1, 4), seed=0, level=-1.0):
    """A design of groups, the first of which matter, and the constant."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(widths)), widths)
    design = np.column_stack([random.normal(size=(rows, len(group))), np.ones(rows)])
    beta = np.append(np.where(group < len(widths) - 1, 0.7, 0.0), level)
    y = (random.random(rows) < 1 / (1 + np.exp(-design @ beta))).astype(np.float64)
    return design, y, random.uniform(0.5, 1.5, rows), group


def by_the_book(design, y, w, group, rounds=60):
    """MacKay's fixed point with SciPy as the one that minimises, until nothing changes."""
    penalty, beta = np.ones(group.max() + 1), np.zeros(design.shape[1])
    for _ in range(rounds):
        ridge = np.append(penalty[group], 1e-6)

        def cost(at, ridge=ridge):
            f = design @ at
            slope = design.T @ (w * (1 / (1 + np.exp(-f)) - y)) + ridge * at
            return w @ (np.logaddexp(0, f) - y * f) + ridge @ at**2 / 2, slope

        beta = minimize(cost, beta, jac=True, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 1e-14}).x
        p = 1 / (1 + np.exp(-design @ beta))
        covariance = np.linalg.inv((design.T * (w * p * (1 - p))) @ design + np.diag(ridge))
        for number in range(len(penalty)):
            own = np.flatnonzero(group == number)
            free = len(own) - penalty[number] * np.trace(covariance[np.ix_(own, own)])
            penalty[number] = np.clip((free + 2 * SHAPE) / ((beta[own] ** 2).sum() + 2 * RATE), 1e-2, 1e5)
    return beta


@pytest.mark.parametrize("level", [-1.0, -4.0])
def test_the_penalties_are_those_that_the_evidence_asks_for(level):
    design, y, w, group = problem(level=level)
    assert fit_ridge_by_evidence(design, y, w, group) == pytest.approx(
        by_the_book(design, y, w, group), abs=0.005
    )


def test_a_shared_look_at_the_curvature_leads_where_a_new_one_each_step_does(monkeypatch):
    """Rare outcomes move the curvature most: there it would be felt first."""
    design, y, w, group = problem(rows=2000, widths=(5,) * 12, level=-5.0)
    shared = design @ fit_ridge_by_evidence(design.astype(np.float32), y, w, group)
    monkeypatch.setattr(additive, "STALE", 0.0)
    each = design @ fit_ridge_by_evidence(design, y, w, group)
    assert np.average(np.abs(shared - each), weights=w) < 0.01 * each.std()


def test_effects_average_to_zero_over_the_rows():
    random = np.random.default_rng(0)
    size = np.where(random.random(500) < 0.2, np.nan, random.normal(size=500))
    frame = pl.DataFrame({"size": size, "role": random.choice(["ceo", "dev", "ops"], 500).tolist()})
    rows = TrainingRows(frame, random.integers(0, 2, 500), weights=random.uniform(0.5, 2, 500))
    encodings, matrix = fit_encoders(rows, 0)
    part = fit_additive(rows, encodings, matrix, 0)
    assert np.average(part.contributions(matrix), axis=0, weights=rows.w) == pytest.approx(0, abs=1e-9)


def test_rows_without_weight_change_nothing():
    """Rows that censoring left no weight: their design, however wild, must not reach the others."""
    design, y, w, group = problem(600)
    wild, none = np.vstack([design, 9 * design]), np.append(w, np.zeros(len(w)))
    fitted = fit_ridge_by_evidence(wild, np.append(y, 1 - y), none, group)
    assert fitted == pytest.approx(fit_ridge_by_evidence(design, y, w, group), abs=1e-6)
