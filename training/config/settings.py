"""The sections of ``leadloop.toml`` as frozen dataclasses, with their defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - the types of the fields are read at run time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003
from typing import Any, Literal

from features.clock import DAY, HOUR
from features.cohort import CREATED, MERGED, CohortRule
from features.display_names import DisplayNames
from features.ingest.column_extractions import Extracted  # noqa: TC001
from features.ingest.column_roles import Role  # noqa: TC001
from features.ingest.mapping import (
    AttributeSelection,
    FlatMapping,
    HistoryMapping,
    TableMapping,
    check_encoding,
)
from features.ingest.quarantine import MAX_SHARE
from features.ingest.schema import CONTRACT, check_mapping
from features.ingest.timestamps import TimeFormat
from features.labels import LabelSpec
from features.messages import Lang  # noqa: TC001
from features.parsing import MISSING
from features.suggestions import suggest
from models.project import check_project_name
from training.config.defaults import SEED
from training.config.toml_reader import ConfigError, Duration, Instant, read_file, register_converter
from training.plugins import PluginModule  # noqa: TC001


@dataclass(frozen=True)
class ReportConfig:
    """The section [report]: how the report is written, and what the model is compared with.

    Attributes:
        lang: The language of the report.
        hand_over: The stage at whose entry sales takes a lead today. Default: mql, if the funnel has it.
        points: The file of today's points table. Default: none.
        costs: By channel or campaign, what was spent on all of its leads, in any one currency.
        hours_per_call: The hours that sales spends on one lead that is handed over. Default: not known.
        value: The column, or overwritten attribute, with the amount that a lead is worth, in the currency of
            the costs; the report adds it up by channel. Default: none.
        leads: Whether the figures of the report open the ids of their leads. Default: they do not.
    """

    lang: Lang = "en"
    hand_over: str | None = None
    points: Path | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    hours_per_call: float | None = None
    value: str | None = None
    leads: bool = False

    def __post_init__(self) -> None:
        if wrong := [name for name, cost in self.costs.items() if cost < 0]:
            msg = f"costs of {wrong[0]!r} cannot be negative; write what was spent, or leave the line out"
            raise ValueError(msg)
        if self.hours_per_call is not None and self.hours_per_call <= 0:
            msg = "hours_per_call must be above 0; leave it out if it is not known"
            raise ValueError(msg)


@dataclass(frozen=True)
class FairnessConfig:
    """The section [fairness]: columns that leads are compared by, such as gender or age.

    Attributes:
        columns: Columns of leads, or overwritten attributes. The report and the model card compare their
            groups. Default: none.
        learn: Whether the model may learn from them, too. Default: it may not.
    """

    columns: tuple[str, ...] = ()
    learn: bool = False

    def __post_init__(self) -> None:
        if self.learn and not self.columns:
            msg = "learn = true allows the model to learn from columns of [fairness], and none is named"
            raise ValueError(msg)


_CAPACITY = re.compile(r"\s*(\d+)\s*(?:per|/|a|an)\s*(hour|day|week|month)\s*")

_PERIODS = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many leads sales can call in a period.

    Attributes:
        leads: Leads per period, at least 1.
        seconds: The length of the period in seconds.
    """

    leads: int
    seconds: int

    def share(self, leads: int, seconds: int) -> float:
        """The share of the leads of a time span that sales can call.

        Args:
            leads: How many leads arrive in the span; 0 counts as 1.
            seconds: The length of the span in seconds.

        Returns:
            A share from 0 to 1.

        >>> parse_capacity("50 per week").share(leads=1000, seconds=70 * DAY)
        0.5
        """
        return min(1.0, self.leads * seconds / (self.seconds * max(leads, 1)))


