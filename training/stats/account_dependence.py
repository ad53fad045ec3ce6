"""How alike the outcomes of colleagues are beyond their scores: a correlation by pairwise likelihood.

Two leads of an account that were scored about the same time have four outcomes whose probabilities follow
from their scores and one latent correlation (an equicorrelated probit model, Ochi and Prentice 1984). The
likeliest correlation over all pairs is the estimate: a composite likelihood (Lindsay 1988; Kuk and Nott 2000,
who weigh pairs so that a large account does not count for all). Its interval is a bootstrap of accounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from models.account_chance import HIGHEST, AccountDependence, chance_of_both

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Of fewer accounts, or conversions in them, the data say nothing.
FEWEST_ACCOUNTS, _FEWEST_CONVERSIONS = 50, 10
# Leads of one account that are paired, and pairs in all: more are sampled.
_MOST_LEADS, _MOST_PAIRS = 20, 10_000
_CORRELATIONS = np.round(np.linspace(0, HIGHEST, 20), 3)
_RESAMPLES, _TINY = 400, 1e-12


class HeldOutRows(Protocol):
    """Held-out snapshots: (n,) arrays of the same length."""

    @property
    def account(self) -> NDArray[np.int64]:
        """The number of the account; leads without one have numbers of their own."""

    @property
    def lead(self) -> NDArray[np.int64]:
        """The number of the lead."""

    @property
    def as_of(self) -> NDArray[np.int64]:
        """The moment, in epoch seconds."""

    @property
    def probability(self) -> Floats:
        """The prediction."""

    @property
    def label(self) -> Floats:
        """The outcome, 0 or 1."""


def measure_account_dependence(rows: HeldOutRows, window: int, seed: int = 0) -> AccountDependence | None:
    """Measure the dependence of colleagues among held-out rows.

    Args:
        rows: Held-out snapshots with predictions and outcomes.
        window: Snapshots further apart, in seconds, are of different windows and make no pair.
        seed: Of samples and the bootstrap.

    Returns:
        The correlation with its 90 % interval; None where fewer than ``FEWEST_ACCOUNTS`` accounts have pairs
        of colleagues, or hardly any of them converted.
    """
    pairs = _pairs_of_colleagues(rows, window, seed)
    accounts = pairs["account"].n_unique()
    conversions = pairs.select("y", "y_other").to_numpy().sum()
    if accounts < FEWEST_ACCOUNTS or conversions < _FEWEST_CONVERSIONS:
        return None
    by_account = _log_likelihoods(pairs)
    total = by_account.sum(axis=0)
    random = np.random.default_rng(seed)
    counts = random.multinomial(accounts, np.full(accounts, 1 / accounts), _RESAMPLES)
    resampled = _CORRELATIONS[np.argmax(counts @ by_account, axis=1)]
    low, high = np.quantile(resampled, (0.05, 0.95))
    return AccountDependence(
        correlation=float(_CORRELATIONS[np.argmax(total)]),
        low=float(low),
        high=float(high),
        accounts=accounts,
        pairs=pairs.height,
    )


def _pairs_of_colleagues(rows: HeldOutRows, window: int, seed: int) -> pl.DataFrame:
    """A row per pair of leads of an account: of their snapshots the two that are closest in time.

    Times alone choose them, so that no outcome does. Of those that tie the earliest count.
    """
    frame = pl.DataFrame(
        {
            "account": rows.account,
            "lead": rows.lead,
            "as_of": rows.as_of,
            "p": np.asarray(rows.probability, dtype=np.float64),
            "y": np.asarray(rows.label, dtype=np.float64),
        }
    )
    # The order of hashes is that of a lot, the same for every snapshot of a lead.
    lot = pl.col("lead").hash(seed).rank("dense").over("account")
    several = frame.filter(lot <= _MOST_LEADS).filter(pl.col("lead").n_unique().over("account") > 1)
    pairs = several.join(several, on="account", suffix="_other").filter(
        pl.col("lead") < pl.col("lead_other"), (pl.col("as_of") - pl.col("as_of_other")).abs() < window
    )
    apart = (pl.col("as_of") - pl.col("as_of_other")).abs()
    closest = (
        pairs.with_columns(apart=apart)
        .sort("account", "lead", "lead_other", "apart", "as_of", "as_of_other")
        .unique(["account", "lead", "lead_other"], keep="first", maintain_order=True)
    )
    if closest.height > _MOST_PAIRS:
        closest = closest.sample(_MOST_PAIRS, seed=seed).sort("account")
    # An account of k leads has k (k - 1) / 2 pairs, and k leads to learn from.
    return closest.with_columns(weight=1 / (pl.len().over("account") * 2).sqrt())


def _log_likelihoods(pairs: pl.DataFrame) -> Floats:
    """(accounts, correlations) the weighted log-likelihood of the pairs of each account."""
    first, second = (
        pairs["p"].clip(1e-6, 1 - 1e-6).to_numpy(),
        pairs["p_other"].clip(1e-6, 1 - 1e-6).to_numpy(),
    )
    y, y_other = pairs["y"].to_numpy(), pairs["y_other"].to_numpy()
    account = pairs["account"].rank("dense").cast(pl.Int64).to_numpy() - 1
    sums = np.zeros((int(account.max()) + 1, len(_CORRELATIONS)))
    for place, correlation in enumerate(_CORRELATIONS):
        both = chance_of_both(first, second, float(correlation))
        chance = np.where(
            y > 0,
            np.where(y_other > 0, both, first - both),
            np.where(y_other > 0, second - both, 1 - first - second + both),
        )
        values = np.log(np.maximum(chance, _TINY)) * pairs["weight"].to_numpy()
        sums[:, place] = np.bincount(account, weights=values, minlength=len(sums))
    return sums
