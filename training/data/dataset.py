"""Labelled feature rows, ready to learn from: a history at its snapshots, or a flat export as it is."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features import batch
from features.catalogue import build_feature_set
from features.clock import DAY, to_datetime
from features.cohort import MERGED, Snapshots, draw_snapshots, lead_codes, sample_leads
from features.display_names import DisplayNames
from features.history import LeadHistory
from features.ingest.flat_export import NO_OUTCOME
from features.labels import compute_labels
from features.messages import Message
from features.notebook_html import html_card, html_table
from training.data.censoring import select_labelled
from training.data.plugin_features import add_plugin_features
from training.data.training_rows import TrainingRows
from training.stats.intervals import scale_to_effective_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from features.cohort import CohortRule
    from features.extraction import ColumnExtraction
    from features.ingest.availability import Availability
    from features.ingest.column_roles import ColumnRole
    from features.ingest.flat_export import FlatExport
    from features.ingest.mapping import FlatMapping
    from features.ingest.quarantine import Quarantine
    from features.labels import LabelSpec
    from features.number_marks import NumberMarks
    from features.spec import FeatureSet, Unit
    from training.data.censoring import Weights
    from training.plugins import Plugin


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """A summary of reading the source.

    Attributes:
        rows_read: Rows in all.
        quarantined: Rows that were set aside, by reason.
        excluded: Columns that are not used, with the reason.
        columns: By reason, the columns in which it occurred most.
        planned: How many of these rows are touchpoints that are planned for later. Default: 0.
    """

    rows_read: int
    quarantined: Mapping[str, int]
    excluded: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    planned: int = 0

    @property
    def unreadable(self) -> int:
        """How many rows or cells could not be used; one planned or still open is none of them."""
        counts = (count for reason, count in self.quarantined.items() if reason != NO_OUTCOME)
        return sum(counts) - self.planned


def ingest_summary(
    rows: int, quarantine: Quarantine, availability: Iterable[Availability], *, flat: bool = False
) -> IngestSummary:
    """The summary of a reading; where there are several tables, a reason names its table."""

    def name_table(table: str, reason: str) -> str:
        return reason if flat else Message("ingest.of_table", table=Message(f"tables.{table}"), reason=reason)

    return IngestSummary(
        rows_read=rows,
        quarantined={name_table(*key): count for key, count in quarantine.counts.items()},
        excluded={column.column: column.reason for column in availability if not column.used},
        columns={name_table(*key): names for key, names in quarantine.columns.items()},
        planned=quarantine.planned,
    )


FLAT_AS_OF = 1

_SHOWN = 90


class NoLabelledRowsError(ValueError):
    """There are no labelled rows of both outcomes; the message says how many there are and why."""


class MissingFeaturesError(ValueError):
    """Another model needs a column that these rows do not have."""


@dataclass(frozen=True)
class Dataset:
    """Labelled feature rows, to learn from or to be evaluated on.

    Attributes:
        features: The features.
        rows: ``lead_id``, ``as_of`` (epoch seconds) and the columns of ``features``.
        label: (n,) outcomes, 0 or 1.
        question: The label in words, such as "sql within 60 days".
        order: (n,) the order of the rows in time, larger is later; None where it is not known.
        gap: How much later than the training rows a row must be to be held out from them: the time that the
            label takes, in seconds; 0 where rows have no dates.
        weights: (n,) weights of the rows; None where all weigh 1.
        matured: (n,) whether a row's window is over; None where that holds for all.
        settled_at: (n,) when each outcome became known, in epoch seconds.
        accounts: (n,) the number of each row's account; None where there are none.
        history: What the rows were computed from; None for a flat export or a decision log.
        persons: ``lead_id``, and a number of the person for each column that refers to one.
        immature: How many further rows have no outcome yet.
        has_dates: Whether ``as_of`` is a real moment.
        dated: Whether the ``order`` of a flat export is in epoch seconds.
        monotone: By feature, 1 where more may never lower a score, -1 where it may never raise it.
        flat: How a flat export was read.
        intake: The summary of reading the source.
        availability: Which columns are used, and who says when they are known.
        ignored: Columns that requests may carry and that no feature reads.
        missing: The words that stand for a missing value.
        marks: What the marks in the numbers of each plain column of numbers mean.
        notices: What to tell the user about the source.
        names: What people call columns, values, kinds and stages.
        words: (n, texts) all words of the texts, where ``rows`` have those that a model knows; None where
            they are the same.
        audit: (n, columns) what leads are compared by for fairness; None where nothing is.
        audit_learned: Whether the model may learn from these columns.
        closed_stages: The stages that close a lead, the target among them; none of a flat export.
        reopen_stages: The stages that open a closed lead again.
        drawn_from: How many rows there were before some of them were drawn; 0 where all are here.

    Raises:
        NoLabelledRowsError: There are not rows of both outcomes.
    """

    features: FeatureSet
    rows: pl.DataFrame
    label: NDArray[np.int8]
    question: str
    order: NDArray[np.int64] | None = None
    gap: int = 0
    weights: NDArray[np.float64] | None = None
    matured: NDArray[np.bool_] | None = None
    settled_at: NDArray[np.int64] | None = None
    accounts: NDArray[np.int64] | None = None
    history: LeadHistory | None = field(default=None, repr=False)
    persons: pl.DataFrame | None = field(default=None, repr=False)
    immature: int = 0
    has_dates: bool = False
    dated: bool = False
    monotone: Mapping[str, int] = field(default_factory=dict)
    flat: FlatMapping | None = None
    intake: IngestSummary = field(default_factory=lambda: IngestSummary(0, {}, {}))
    availability: tuple[Availability, ...] = ()
    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    marks: Mapping[str, NumberMarks] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    names: DisplayNames = field(default_factory=DisplayNames)
    words: pl.DataFrame | None = field(default=None, repr=False)
    audit: pl.DataFrame | None = field(default=None, repr=False)
    audit_learned: bool = False
    closed_stages: tuple[str, ...] = ()
    reopen_stages: tuple[str, ...] = ()
    drawn_from: int = 0

    def __post_init__(self) -> None:
        counts = {outcome: int((self.label == outcome).sum()) for outcome in (0, 1)}
        if not all(counts.values()):
            msg = (
                f"{self.question}: {counts[1]:,} rows with and {counts[0]:,} without it; a model needs both. "
                "Is the outcome right, and has its time passed for enough leads?"
            )
            raise NoLabelledRowsError(msg)

    def __len__(self) -> int:
        return self.rows.height

    def __repr__(self) -> str:
        return f"Dataset({self.question}: {self._facts})"

    def _repr_html_(self) -> str:
        families = Counter(spec.family for spec in self.features.specs)
        rows = [
            (name, f"{count}", shorten(", ".join(names), _SHOWN, placeholder=" ..."))
            for name, count in families.items()
            for names in [[spec.name for spec in self.features.specs if spec.family == name]]
        ]
        return html_card(
            f"Dataset: {self.question}", self._facts, html_table(("family", "features", "such as"), rows)
        )

    @property
    def _facts(self) -> str:
        when = [f"{to_datetime(moment):%Y-%m-%d}" for moment in self.window or ()]
        return "; ".join(
            [
                f"{len(self):,} rows, {self.label.mean():.1%} of them positive",
                f"{len(self.features)} features",
                *([" to ".join(when)] if when else []),
                *([f"{self.immature:,} more have no outcome yet"] if self.immature else []),
            ]
        )

    def row(self, lead_id: str, as_of: int) -> dict[str, Any]:
        """The row of one snapshot, as ``ConversionModel.score`` and ``.explain`` take it.

        Args:
            lead_id: The lead.
            as_of: Epoch seconds of the snapshot, exactly.

        Returns:
            ``lead_id``, ``as_of`` and the value of each feature, by name.

        Raises:
            NoRowsReturnedError: polars finds no such snapshot.
        """
        is_snapshot = (pl.col("lead_id") == lead_id) & (pl.col("as_of") == as_of)
        return self.rows.row(by_predicate=is_snapshot, named=True)

    def to_pandas(self) -> Any:
        """``lead_id``, ``as_of`` (UTC, where there are dates), the features, and ``label``, for pandas."""
        stamps = [pl.from_epoch("as_of").dt.replace_time_zone("UTC")] if self.has_dates else []
        return self.rows.with_columns(*stamps, label=pl.Series(self.label)).to_pandas()

    def subsample(self, most: int) -> Dataset:
        """At most ``most`` rows, evenly spread."""
        if len(self) <= most:
            return self
        return self._take(np.linspace(0, len(self) - 1, most).astype(np.intp))

    def _take(self, positions: NDArray[np.intp]) -> Dataset:
        columns = ("rows", "label", "order", "weights", "matured", "settled_at", "accounts", "words", "audit")
        thin: dict[str, Any] = {
            name: None if (whole := getattr(self, name)) is None else whole[positions] for name in columns
        }
        return replace(self, **thin)

    @property
    def ordered_by_dates(self) -> bool:
        """Whether ``order`` is in epoch seconds: a history's, or those of a dated export."""
        return self.has_dates or self.dated

    @property
    def window(self) -> tuple[int, int] | None:
        """The first and the last as_of in epoch seconds, where the rows have dates."""
        if self.order is None or not self.has_dates:
            return None
        return int(self.order.min()), int(self.order.max())

    @cached_property
    def lead(self) -> NDArray[np.int64]:
        """(n,) a number for the lead of each row, from 0."""
        return lead_codes(self.rows["lead_id"])

    def to_learning_rows(self) -> TrainingRows:
        """The rows as a learner takes them, grouped by lead where leads have several snapshots."""
        return TrainingRows(
            frame=self.rows.select(self.features.names),
            y=self.label,
            order=self.order,
            weights=self.weights,
            groups=self.lead if self.lead.max() + 1 < len(self) else None,
            gap=self.gap,
            matured=self.matured,
            monotone=self.monotone,
            extractions={s.name: s.extraction for s in self.features.specs if s.extraction is not None},
        )

    def features_for(self, features: FeatureSet, at: NDArray[np.intp]) -> pl.DataFrame:
        """Rows with the columns of ``features``, which may be another model's.

        Args:
            features: The features to have; those that are missing here are computed from the history.
            at: (m,) positions of rows.

        Returns:
            (m,) rows in the order of ``at``: ``lead_id``, ``as_of`` and at least the columns of ``features``.

        Raises:
            MissingFeaturesError: There is no history, and a column is missing or of the other kind (category
                or number).
        """
        rows = self.rows[at]
        if set(features.specs) <= set(self.features.specs):
            return rows
        rows = _with_rare_choices(rows, features)
        if self.history is None:
            here = {spec.name: spec.is_category for spec in self.features.specs}
            here |= dict.fromkeys(set(rows.columns) - set(self.rows.columns), False)
            if wrong := [spec.name for spec in features.specs if here.get(spec.name) != spec.is_category]:
                msg = f"column {wrong[0]!r} is not among these rows, or not of the same kind"
                raise MissingFeaturesError(msg)
            # The other model may know other words of the same texts.
            return rows if self.words is None else rows.with_columns(self.words[at])
        leads = _with_rare_choices(self.history.leads, features)
        history = replace(self.history, leads=leads)
        plain = [
            spec.column
            for spec in features.specs
            if spec.reduce == "value" and spec.of not in history.lead_columns
        ]
        if plain:
            msg = f"column {plain[0]!r} is not among the leads"
            raise MissingFeaturesError(msg)
        keys = rows.select("lead_id", "as_of")
        computed = compute_feature_rows(features, history, Snapshots(keys.unique()))
        return keys.join(computed, on=["lead_id", "as_of"], how="left", maintain_order="left")

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that change whenever a row, a label or a feature does."""
        hashed = self.rows.with_columns(pl.Series("label", self.label)).hash_rows(seed=0).to_numpy()
        weights = b"" if self.weights is None else self.weights.tobytes()
        content = hashed.tobytes() + weights + self.features.fingerprint.encode()
        return hashlib.sha256(content).hexdigest()[:12]


def _with_rare_choices(frame: pl.DataFrame, features: FeatureSet) -> pl.DataFrame:
    """The frame with flags of choices that have become too rare: no, where other choices are known."""
    for spec in features.specs:
        extraction = spec.extraction
        if extraction is None or extraction.part != "choice" or extraction.name in frame.columns:
            continue
        siblings = [
            each.of for each in features.specs if each.column == spec.column and each.of in frame.columns
        ]
        if siblings:
            flag = pl.when(pl.any_horizontal(pl.col(siblings).is_not_null())).then(0.0)
            frame = frame.with_columns(flag.alias(extraction.name))
    return frame


def from_history(  # noqa: PLR0913 - the one call that most users need
    history: LeadHistory,
    rule: CohortRule,
    label: LabelSpec,
    roles: Iterable[ColumnRole] = (),
    weights: Weights = "matured",
    *,
    plugins: Sequence[Plugin] = (),
    names: DisplayNames | None = None,
    most_snapshots: int | None = None,
) -> Dataset:
    """Draw the snapshots of a history, label them and compute their features.

    Args:
        history: The history.
        rule: When snapshots are taken.
        label: What is to be predicted.
        roles: The roles of the lead columns.
        weights: "matured" takes snapshots whose window is over; "ipcw" every one whose outcome is known,
            weighted by the inverse probability of censoring.
        plugins: Plug-ins of ``leadloop.features``; their features follow those of the catalogue.
        names: What people call columns, values, kinds and stages. Default: their own names, made readable.
        most_snapshots: The most rows to have: those of whole leads, drawn by a hash of their id
            (``features.sample_leads``). Colleagues that were not drawn count in features. Default: all.

    Returns:
        The rows, ordered by ``as_of`` and ``lead_id``.

    Raises:
        NoLabelledRowsError: There are not rows of both outcomes.
        PluginError: A plug-in gives no features, or some that this history cannot have.
    """
    features = build_feature_set(
        history,
        target=label.stage,
        closed=(*label.closed, MERGED),
        units=_flags(roles := tuple(roles)),
        extractions=_extractions(roles),
        names=names,
    )
    features = add_plugin_features(features, plugins, history)
    snapshots = draw_snapshots(history, rule)
    labelled = compute_labels(history, snapshots, label)
    labelled = select_labelled(labelled, history.observed_until, weights)
    known = _sample(labelled, most_snapshots).sort("as_of", "lead_id")
    rows = compute_rows_in_parts(features, history, Snapshots(known.select("lead_id", "as_of")))
    return Dataset(
        features=features,
        rows=rows,
        label=known["label"].to_numpy(),
        question=f"{label.stage} within {label.horizon / DAY:g} days",
        order=rows["as_of"].to_numpy(),
        gap=label.gap,
        weights=known["weight"].to_numpy() if "weight" in known.columns else None,
        matured=known["matured"].to_numpy() if "weight" in known.columns else None,
        settled_at=known["settled_at"].to_numpy(),
        accounts=_accounts(history, rows),
        history=history,
        immature=len(snapshots) - labelled.height,
        drawn_from=labelled.height,
        has_dates=True,
        names=names or DisplayNames(),
        closed_stages=rule.closed,
        reopen_stages=rule.reopen,
    )


def _sample(labelled: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """The labelled snapshots of the leads that are drawn; weights count for as many independent rows."""
    if most is None or labelled.height <= most:
        return labelled
    drawn = sample_leads(labelled, most)
    if "weight" not in drawn.columns or drawn.is_empty():
        return drawn
    return drawn.with_columns(weight=pl.Series(scale_to_effective_size(drawn["weight"].to_numpy())))


def _accounts(history: LeadHistory, rows: pl.DataFrame) -> NDArray[np.int64] | None:
    leads = history.leads.select("lead_id", "account_id")
    return account_numbers(
        rows.select("lead_id").join(leads, on="lead_id", how="left", maintain_order="left")
    )


def account_numbers(rows: pl.DataFrame) -> NDArray[np.int64] | None:
    """A number for each row's account, leads without one counting alone; None where no lead has any.

    Args:
        rows: ``lead_id`` and ``account_id`` of each row.
    """
    account = pl.col("account_id")
    if rows["account_id"].is_null().all():
        return None
    who = pl.when(account.is_null()).then("lead " + pl.col("lead_id")).otherwise("account " + account)
    return rows.select(who.rank("dense").cast(pl.Int64)).to_series().to_numpy()


def compute_feature_rows(features: FeatureSet, history: LeadHistory, snapshots: Snapshots) -> pl.DataFrame:
    """Compute the features of snapshots in batch.

    Args:
        features: The k features to compute.
        history: What the CRM knew; each snapshot sees the part that was known before its ``as_of``.
        snapshots: The n snapshots.

    Returns:
        (n, k + 2): ``lead_id``, ``as_of`` (epoch seconds) and the features, ordered by ``as_of`` and
        ``lead_id``.
    """
    computed: pl.LazyFrame = batch.compute_features(features, history, snapshots)
    return computed.sort("as_of", "lead_id").collect()


PART_SNAPSHOTS = 100_000


def compute_rows_in_parts(
    features: FeatureSet, history: LeadHistory, snapshots: Snapshots, most: int | None = None
) -> pl.DataFrame:
    """Compute the rows of ``compute_feature_rows``, but of some accounts after others: it takes less memory.

    Args:
        features: The k features to compute.
        history: What the CRM knew; leads that have no snapshot count as colleagues.
        snapshots: The n snapshots.
        most: About how many snapshots are computed at a time. Default 100,000.

    Returns:
        (n, k + 2), as ``compute_feature_rows`` gives them.
    """
    size = most or PART_SNAPSHOTS
    if len(snapshots) <= size:
        return compute_feature_rows(features, history, snapshots)
    owner = pl.coalesce(pl.lit("account ") + pl.col("account_id"), pl.lit("lead ") + pl.col("lead_id"))
    owners = history.leads.select("lead_id", owner=owner)
    sizes = snapshots.frame.join(owners, on="lead_id").group_by("owner").len().sort("owner")
    groups = sizes.select("owner", part=(pl.col("len").cum_sum() - pl.col("len")) // size)
    # Leads whose accounts have no snapshots are nobody's colleagues.
    parts = owners.join(groups, on="owner").select("lead_id", pl.col("part").cast(pl.Int32))
    tables = {
        "snapshots": snapshots.frame,
        **{name: getattr(history, name) for name in ("leads", "touchpoints", "transitions", "attributes")},
    }
    numbers = {
        name: frame.select("lead_id").join(parts, on="lead_id", how="left", maintain_order="left")["part"]
        for name, frame in tables.items()
    }
    frames = []
    for number in groups["part"].unique().sort():
        part = {name: frame.filter(numbers[name] == number) for name, frame in tables.items()}
        chosen = Snapshots(part.pop("snapshots"))
        frames.append(compute_feature_rows(features, replace(history, **part), chosen))
    return _sort_columns(frames)


def _sort_columns(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all frames by ``as_of`` and ``lead_id``, put together a column at a time."""
    keys = pl.concat([frame.select("as_of", "lead_id") for frame in frames])
    order = keys.with_row_index("place").sort("as_of", "lead_id")["place"]
    columns = []
    for name in frames[0].columns:
        columns.append(pl.concat([frame[name] for frame in frames]).gather(order))
        frames = [frame.drop(name) for frame in frames]
    return pl.DataFrame(columns)


