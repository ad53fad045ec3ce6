"""Which offers leads took next after which, and how many of these converted: counts, and no promise.

They are associations. Whoever takes a further offer is keener than who does not, and different offers are
taken by different leads.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is counted for leads that have taken no offer yet.
NO_OFFER = ""
SimilarBy = Literal["offer", "offer_stage", "no_offer"]


@dataclass(frozen=True, slots=True)
class NextOffer:
    """An offer that leads took next.

    Attributes:
        offer: Its name.
        offer_stage: Its most frequent stage; None where none is known.
        leads: How many leads took it next, while they were open.
        settled: Those of them whose horizon after the take is over.
        converted: How many of the settled converted within it.
        rate: ``converted / settled``.
        low: Lower end of the rate's 95 % interval (Wilson 1927).
        high: Upper end of it.
    """

    offer: str
    offer_stage: str | None
    leads: int
    settled: int
    converted: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class OfferHistory:
    """What the leads of one kind took next.

    Attributes:
        leads: How many leads were of this kind while they were open.
        offers: What they took next, the most frequent first; offers of few leads are left out.
    """

    leads: int
    offers: tuple[NextOffer, ...]


@dataclass(frozen=True, slots=True)
class SimilarLeads:
    """What leads like one took next.

    Attributes:
        by: What they share: the last offer, its stage, or that they had taken none.
        name: The last offer or stage; "" where they had taken none.
        history: What they took next.
    """

    by: SimilarBy
    name: str
    history: OfferHistory


@dataclass(frozen=True)
class NextOffers:
    """Which offers leads took next, by the last offer that they took, and by the stage of that.

    Attributes:
        days: Within so many days after a take a conversion counts.
        offers: By the last offer; ``NO_OFFER`` is of leads that had taken none.
        stages: By the stage of the last offer.
    """

    days: float
    offers: Mapping[str, OfferHistory] = field(default_factory=dict)
    stages: Mapping[str, OfferHistory] = field(default_factory=dict)

    def after(self, offer: str | None, offer_stage: str | None) -> SimilarLeads | None:
        """What leads took next whose last offer was the same, or was of the same stage.

        Args:
            offer: The last offer that the lead took; None where it took none.
            offer_stage: Its stage, if known.

        Returns:
            The counts of leads with the same last offer, else with one of the same stage; None where these
            were too few to be counted.
        """
        if offer is None:
            history = self.offers.get(NO_OFFER)
            return None if history is None else SimilarLeads("no_offer", NO_OFFER, history)
        if (history := self.offers.get(offer)) is not None:
            return SimilarLeads("offer", offer, history)
        history = self.stages.get(offer_stage or "")
        return None if history is None else SimilarLeads("offer_stage", str(offer_stage), history)

    def to_json(self) -> str:
        """The counts as the text of a file."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> NextOffers:
        """The counts that ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: It did not write ``text``.
        """
        record = json.loads(text)
        return cls(record["days"], _histories(record["offers"]), _histories(record["stages"]))


def _histories(records: dict[str, Any]) -> dict[str, OfferHistory]:
    return {
        name: OfferHistory(each["leads"], tuple(NextOffer(**offer) for offer in each["offers"]))
        for name, each in records.items()
    }
