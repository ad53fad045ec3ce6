"""``leadloop.toml`` as frozen, typed values: the one place that describes a run, and where defaults live.

The section [report] of ``leadloop.toml``: what a report needs that no table of a CRM says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - the types of the fields are read at run time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003
from typing import Any, Literal

from features.clock import DAY, HOUR
from features.cohort import CREATED, CohortRule
from features.ingest.column_roles import Role  # noqa: TC001
from features.ingest.mapping import AttributeSelection, FlatMapping, HistoryMapping, TableMapping
from features.ingest.quarantine import MAX_SHARE
from features.ingest.schema import CONTRACT, check_mapping
from features.ingest.timestamps import TimeFormat
from features.labels import LabelSpec
from features.messages import Lang  # noqa: TC001
from features.parsing import MISSING
from features.suggestions import suggest
from training.config.toml_reader import ConfigError, Duration, Instant, read_file, register_converter
from training.plugins import PluginModule  # noqa: TC001


@dataclass(frozen=True)
class ReportConfig:
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


_CAPACITY = re.compile(r"\s*(\d+)\s*(?:per|/|a|an)\s*(hour|day|week|month)\s*")

_PERIODS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many leads sales can call in a period of ``seconds``."""

    leads: int
    seconds: int

    def share(self, leads: int, seconds: int) -> float:
        """The share of the leads that sales can call, when ``leads`` arrive within ``seconds``.

        >>> parse_capacity("50 per week").share(leads=1000, seconds=70 * DAY)
        0.5
        """
        return min(1.0, self.leads * seconds / (self.seconds * max(leads, 1)))


@register_converter(Capacity)
def parse_capacity(text: str) -> Capacity:
    """A capacity as people write it.

    >>> parse_capacity("50 per week")
    Capacity(leads=50, seconds=604800)
    """
    match = _CAPACITY.fullmatch(text)
    if match is None or not int(match[1]):
        msg = f"{text!r} is not a capacity; write it like 50 per week (hour, day, week, month)"
        raise ValueError(msg)
    return Capacity(int(match[1]), _PERIODS[match[2]])


@dataclass(frozen=True)
class FlatConfig:
    """A flat export: one row a lead. The counterpart of all the tables of a history."""

    leads: Path
    label: str
    id: str | None = None
    time: str | None = None
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    missing: tuple[str, ...] = MISSING
    positive: str | None = None
    negative: tuple[str, ...] = ()
    time_format: str | None = None
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.time_format is not None:
            TimeFormat(self.time_format, self.time_zone)


@dataclass(frozen=True)
class AttributesConfig(AttributeSelection):
    """Which free columns are attributes, and the tables of those that the CRM overwrites."""

    history: tuple[TableMapping, ...] = ()


@dataclass(frozen=True)
class FunnelConfig:
    """The company's stages in their order, the one that leadloop predicts, and the ends of the road."""

    stages: tuple[str, ...]
    target: str
    closed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for stage in (self.target, *self.closed):
            if stage not in self.stages:
                msg = f"{stage!r} is none of the stages{suggest(stage, self.stages)}"
                raise ValueError(msg)
        if self.target in self.closed:
            msg = f"the target {self.target!r} cannot also be a closed end"
            raise ValueError(msg)


_AT_ONCE = Duration(0)


@dataclass(frozen=True)
class LabelConfig:
    """What counts as success: the target is entered within ``horizon``, counted from ``lead_time`` on."""

    horizon: Duration
    lead_time: Duration = _AT_ONCE
    settle: Duration = _AT_ONCE
    stage: str | None = None


@dataclass(frozen=True)
class CohortConfig:
    """When open leads are looked at: on entering a stage of ``on``, and every ``every``."""

    on: tuple[str, ...] = (CREATED,)
    every: Duration | None = None
    until_age: Duration | None = None
    start: Instant | None = field(default=None, metadata={"key": "from"})
    end: Instant | None = field(default=None, metadata={"key": "to"})


@dataclass(frozen=True)
class TrainingConfig:
    """How the model is trained, and how many leads sales can take.

    More of what ``monotone`` names (a feature, a kind of touchpoint, a family) never lowers a score, or, with
    a ``-`` before it, never raises one. ``learner`` is a plug-in that makes the model instead of the default.
    """

    seed: int = 42
    weights: Literal["matured", "ipcw"] = "matured"
    capacity: Capacity | None = None
    capacity_share: float | None = None
    exclude: tuple[str, ...] = ()
    monotone: tuple[str, ...] = ()
    learner: str | None = None

    def __post_init__(self) -> None:
        if self.capacity is not None and self.capacity_share is not None:
            msg = "capacity and capacity_share say the same; choose one"
            raise ValueError(msg)
        if self.capacity_share is not None and not 0 < self.capacity_share <= 1:
            msg = "capacity_share is a share: above 0 and at most 1"
            raise ValueError(msg)
        if self.learner is not None and self.monotone:
            msg = "monotone is kept by the default learner only; leave out either monotone or learner"
            raise ValueError(msg)