@register_converter(Capacity)
def parse_capacity(text: str) -> Capacity:
    """Parse a capacity such as "50 per week" (hour, day, week, month). Raises ValueError.

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
    """The section [flat]: a flat export with one row per lead, instead of the tables of a history.

    Attributes:
        leads: The file, CSV or Parquet.
        label: The column with the outcome.
        id: The column with the lead's id. Default: the number of the row.
        time: The column that orders the rows in time. Default: no order.
        exclude: Columns that are not used.
        roles: Roles of columns that are not to be inferred.
        missing: Words that stand for a missing value.
        positive: The outcome that is a success, where that is not clear.
        negative: The outcomes that are failures; with it any other outcome is none yet.
        time_format: The format of ``time``. Default: detected.
        time_zone: The zone of times without offset.
        encoding: How the characters of a text file are written, such as ``shift_jis``. Default: found out.
        extract: What there is to read out of a column: email, title, choices, words, or none; "*" speaks of
            all others. Default: found out.
    """

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
    encoding: str | None = None
    extract: Mapping[str, Extracted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_encoding(self.encoding)
        if self.time_format is not None:
            TimeFormat(self.time_format, self.time_zone)


@dataclass(frozen=True)
class AttributesConfig(AttributeSelection):
    """The section [attributes]: which free columns are attributes, and the tables of overwritten attributes.

    Attributes:
        exclude: Columns that are kept out; those of accounts are called ``account.<column>``. Default: none.
        only: If any are named, all other columns are kept out. Default: none.
        roles: Roles of columns, instead of those inferred from their values, by column. Default: none.
        extract: What there is to read out of a column: email, title, choices, words, or none; "*" speaks of
            all others. Default: found out.
        history: Tables with one row per change of an attribute that the CRM overwrites (``lead_id``,
            ``known_at``, ``name``, ``value``), read as of each snapshot; with ``account_id`` in place of
            ``lead_id`` they are attributes of the account. Default: none.
    """

    history: tuple[TableMapping, ...] = ()


@dataclass(frozen=True)
class FunnelConfig:
    """The section [funnel]: the company's stages.

    Attributes:
        stages: The names of the stages, in their order.
        target: The stage that is predicted, unless [label] names another.
        closed: The stages that close a lead without a conversion. Default: none.
        reopen: The stages that open a closed lead again. Default: none.

    Raises:
        ValueError: ``target`` or a stage of ``closed`` or ``reopen`` is not in ``stages``, or one stage is in
            several of them.
    """

    stages: tuple[str, ...]
    target: str
    closed: tuple[str, ...] = ()
    reopen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for stage in (self.target, *self.closed, *self.reopen):
            if stage not in self.stages:
                msg = f"{stage!r} is none of the stages{suggest(stage, self.stages)}"
                raise ValueError(msg)
        if self.target in self.closed:
            msg = f"the target {self.target!r} cannot also be a closed end"
            raise ValueError(msg)
        if both := [stage for stage in self.reopen if stage in (self.target, *self.closed)]:
            msg = f"{both[0]!r} cannot stand in both reopen and closed (or target)"
            raise ValueError(msg)


_AT_ONCE = Duration(0)


@dataclass(frozen=True)
class LabelConfig:
    """[label]: success is a stage entered in ``[as_of + lead_time, as_of + lead_time + horizon)``.

    Attributes:
        horizon: The length of the window, in seconds.
        lead_time: From ``as_of`` to its start, in seconds.
        settle: How much longer outcomes take to arrive in the CRM, in seconds.
        stage: The stage to enter. Default: the funnel's target.
    """

    horizon: Duration
    lead_time: Duration = _AT_ONCE
    settle: Duration = _AT_ONCE
    stage: str | None = None


@dataclass(frozen=True)
class CohortConfig:
    """The section [cohort]: when snapshots of open leads are taken.

    Attributes:
        on: Stages at whose entry a snapshot is taken; "created" is the lead's creation.
        every: A further snapshot every so many seconds, the first at an age of the lead's own. Default: none.
        until_age: The age in seconds after which there are none. Default: while the lead is open.
        start: Only snapshots from then on, in epoch seconds (``from`` in the file).
        end: Only snapshots before then, in epoch seconds (``to`` in the file).
    """

    on: tuple[str, ...] = (CREATED,)
    every: Duration | None = None
    until_age: Duration | None = None
    start: Instant | None = field(default=None, metadata={"key": "from"})
    end: Instant | None = field(default=None, metadata={"key": "to"})


@dataclass(frozen=True)
class TrainingConfig:
    """The section [training]: how the model is trained, and how many leads sales can take.

    Attributes:
        seed: Of folds and samples.
        weights: "matured" learns from rows whose window is over; "ipcw" also from early outcomes, weighted by
            the inverse probability of censoring.
        capacity: How many leads sales can call in a period; grades follow it.
        capacity_share: The share of leads that sales can call, in (0, 1], instead of ``capacity``.
        exclude: Features that are not used.
        monotone: Features, kinds of touchpoints or families of which more never lowers a score or, with a "-"
            before the name, never raises one.
        learner: A plug-in of ``leadloop.learners`` that makes the model. Default: leadloop's own learner.
        most_snapshots: The most snapshots of a history to learn from: all of some leads. Default: no limit.
    """

    seed: int = SEED
    weights: Literal["matured", "ipcw"] = "matured"
    capacity: Capacity | None = None
    capacity_share: float | None = None
    exclude: tuple[str, ...] = ()
    monotone: tuple[str, ...] = ()
    learner: str | None = None
    most_snapshots: int | None = None

    def __post_init__(self) -> None:
        if self.most_snapshots is not None and self.most_snapshots < 1:
            msg = "most_snapshots must be at least 1"
            raise ValueError(msg)
        if self.capacity is not None and self.capacity_share is not None:
            msg = "capacity and capacity_share set the same limit; keep one of them"
            raise ValueError(msg)
        if self.capacity_share is not None and not 0 < self.capacity_share <= 1:
            msg = "capacity_share must be above 0 and at most 1"
            raise ValueError(msg)
        if self.learner is not None and self.monotone:
            msg = "monotone works with the default learner only; leave out monotone or learner"
            raise ValueError(msg)


@dataclass(frozen=True)
class QuarantineConfig:
    """The section [quarantine]: what happens to rows that cannot be used.

    Attributes:
        max_share: The share of unusable rows above which a run stops, from 0 to 1. Default: 0.05.
        file: The file that lists them. Default: one beside the other output of the command.

    Raises:
        ValueError: ``max_share`` is not between 0 and 1.
    """

    max_share: float = MAX_SHARE
    file: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_share <= 1:
            msg = "max_share must be between 0 and 1"
            raise ValueError(msg)


@dataclass(frozen=True)
class TrackingConfig:
    """The section [tracking]: where runs are logged.

    Attributes:
        uri: MLflow's tracking URI, unless MLFLOW_TRACKING_URI names one. Default: a local SQLite file.
        experiment: The experiment of the runs. Default: "leadloop".
        model: The name that the tracked model gets. Default: "leadloop".
    """

    uri: str | None = None
    experiment: str = "leadloop"
    model: str = "leadloop"


@dataclass(frozen=True)
class Config:
    """A whole ``leadloop.toml``: either a flat export or the tables of a history, and how to learn from them.

    Attributes:
        flat: How to read a flat export. Default: None, the tables of a history are described.
        leads: The table of leads, one row per lead. Default: None, a flat export is described.
        touchpoints: The tables of what leads did or received. Default: none.
        transitions: The tables of entries into stages; a history needs at least one.
        attributes: Which free columns of leads and accounts are attributes. Default: all.
        accounts: The table of accounts, one row per company. Default: None.
        merges: The tables of leads that were merged into others. Default: none.
        funnel: The company's stages; a history needs them.
        label: What is predicted; a history needs it.
        cohort: When open leads become snapshots. Default: at their creation.
        training: How the model is trained, and how many leads sales can call.
        quarantine: What happens to rows that cannot be used.
        tracking: Where runs are logged.
        report: How the report is written, and what the model is compared with.
        observed_until: Up to when the sources are complete, in epoch seconds, exclusive. Default: one second
            after the newest event.
        project: The project's name. Default: one that is drawn, or that of a shared tracking server.
        plugins: Modules that add features, learners, metrics or sections of the report. Default: none.
        names: What people call columns, values, kinds and stages. Default: their own names, made readable.
        fairness: The columns that leads are compared by. Default: none.

    Raises:
        ValueError: It describes both or neither, or names stages or columns that are not there.
    """

    flat: FlatConfig | None = None
    leads: TableMapping | None = None
    touchpoints: tuple[TableMapping, ...] = ()
    transitions: tuple[TableMapping, ...] = ()
    attributes: AttributesConfig = AttributesConfig()
    accounts: TableMapping | None = None
    merges: tuple[TableMapping, ...] = ()
    funnel: FunnelConfig | None = None
    label: LabelConfig | None = None
    cohort: CohortConfig = CohortConfig()
    training: TrainingConfig = TrainingConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    tracking: TrackingConfig = TrackingConfig()
    report: ReportConfig = field(default_factory=ReportConfig)
    observed_until: Instant | None = None
    project: str | None = None
    plugins: tuple[PluginModule, ...] = ()
    names: DisplayNames = field(default_factory=DisplayNames)
    fairness: FairnessConfig = FairnessConfig()

    def __post_init__(self) -> None:
        if (self.flat is None) == (self.leads is None):
            msg = "describe either a flat export in [flat] or the tables of a history in [leads], ..."
            raise ValueError(msg)
        if self.leads is not None and (self.funnel is None or self.label is None or not self.transitions):
            msg = (
                "a history needs [funnel], [label] and at least one [[transitions]]: what became of the leads"
            )
            raise ValueError(msg)
        if self.project is not None:
            check_project_name(self.project)
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
        flat = _require_section(self.flat, "flat")
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
            encoding=flat.encoding,
            extract=flat.extract,
        )

    @property
    def history_mapping(self) -> HistoryMapping:
        """Where the tables of the history come from."""
        return HistoryMapping(
            leads=_require_section(self.leads, "leads"),
            touchpoints=self.touchpoints,
            transitions=self.transitions,
            attributes=self.attributes.history,
            accounts=self.accounts,
            merges=self.merges,
            plain=self.attributes,
            stages=_require_section(self.funnel, "funnel").stages,
            observed_until=self.observed_until,
            max_share=self.quarantine.max_share,
        )

    @property
    def label_spec(self) -> LabelSpec:
        """The label that the model predicts."""
        label, funnel = _require_section(self.label, "label"), _require_section(self.funnel, "funnel")
        stage = label.stage or funnel.target
        return LabelSpec(stage, label.horizon, label.lead_time, funnel.closed, label.settle, funnel.reopen)

    @property
    def cohort_rule(self) -> CohortRule:
        """When snapshots are taken; a lead is open until it enters the target or a closing stage."""
        funnel, cohort = _require_section(self.funnel, "funnel"), self.cohort
        merged = (MERGED,) if self.merges else ()
        ends = dict.fromkeys((self.label_spec.stage, *funnel.closed, *merged))
        limits = (cohort.until_age, cohort.start, cohort.end)
        return CohortRule(cohort.on, cohort.every, tuple(ends), *limits, funnel.reopen)


def _require_section(section: Any, name: str) -> Any:
    if section is None:
        msg = f"the configuration has no [{name}]"
        raise ConfigError(msg)
    return section


def load_config(path: Path) -> Config:
    """Read a configuration.

    Args:
        path: A TOML file; relative paths in it start at its folder.

    Returns:
        The configuration.

    Raises:
        ConfigError: The file does not exist, is not valid TOML, or holds a mistake; the message has its line.
    """
    return read_file(Config, path, "`leadloop init FILES...` writes a draft")
