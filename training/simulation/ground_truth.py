"""The Bayes-optimal probability of every snapshot of a simulated lead.

Given what is visible at ``as_of`` of a lead that is still open, by Bayes' rule over the hidden intents c

    posterior(c) ~ share_c * P(attributes | c) * prod_k rate_ck ^ n_k * exp(-sum_k rate_ck * exposure_k)
                   * exp(-(sql_c + lost_c) * t)
    probability  = sum_c posterior(c) * sql_c / (sql_c + lost_c) * (1 - exp(-(sql_c + lost_c) * horizon))

where ``n_k`` counts the visible touchpoints of stream k and ``exposure_k`` is the time in which one could
have become visible: a share of them is known ``lag`` later, so that share had ``lag`` less. Snapshots may be
drawn at fixed ages or by anything that is visible itself, such as the entry into MQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl

from features.batch import join_visible_events

if TYPE_CHECKING:
    from features.cohort import Snapshots
    from training.simulation.simulator import SimulatedCrm
    from training.simulation.world import Attribute, Floats, Ints, World

_ROWS = 200_000


def bayes_probability(simulated: SimulatedCrm, snapshots: Snapshots, horizon: int) -> Floats:
    """The exact probability of an SQL, given what is visible at ``as_of``.

    The hidden intents of ``simulated`` are not used.

    Args:
        simulated: The CRM.
        snapshots: Snapshots of open leads.
        horizon: The window of the label in seconds, from ``as_of`` on.

    Returns:
        (n,) probabilities, in the order of ``snapshots``.
    """
    world = simulated.world
    ends = world.closing_rates
    converts = world.sql_rates / ends * -np.expm1(-ends * horizon)
    parts = [
        _posterior(simulated, snapshots.frame.slice(start, _ROWS)) @ converts
        for start in range(0, len(snapshots), _ROWS)
    ]
    return np.concatenate([np.empty(0), *parts])


def information_captured(label: Ints, model: Floats, bayes: Floats, base_rate: float) -> float:
    """The share of the attainable gain in log-loss that a model has: 0 for the base rate, 1 for the truth.

    >>> label, bayes = np.array([0, 0, 1, 0, 1]), np.array([0.2, 0.2, 0.6, 0.6, 0.6])
    >>> information_captured(label, bayes, bayes, 0.4)
    1.0
    """
    worst, best = _log_loss(label, np.full(len(label), base_rate)), _log_loss(label, bayes)
    return float((worst - _log_loss(label, model)) / (worst - best))


def _log_loss(label: Ints, probability: Floats) -> float:
    return -float(np.mean(np.log(np.where(label == 1, probability, 1 - probability))))


def _posterior(simulated: SimulatedCrm, frame: pl.DataFrame) -> Floats:
    """Probability of each intent: snapshots x intents."""
    world = simulated.world
    rows = frame.with_row_index("row").join(
        simulated.history.leads, on="lead_id", how="left", maintain_order="left"
    )
    seconds = (rows["as_of"] - rows["created_at"] - 1).to_numpy()
    evidence = np.log(world.shares) - np.outer(seconds, world.closing_rates)
    evidence += _touch_evidence(simulated, rows, seconds)
    for attribute in world.attributes:
        values = (
            rows[attribute.name] if attribute.days_to_answer is None else _answers(simulated, rows, attribute)
        )
        evidence += _attribute_evidence(attribute, values)
    weights = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _attribute_evidence(attribute: Attribute, values: pl.Series) -> Floats:
    """Log-chance of each value: snapshots x intents. Blanks and other values tell nothing."""
    chances = np.log(attribute.chances).T
    nothing = np.zeros((1, chances.shape[1]))
    return np.vstack([chances, nothing])[_levels(attribute, values)]


def _levels(attribute: Attribute, values: pl.Series) -> Ints:
    """The position of each value among the levels, -1 for blanks and values drawn alike for all."""
    if attribute.is_number:
        numbers = values.fill_null(-np.inf).to_numpy()
        return np.searchsorted(np.array(attribute.levels), numbers, side="right") - 1
    codes = {str(level): i for i, level in enumerate(attribute.levels)}
    return values.replace_strict(codes, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()


def _answers(simulated: SimulatedCrm, rows: pl.DataFrame, attribute: Attribute) -> pl.Series:
    """The value of an attribute with a history, as each snapshot sees it."""
    column = "number" if attribute.is_number else "value"
    history = simulated.history.attributes.filter(
        pl.col("name") == attribute.name, pl.col("lead_id").is_in(rows["lead_id"].unique().implode())
    )
    visible = _visible(rows, history.with_columns(occurred_at=pl.col("known_at")).lazy())
    latest = visible.sort("age").group_by("row").agg(pl.col(column).first()).collect()
    return rows.select("row").join(latest, on="row", how="left", maintain_order="left")[column]


def _touch_evidence(simulated: SimulatedCrm, rows: pl.DataFrame, seconds: Ints) -> Floats:
    """Log-likelihood of the visible touchpoints: snapshots x intents."""
    world = simulated.world
    counts = _counts(simulated, rows)
    soon, late = world.exposure(seconds), world.exposure(seconds - world.lag)
    exposure = np.outer(soon, 1 - world.late) + np.outer(late, world.late)
    return counts @ np.log(world.touch_rates).T - exposure @ world.touch_rates.T


def _counts(simulated: SimulatedCrm, rows: pl.DataFrame) -> Floats:
    """Visible touchpoints by stream, without the first conversion, which is an attribute."""
    touchpoints = simulated.history.touchpoints.lazy().join(
        rows.select("lead_id").unique().lazy(), on="lead_id", how="semi"
    )
    visible = (
        _visible(rows, touchpoints)
        .filter(pl.col("age") < pl.col("as_of") - pl.col("created_at"))
        .join(_streams(simulated.world), on=["kind", "offer"], nulls_equal=True)
        .group_by("row", "stream")
        .len()
        .collect(engine="streaming")
    )
    counts = np.zeros((rows.height, len(simulated.world.streams)))
    counts[visible["row"].to_numpy(), visible["stream"].to_numpy()] = visible["len"].to_numpy()
    return counts


def _visible(rows: pl.DataFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    keys = rows.lazy().select("row", "lead_id", "as_of", "created_at")
    visible: pl.LazyFrame = join_visible_events(nw.from_native(events), nw.from_native(keys)).to_native()
    return visible


def _streams(world: World) -> pl.LazyFrame:
    rows = [(row.kind, row.offer, i) for i, row in enumerate(world.streams)]
    schema = {"kind": pl.String, "offer": pl.String, "stream": pl.Int64}
    return pl.LazyFrame(rows, schema=schema, orient="row")