@dataclass(frozen=True)
class QuarantineConfig:
    """Where unusable rows are written down, and the share of them above which a run stops.

    Without ``file`` it is the command that chooses, beside its other output.
    """

    max_share: float = MAX_SHARE
    file: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_share <= 1:
            msg = "max_share is a share: between 0 and 1"
            raise ValueError(msg)


@dataclass(frozen=True)
class TrackingConfig:
    """Where runs are recorded; without ``uri`` it is MLFLOW_TRACKING_URI or else a local SQLite file."""

    uri: str | None = None
    experiment: str = "leadloop"
    model: str = "leadloop"


@dataclass(frozen=True)
class Config:
    """Everything a run needs to know. It describes either a flat export or the tables of a history."""

    flat: FlatConfig | None = None
    leads: TableMapping | None = None
    touchpoints: tuple[TableMapping, ...] = ()
    transitions: tuple[TableMapping, ...] = ()
    attributes: AttributesConfig = AttributesConfig()
    accounts: TableMapping | None = None
    funnel: FunnelConfig | None = None
    label: LabelConfig | None = None
    cohort: CohortConfig = CohortConfig()
    training: TrainingConfig = TrainingConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    tracking: TrackingConfig = TrackingConfig()
    report: ReportConfig = field(default_factory=ReportConfig)
    observed_until: Instant | None = None
    plugins: tuple[PluginModule, ...] = ()

    def __post_init__(self) -> None:
        if (self.flat is None) == (self.leads is None):
            msg = "describe either a flat export in [flat] or the tables of a history in [leads], ..."
            raise ValueError(msg)
        if self.leads is not None and (self.funnel is None or self.label is None or not self.transitions):
            msg = (
                "a history needs [funnel], [label] and at least one [[transitions]]: what became of the leads"
            )
            raise ValueError(msg)
        self._check_stages()
        self._check_columns()

    def _check_stages(self) -> None:
        if self.funnel is None:
            return
        named = [stage for stage in self.cohort.on if stage != CREATED]
        named += [self.label.stage] if self.label is not None and self.label.stage is not None else []
        named += [self.report.hand_over] if self.report.hand_over is not None else []
        for stage in named:
            if stage not in self.funnel.stages:
                msg = f"{stage!r} is none of the stages of the funnel{suggest(stage, self.funnel.stages)}"
                raise ValueError(msg)

    def _check_columns(self) -> None:
        for name in CONTRACT:
            section = self.attributes.history if name == "attributes" else getattr(self, name)
            for table in section if isinstance(section, tuple) else (section,):
                if table is not None:
                    check_mapping(name, table)

    @property
    def flat_mapping(self) -> FlatMapping:
        """How to read the flat export."""
        flat = _given(self.flat, "flat")
        return FlatMapping(
            id=flat.id,
            label=flat.label,
            time=flat.time,
            exclude=flat.exclude,
            roles=flat.roles,
            missing=flat.missing,
            positive=flat.positive,
            negative=flat.negative,
            time_format=None if flat.time_format is None else TimeFormat(flat.time_format, flat.time_zone),
            max_share=self.quarantine.max_share,
        )

    @property
    def history_mapping(self) -> HistoryMapping:
        """Where the tables of the history come from."""
        return HistoryMapping(
            leads=_given(self.leads, "leads"),
            touchpoints=self.touchpoints,
            transitions=self.transitions,
            attributes=self.attributes.history,
            accounts=self.accounts,
            plain=self.attributes,
            stages=_given(self.funnel, "funnel").stages,
            observed_until=self.observed_until,
            max_share=self.quarantine.max_share,
        )

    @property
    def label_spec(self) -> LabelSpec:
        """The question that the model answers."""
        label, funnel = _given(self.label, "label"), _given(self.funnel, "funnel")
        stage = label.stage or funnel.target
        return LabelSpec(stage, label.horizon, label.lead_time, funnel.closed, label.settle)

    @property
    def cohort_rule(self) -> CohortRule:
        """When the leads are looked at; a lead is open until it reaches the target or a closed end."""
        funnel, cohort = _given(self.funnel, "funnel"), self.cohort
        ends = dict.fromkeys((self.label_spec.stage, *funnel.closed))
        return CohortRule(cohort.on, cohort.every, tuple(ends), cohort.until_age, cohort.start, cohort.end)


def _given(section: Any, name: str) -> Any:
    if section is None:
        msg = f"the configuration has no [{name}]"
        raise ConfigError(msg)
    return section


def load_config(path: Path) -> Config:
    """The configuration in a file; relative paths in it start at the file's folder.

    Raises:
        ConfigError: it does not exist, is no TOML, or says something that cannot be.
    """
    return read_file(Config, path, "`leadloop init FILES...` writes a draft")