def from_flat_export(export: FlatExport, mapping: FlatMapping, names: DisplayNames | None = None) -> Dataset:
    """Turn a flat export into a dataset: one snapshot per row, labelled by its outcome column.

    Args:
        export: The export, read with an outcome column.
        mapping: How it was read; the dataset keeps it to read rows that are scored later alike.
        names: What people call columns and values. Default: their own names, made readable.

    Returns:
        The dataset, with the columns of the export as features and without a history.

    Raises:
        NoLabelledRowsError: The export was read without an outcome column, or its rows do not have both
            outcomes.
    """
    if export.label is None:
        msg = "the export was read without an outcome column; name it (--label)"
        raise NoLabelledRowsError(msg)
    features = flat_features(export.leads, export.roles, names)
    return Dataset(
        features=features,
        rows=flat_rows(features, export.leads),
        label=export.label.to_numpy(),
        question=export.outcome,
        flat=mapping,
        persons=export.persons,
        order=None if export.order is None else export.order.to_numpy(),
        dated=export.dated,
        intake=ingest_summary(export.rows, export.quarantine, export.availability, flat=True),
        availability=export.availability,
        ignored=tuple(sorted({*mapping.reserved, *(r.column for r in export.roles if not r.used)})),
        missing=mapping.missing,
        marks=export.marks,
        notices=export.notices,
        names=names or DisplayNames(),
    )


def flat_features(
    leads: pl.DataFrame, roles: Sequence[ColumnRole], names: DisplayNames | None = None
) -> FeatureSet:
    """The features of a flat export: its columns, and what was read out of them."""
    history = LeadHistory.from_leads(leads.with_columns(created_at=pl.lit(0)), FLAT_AS_OF)
    return build_feature_set(history, units=_flags(roles), extractions=_extractions(roles), names=names)


def _extractions(roles: Sequence[ColumnRole]) -> tuple[ColumnExtraction, ...]:
    return tuple(role.extraction for role in roles if role.extraction is not None)


def _flags(roles: Iterable[ColumnRole]) -> dict[str, Unit]:
    return {role.column: "flag" for role in roles if role.role == "flag"}


def flat_rows(features: FeatureSet, leads: pl.DataFrame) -> pl.DataFrame:
    """The feature rows of flat leads, in the order of ``leads``."""
    columns = (pl.col(str(spec.of)).alias(spec.name) for spec in features.specs)
    return leads.select("lead_id", pl.lit(FLAT_AS_OF, pl.Int64).alias("as_of"), *columns)
