"""What current scores say of accounts: the chance of at least one conversion, who is active, whom to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.clock import DAY
from models.account_chance import chance_of_any, chance_of_independent, chances_of_any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.account_chance import AccountDependence
    from serving.current_scores.records import CurrentScore

# Days within which a lead must have been active.
ACTIVE_DAYS = 30


@dataclass(frozen=True, slots=True)
class AccountChance:
    """The chance that at least one open lead of an account converts.

    Attributes:
        value: With the dependence of colleagues as it was measured in training; None where it was not, and
            there are several leads.
        low: The lower end: by the most dependence that was measured, else the likeliest lead's own chance.
        high: The upper end: by the least that was measured, else as if leads were independent.
        correlation: The latent correlation of colleagues that was measured; None where none was.
    """

    value: float | None
    low: float
    high: float
    correlation: float | None

    @classmethod
    def of(cls, probabilities: Sequence[float], dependence: AccountDependence | None) -> AccountChance:
        """The chance of leads with these probabilities."""
        if len(probabilities) < 2:  # noqa: PLR2004  # a lead alone
            alone = float(sum(probabilities))
            return cls(alone, alone, alone, None)
        if dependence is None:
            return cls(None, max(probabilities), chance_of_independent(probabilities), None)
        value, low, high = (
            chance_of_any(probabilities, correlation)
            for correlation in (dependence.correlation, dependence.high, dependence.low)
        )
        return cls(value, low, high, dependence.correlation)


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account by the current scores of its leads.

    Attributes:
        account_id: The account.
        leads: The current scores of its leads, the likeliest first.
        chance: That at least one of the open ones converts.
        now: When that is, in epoch seconds.
    """

    account_id: str
    leads: tuple[CurrentScore, ...]
    chance: AccountChance
    now: int

    @classmethod
    def of(
        cls,
        account_id: str,
        leads: Iterable[CurrentScore],
        dependence: AccountDependence | None,
        now: int,
    ) -> AccountSummary:
        """The account of these leads."""
        ordered = tuple(sorted(leads, key=lambda lead: (-_worth(lead), lead.lead_id)))
        chances = [lead.probability for lead in ordered if is_counted(lead) and lead.probability is not None]
        return cls(account_id, ordered, AccountChance.of(chances, dependence), now)

    @property
    def best(self) -> CurrentScore | None:
        """The open lead with the highest probability: whom to call; None where none has one."""
        return next((lead for lead in self.leads if is_counted(lead)), None)

    def is_active(self, lead: CurrentScore) -> bool:
        """Whether a lead did or received something in the last ``ACTIVE_DAYS`` days."""
        last = lead.last_activity_at
        return last is not None and last >= self.now - ACTIVE_DAYS * DAY

    def count(self, *states: str) -> int:
        """How many leads are in one of these states."""
        return sum(lead.state in states for lead in self.leads)

    @property
    def active(self) -> int:
        """How many open leads are active."""
        return sum(lead.state == "open" and self.is_active(lead) for lead in self.leads)


def is_counted(lead: CurrentScore) -> bool:
    """Whether a lead counts for the chance of its account: it is open and has a number."""
    return lead.state == "open" and lead.probability is not None


def _worth(lead: CurrentScore) -> float:
    return -1.0 if lead.probability is None else lead.probability


class RankedAccount(NamedTuple):
    """An account in the order of accounts: by its chance, and of equal ones by its id."""

    chance: float
    account_id: str


def rank_accounts(
    rows: Sequence[tuple[str, float]], dependence: AccountDependence | None
) -> list[RankedAccount]:
    """Rank accounts by the chance that at least one lead converts, the best first.

    Args:
        rows: The account and the probability of each open lead, in the order of accounts.
        dependence: As it was measured; without it the likeliest lead of each account decides.

    Returns:
        The accounts.
    """
    if not rows:
        return []
    names = np.array([account for account, _ in rows], dtype=object)
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    correlation = 1.0 if dependence is None else dependence.correlation
    chances = chances_of_any(np.array([chance for _, chance in rows]), starts, correlation)
    ranked = (
        RankedAccount(chance, name) for chance, name in zip(chances.tolist(), names[starts], strict=True)
    )
    return sorted(ranked, key=lambda each: (-each.chance, each.account_id))
