"""The score of each open lead at a moment, of a service that scores leads of its own accord.

It logs a score where it changed, so what is logged is mostly of young and busy leads, whatever all leads are
like: compared with the rows of a training it would look like drift for ever. But each lead has the score
that was logged last, and when a model takes over all open leads are scored. So drift is how far the scores
in force on one day are from those in force when the model had taken over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.messages import Message
from models.drift import ReferenceDistribution
from models.model_card import SCORE
from training.monitoring.windows import AT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What a decision is logged as that nobody asked for.
OF_ITS_OWN = "rescore"
ENDPOINT = "endpoint"
_ENDED = "leadloop.ended"
# Of a beginning that a log still has, at least this share of the leads that are open later.
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class ScoresInForce:
    """All scores of a log, each of which is in force until the next one of its lead.

    Attributes:
        scores: ``lead_id``, ``at`` and what else ``read_log`` gives, and when the lead ended; null while it
            is open.
        since: From when on all open leads had a score of this model, in epoch seconds.
    """

    scores: pl.DataFrame
    since: int

    @classmethod
    def of(cls, scores: pl.DataFrame, ends: pl.DataFrame) -> ScoresInForce | None:
        """Find out whether a service scored leads of its own accord.

        Args:
            scores: n scores of one model with ``lead_id``, ``at`` and ``endpoint``.
            ends: ``lead_id`` and ``ended``, when its outcome came, in epoch seconds.

        Returns:
            The scores; None where all of them were asked for.
        """
        own = scores.filter(pl.col(ENDPOINT) == OF_ITS_OWN)
        if own.is_empty():
            return None
        joined = scores.join(ends.rename({"ended": _ENDED}), on="lead_id", how="left", maintain_order="left")
        # All open leads are scored within a day of the first one.
        return cls(joined.sort(AT, maintain_order=True), int(own[AT].min()) + DAY)  # type: ignore[arg-type]

    def at(self, moment: int) -> pl.DataFrame:
        """The score of each lead that was open at a moment, one row a lead.

        Args:
            moment: Epoch seconds.
        """
        is_open = pl.col(_ENDED).is_null() | (pl.col(_ENDED) > moment)
        known = self.scores.filter(pl.col(AT) <= moment, is_open).drop(_ENDED)
        return known.unique("lead_id", keep="last", maintain_order=True)

    def why_not_comparable(self, moment: int) -> Message | None:
        """Why the scores at a moment cannot be compared with those of the beginning; None if they can.

        Where a log forgets, it begins with what had changed on some day, and that is of few leads.
        """
        if moment <= self.since:
            return Message("unknown.new_in_charge")
        is_whole = self.at(self.since).height >= _LEAST_SHARE * self.at(moment).height
        return None if is_whole else Message("unknown.forgotten")

    def profiles(self, names: Iterable[str]) -> Mapping[str, ReferenceDistribution]:
        """What later scores and features are compared with: those in force at the beginning.

        Args:
            names: The columns that are compared: that of scores and features.
        """
        first = self.at(self.since)
        columns = {SCORE: first[SCORE]}
        if "features" in first.columns:
            known = first["features"].struct.unnest()
            columns |= {name: known[name] for name in names if name in known.columns and name != SCORE}
        return {name: ReferenceDistribution.of(column) for name, column in columns.items()}
