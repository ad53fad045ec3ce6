"""The section [report] of ``leadloop.toml``: what a report needs that no table of a CRM says."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the types of the fields are read at run time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003

from features.messages import Lang  # noqa: TC001


@dataclass(frozen=True)
class Report:
    """How the report is written, and what it holds the model against.

    Entering the stage ``hand_over`` gives a lead to sales today (mql, where there is such a stage), and
    ``points`` is the file of today's points table. ``costs`` are what was spent on all leads of a channel or
    a campaign, by its name, in whatever money the company counts; ``hours_per_call`` what it costs sales to
    look at one lead that it was handed.
    """

    lang: Lang = "en"
    hand_over: str | None = None
    points: Path | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    hours_per_call: float | None = None

    def __post_init__(self) -> None:
        if wrong := [name for name, cost in self.costs.items() if cost < 0]:
            msg = f"costs of {wrong[0]!r} are what was spent; they cannot be below 0"
            raise ValueError(msg)
        if self.hours_per_call is not None and self.hours_per_call <= 0:
            msg = "hours_per_call must be above 0; leave it out where nobody knows"
            raise ValueError(msg)
