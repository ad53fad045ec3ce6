"""The model card: what a model was made from and what it is worth, kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from models.metrics import Interval


@dataclass(frozen=True)
class Card:
    """What anyone may ask of a model before trusting it.

    ``label`` is the outcome in words ("Converted", "sql within 60 days"); ``window`` the first and the last
    as_of in epoch seconds, absent where the data had no dates; ``time_ordered`` whether later rows judged a
    model of earlier ones; ``flat`` whether a lead is just its attributes, read from files with ``id_column``
    and ``missing`` words; ``metrics`` are of rows that the judged model had not learned from; ``candidates``
    maps every recipe that was tried to its log-loss; ``ignored`` are columns the source had and the model
    does not use, so that a request may carry them.
    """

    label: str
    created_at: str
    rows: int
    positives: int
    time_ordered: bool
    recipe: str
    flat: bool = False
    id_column: str | None = None
    missing: tuple[str, ...] = ()
    window: tuple[int, int] | None = None
    metrics: dict[str, Interval] = field(default_factory=dict)
    candidates: dict[str, float] = field(default_factory=dict)
    findings: tuple[dict[str, Any], ...] = ()
    availability: tuple[dict[str, Any], ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def base_rate(self) -> float:
        """The share of training rows that converted."""
        return self.positives / self.rows

    def to_json(self) -> str:
        """The card as JSON text; ``from_json`` gives back an equal card."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The card that ``to_json`` wrote."""
        record = json.loads(text)
        record["metrics"] = {name: Interval(**value) for name, value in record["metrics"].items()}
        record["window"] = tuple(record["window"]) if record["window"] else None
        for name in ("findings", "availability", "ignored", "notes", "missing"):
            record[name] = tuple(record[name])
        return cls(**record)
