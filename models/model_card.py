"""The model card: what a model was made from and what it is worth, kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from models.drift import ReferenceDistribution
from models.metrics import Interval

SCORE = "log_odds"
INTENDED_USE = (
    "To put open leads in the order in which sales should call them, and to say why. Not for decisions about "
    "a person that have legal or similar effects, nor for leads unlike those it learned from."
)
LIMITS = (
    "It repeats what was true of past leads; when offers, channels or sales practice change, train it again.",
    (
        "Only leads that sales worked on can show an outcome; of leads like those that nobody contacted it "
        "says less than it seems."
    ),
    "Reasons are associations. They do not say what happens if somebody changes something.",
)


@dataclass(frozen=True)
class ModelCard:
    """What anyone may ask of a model before trusting it.

    ``label`` is the outcome in words ("Converted", "sql within 60 days"); ``window`` the first and the last
    as_of in epoch seconds, absent where the data had no dates; ``time_ordered`` whether later rows judged a
    model of earlier ones; ``flat`` whether a lead is just its attributes, read from files with ``id_column``
    and ``missing`` words; ``metrics`` are of rows that the judged model had not learned from; ``candidates``
    maps every recipe that was tried to its log-loss; ``trees`` says whether its trees are small or large, as
    ``training.learner.boosting`` grows them; ``ignored`` are columns the source had and the model
    does not use, so that a request may carry them.

    ``judged_rows``, ``judged_positives`` of them converted, are the rows behind the metrics, and ``profiles``
    how their features and their score (``log_odds``) were spread; one in twenty of them had more than the
    share ``usual_missing`` of its features missing. ``left_out`` counts rows by why they taught nothing.
    """

    label: str
    created_at: str
    rows: int
    positives: int
    time_ordered: bool
    recipe: str
    trees: str = "small"
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
    features: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    judged_rows: int = 0
    judged_positives: int = 0
    profiles: dict[str, ReferenceDistribution] = field(default_factory=dict)
    usual_missing: float | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    intended_use: str = ""
    limits: tuple[str, ...] = ()

    @property
    def base_rate(self) -> float:
        """The share of training rows that converted."""
        return self.positives / self.rows

    def to_json(self) -> str:
        """The card as JSON text; ``from_json`` gives back an equal card."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """The card that ``to_json`` wrote, in this release or an earlier one, whose cards say less."""
        record = json.loads(text)
        record["metrics"] = {name: Interval(**value) for name, value in record["metrics"].items()}
        profiles = record.get("profiles", {})
        record["profiles"] = {
            name: ReferenceDistribution.from_record(value) for name, value in profiles.items()
        }
        lists = {name: tuple(value) for name, value in record.items() if isinstance(value, list)}
        return cls(**record | lists)
