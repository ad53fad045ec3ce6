"""The parameters of a simulated company: hidden intents, attributes, and streams of touchpoints.

Everything a simulated lead shows is drawn independently once its intent is known. This is what makes the
exact probability of every snapshot computable (``training.simulation.ground_truth``), and the world a
yardstick: no model can know more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from features.clock import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

RATES_PER = 30 * DAY


@dataclass(frozen=True, slots=True)
class Intent:
    """A hidden class of leads: its share of all, and how many days it takes to an end, on average.

    Both ends compete and are memoryless: of ``n`` open leads, ``n / days_to_sql`` become an SQL per day.
    """

    name: str
    share: float
    days_to_sql: float
    days_to_disqualified: float


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a lead is: one of ``levels`` with the ``shares`` of its intent (one row an intent).

    Levels are words, or whole numbers: then they are the edges of bands ``[edge, next edge)``, in which every
    number is equally likely. ``missing`` is the share of blanks, the same for all. With ``days_to_answer``
    the CRM learns the value that many days after creation on average, and keeps it as a history.
    """

    name: str
    levels: tuple[str, ...] | tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    missing: float = 0.0
    days_to_answer: float | None = None

    @property
    def is_number(self) -> bool:
        """Whether the levels are edges of number bands."""
        return isinstance(self.levels[0], int)

    @property
    def chances(self) -> Floats:
        """Chance of each level, one row an intent; the rows add up to 1."""
        weights = np.array(self.shares, np.float64)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Stream:
    """Touchpoints of one kind (and offer): a Poisson process that wanes with the age of the lead.

    ``rates`` are touchpoints per 30 days of a fresh lead, one an intent. A share ``late`` reaches the CRM
    ``World.lag`` later. All else is the same for every intent: channels are drawn evenly, ``seconds`` and
    ``amount`` are means, ``points`` is what the old MQL rule gives.
    """

    kind: str
    rates: tuple[float, ...]
    offer: str | None = None
    offer_stage: str | None = None
    channels: tuple[str, ...] = ("direct", "organic_search")
    campaign: str | None = None
    late: float = 0.0
    seconds: float | None = None
    amount: float | None = None
    points: int = 0


@dataclass(frozen=True)
class World:
    """All parameters of a simulated company.

    Attributes:
        intents: The k hidden classes of leads.
        attributes: What a lead is; each attribute has k rows of shares.
        streams: The touchpoints; each stream has k rates.
        start: Midnight of the first day on which leads are created, in epoch seconds.
        end: Midnight after the last day, in epoch seconds, exclusive; the history ends there too.
        waning: The seconds in which the touchpoint rates of a lead fall to 1/e. Default: 45 days.
        lag: How many seconds after they occurred late touchpoints reach the CRM. Default: 2 days.
        mql_points: The points from which on, inclusive, an open lead is an MQL. Default: 30.
        accepted: The chance of an MQL to be accepted by sales (SAL). Default: 0.6.
        days_to_sal: The mean days from MQL to SAL, exponentially distributed; a lead that closes before does
            not become one. Default: 3.
        opportunities: The share of SQLs that become opportunities. Default: 0.6.
        without_account: The share of leads without an account. Default: 0.2.
        leaking: The share of SQLs for which the leaking column, where it is simulated, has the result of the
            call. Default: 0.9.
        first: The attribute whose value is the offer that made the lead known: that of the touchpoint in the
            second of its creation.
        channel: The attribute that ``fairs`` changes.
        fair_channel: The level that it changes to.
        fairs: (12,) by month from January, the share of leads whose known ``channel`` is ``fair_channel``
            instead, whatever their intent: seasons in the channel mix that leave the odds alone.
        season: (12,) by month from January, the relative number of leads that are created on a day.

    Raises:
        ValueError: Shares or rates are not one per intent, or ``first`` has offers that no stream has.
    """

    intents: tuple[Intent, ...]
    attributes: tuple[Attribute, ...]
    streams: tuple[Stream, ...]
    start: int
    end: int
    waning: int = 45 * DAY
    lag: int = 2 * DAY
    mql_points: int = 30
    accepted: float = 0.6
    days_to_sal: float = 3.0
    opportunities: float = 0.6
    without_account: float = 0.2
    leaking: float = 0.9
    first: str = "first_conversion"
    channel: str = "first_channel"
    fair_channel: str = "trade_fair"
    fairs: tuple[float, ...] = (0.02, 0.05, 0.25, 0.1, 0.02, 0.02, 0.0, 0.02, 0.3, 0.15, 0.08, 0.0)
    season: tuple[float, ...] = (0.9, 1.0, 1.2, 1.1, 1.0, 1.0, 0.7, 0.7, 1.3, 1.2, 1.1, 0.6)

    def __post_init__(self) -> None:
        for part in (*(row.shares for row in self.attributes), *(row.rates for row in self.streams)):
            if len(part) != len(self.intents):
                msg = f"{part} needs one entry for each of the {len(self.intents)} intents"
                raise ValueError(msg)
        if unknown := set(self.attribute(self.first).levels) - {stream.offer for stream in self.streams}:
            msg = f"{self.first} names offers that no stream has: {sorted(map(str, unknown))}"
            raise ValueError(msg)

    def attribute(self, name: str) -> Attribute:
        """The attribute called ``name``."""
        return next(row for row in self.attributes if row.name == name)

    @cached_property
    def shares(self) -> Floats:
        """Share of each intent; they add up to 1."""
        weights = np.array([intent.share for intent in self.intents])
        return np.asarray(weights / weights.sum())

    @cached_property
    def sql_rates(self) -> Floats:
        """Entries into SQL per second of an open lead, one an intent."""
        return 1 / (DAY * np.array([intent.days_to_sql for intent in self.intents]))

    @cached_property
    def closing_rates(self) -> Floats:
        """Ends per second of an open lead, SQL or disqualified, one an intent."""
        lost = 1 / (DAY * np.array([intent.days_to_disqualified for intent in self.intents]))
        return self.sql_rates + lost

    @cached_property
    def touch_rates(self) -> Floats:
        """Touchpoints per second of a fresh lead: intents x streams."""
        return np.array([stream.rates for stream in self.streams]).T / RATES_PER

    @cached_property
    def late(self) -> Floats:
        """Share of each stream's touchpoints that the CRM learns of ``lag`` seconds late."""
        return np.array([stream.late for stream in self.streams])

    def exposure(self, age: Floats | Ints) -> Floats:
        """Seconds at the rate of a fresh lead that bring as much as the first ``age`` seconds did."""
        return -self.waning * np.expm1(-np.maximum(age, 0) / self.waning)

    def age_at(self, exposure: Floats) -> Floats:
        """The age at which a lead has seen ``exposure``: the inverse of ``exposure``."""
        return -self.waning * np.log1p(-exposure / self.waning)
