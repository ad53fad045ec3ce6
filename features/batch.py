"""Features of many snapshots at once, in the frame library of the history.

Narwhals translates the specs into expressions for Polars (the default), pandas, DuckDB and PySpark. Values
are integers until one last cast to Float64: the only arithmetic on which engines agree to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals.stable.v2 as nw
import polars as pl

from features.account_folds import fold_accounts
from features.cohort import KEYS
from features.event_masks import PICKS, Rows, column_of, mask_rows, trend_values, working_name
from features.history import ACCOUNT_PREFIX, LEAD_KNOWN_AT
from features.memory_folds import SNAPSHOT, columns_read, fold_in_memory, is_folded_by_array
from features.point_in_time import is_visible
from features.spec import SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.cohort import Snapshots
    from features.history import LeadHistory
    from features.spec import FeatureSet, FeatureSpec, Source


def join_visible_events(events: Rows, snapshots: Rows) -> Rows:
    """Every pair of a snapshot and a visible event of its lead, with the event's ``age`` in seconds."""
    pairs = snapshots.join(events, on="lead_id", how="inner")
    visible: nw.Expr = is_visible(nw.col("occurred_at"), nw.col("known_at"), nw.col("as_of"))
    aged: Rows = pairs.filter(visible).with_columns(age=nw.col("as_of") - nw.col("occurred_at"))
    return aged


def compute_features(features: FeatureSet, history: LeadHistory, snapshots: Snapshots) -> Any:
    """Compute the feature rows of many snapshots at once.

    Args:
        features: The columns to compute.
        history: What the CRM knows; its frames may be of Polars, pandas or DuckDB, all of the same library.
        snapshots: The pairs (``lead_id``, ``as_of``) to compute for, in a frame of the same library.

    Returns:
        ``lead_id``, ``as_of`` and one column a spec (Float64, String for a category), one row a snapshot, in
        no promised order: a lazy frame of the history's own library, for pandas a plain frame.
    """
    folds = (
        _InMemory(snapshots.frame) if _is_in_memory(history, snapshots) else _ByExpressions(snapshots.frame)
    )
    result = folds.keys
    for source in SOURCES:
        specs = [spec for spec in features.folds if spec.source == source]
        if specs:
            result = folds.append(result, _fold(history, source, folds, specs))
    return result.select(*KEYS, *map(feature_column, features.specs)).to_native()


class _ByExpressions:
    """Folds by expressions alone, as any engine computes them.

    Attributes:
        keys: The snapshots.
        by: The columns that name one.
    """

    by: tuple[str, ...] = KEYS

    def __init__(self, snapshots: Any) -> None:
        self.keys = _to_lazy(snapshots)

    def fold(self, events: Rows, specs: Sequence[FeatureSpec]) -> Rows:
        """The values of specs on events, one row a snapshot that sees any."""
        return _aggregate(join_visible_events(events, self.keys), specs)

    def name(self, values: Rows) -> Rows:
        """The values, which have ``KEYS``, with the columns ``by`` instead."""
        return values

    def append(self, rows: Rows, values: Rows) -> Rows:
        """The rows, one a snapshot, with the columns of values beside them."""
        return rows.join(values, on=list(self.by), how="left")


class _InMemory:
    """Folds of tables in memory: by array, and at once, so that pairs do not wait until all are folded.

    Attributes:
        keys: The snapshots, numbered.
        by: The column with their number.
    """

    by: tuple[str, ...] = (SNAPSHOT,)

    def __init__(self, snapshots: pl.DataFrame) -> None:
        self._count = snapshots.height
        self.keys = _to_lazy(snapshots.select(KEYS).with_row_index(SNAPSHOT))

    def fold(self, events: Rows, specs: Sequence[FeatureSpec]) -> Rows:
        """As in ``_ByExpressions``."""
        pairs = join_visible_events(events, self.keys).select(SNAPSHOT, "age", *columns_read(specs))
        rows: pl.DataFrame = pairs.collect().to_native()
        arrays = [spec for spec in specs if is_folded_by_array(spec)]
        folds = _to_lazy(fold_in_memory(rows, self._count, arrays))
        others = [spec for spec in specs if not is_folded_by_array(spec)]
        if not others:
            return folds
        if rows[SNAPSHOT].is_sorted():  # groups that are slices cost half
            rows = rows.with_columns(pl.col(SNAPSHOT).set_sorted())
        return self.append(folds, _aggregate(_to_lazy(rows), others, self.by))

    def append(self, rows: Rows, values: Rows) -> Rows:
        """As in ``_ByExpressions``: where values stand in the order of the snapshots, without a join."""
        frame: pl.DataFrame = rows.collect().to_native()
        beside: pl.DataFrame = values.collect().to_native()
        if beside[SNAPSHOT].equals(frame[SNAPSHOT]):
            return _to_lazy(frame.hstack(beside.drop(SNAPSHOT)))
        return _to_lazy(frame.join(beside, on=SNAPSHOT, how="left", maintain_order="left"))

    def name(self, values: Rows) -> Rows:
        """As in ``_ByExpressions``."""
        seconds = nw.col("as_of").cast(nw.Int64)
        keys, values = self.keys.with_columns(seconds), values.with_columns(seconds)
        return keys.join(values, on=list(KEYS), how="inner").drop(*KEYS)


_Folds = _ByExpressions | _InMemory


def _is_in_memory(history: LeadHistory, snapshots: Snapshots) -> bool:
    frames: tuple[object, ...] = (history.leads, history.touchpoints, history.transitions, snapshots.frame)
    return all(isinstance(frame, pl.DataFrame) for frame in frames)


def _fold(history: LeadHistory, source: Source, folds: _Folds, specs: Sequence[FeatureSpec]) -> Rows:
    """The values of specs on one source, one row a snapshot."""
    if source.startswith("account_"):
        return _fold_colleagues(history, source, folds, specs)
    events = _events(history, source)
    if source == "leads":
        return _lead_columns(join_visible_events(events, folds.keys), specs, folds.by)
    return folds.fold(events, specs)


# Accounts up to this size cost less when each lead is paired with its colleagues' events (three leads half,
# eight leads twice as much): see tests/benchmarks/accounts.py.
_FEW = 4


def _fold_colleagues(
    history: LeadHistory, source: Source, folds: _Folds, specs: Sequence[FeatureSpec]
) -> Rows:
    """The values of specs on what colleagues did, one row a snapshot; small accounts in their own way."""
    events, members = _own_events(history, source), _to_lazy(history.leads).select("lead_id", "account_id")
    leads: object = history.leads
    keys = folds.keys.select(*KEYS)
    # How large accounts are is known at once only of tables in memory.
    if not isinstance(leads, pl.DataFrame):
        return folds.name(fold_accounts(events, members, keys, specs))
    members = members.filter(~nw.col("account_id").is_null())
    size = nw.col("lead_id").count().over("account_id")
    small, large = (members.filter(which).collect() for which in ((size > 1) & (size <= _FEW), size > _FEW))
    values = []
    if len(small):
        own = folds.keys.join(small.lazy(), on="lead_id", how="semi").select(*folds.by)
        pairs = _pair_with_colleagues(events, small.lazy())
        values.append(folds.fold(pairs, specs).join(own, on=list(folds.by), how="semi"))
    if len(large) or not values:
        values.append(folds.name(fold_accounts(events, large.lazy(), keys, specs)))
    columns = [nw.col(column_of(spec)).cast(nw.String if spec.is_category else nw.Int64) for spec in specs]
    # Where snapshots count seconds in 32 bits, one of both ways has them in 64.
    by = [nw.col(name).cast(nw.Int64) if name == "as_of" else nw.col(name) for name in folds.by]
    return nw.concat([each.select(*by, *columns) for each in values])


def visible_events(history: LeadHistory, snapshots: Snapshots, source: Source = "touchpoints") -> Any:
    """List the events of one source that each snapshot sees: what its features are folded from.

    Args:
        history: What the CRM knows.
        snapshots: The snapshots to list for.
        source: Whose events, e.g. ``"touchpoints"`` of the lead or ``"account_touchpoints"`` of its
            colleagues.

    Returns:
        One row a pair of snapshot and visible event: the columns of the source, ``as_of`` and ``age`` in
        seconds, sorted by snapshot, the newest event first; an eager frame of the history's own library.
    """
    return (
        join_visible_events(_events(history, source), _to_lazy(snapshots.frame))
        .sort(*KEYS, "age")
        .collect()
        .to_native()
    )


def _to_lazy(frame: Any) -> Rows:
    lazy: Rows = nw.from_native(frame).lazy()
    return lazy


def _events(history: LeadHistory, source: Source) -> Rows:
    """The rows of one source, each with ``lead_id``, ``occurred_at``, ``known_at`` and ``kind``."""
    if source == "leads":
        return _lead_rows(history)
    if source == "attributes":
        return _to_lazy(history.attributes).with_columns(kind=nw.col("name"), occurred_at=nw.col("known_at"))
    events = _own_events(history, source)
    if not source.startswith("account_"):
        return events
    members = _to_lazy(history.leads).select("lead_id", "account_id")
    return _pair_with_colleagues(events, members.filter(~nw.col("account_id").is_null()))


def _own_events(history: LeadHistory, source: Source) -> Rows:
    """The touchpoints or transitions of all leads, whoever looks at them."""
    if source.endswith("touchpoints"):
        return _to_lazy(history.touchpoints)
    return _to_lazy(history.transitions).with_columns(kind=nw.col("stage"))


def _lead_rows(history: LeadHistory) -> Rows:
    """A row a lead, its own columns and its account's under ``_own_name``: a company may call one ``age``."""
    accounts = _to_lazy(history.accounts)
    leads = _to_lazy(history.leads)
    columns = leads.collect_schema().names()
    created = nw.col("created_at")
    known = nw.max_horizontal(created, nw.col(LEAD_KNOWN_AT)) if LEAD_KNOWN_AT in columns else created
    own = [nw.col(name).alias(_own_name(name)) for name in columns if name != "lead_id"]
    leads = leads.select("lead_id", "account_id", *own, occurred_at=created, known_at=known)
    names = [name for name in accounts.collect_schema().names() if name != "account_id"]
    if not names:
        return leads
    attributes = accounts.rename({name: _own_name(ACCOUNT_PREFIX + name) for name in names})
    return leads.join(attributes, on="account_id", how="left")


def _own_name(column: str) -> str:
    """A name for a company's column that no working column has."""
    return f"own:{working_name(column)}"


def _pair_with_colleagues(events: Rows, members: Rows) -> Rows:
    """Each of the ``members`` of accounts paired with the events of the others, named ``colleague``."""
    others = members.rename({"lead_id": "colleague"})
    pairs = members.join(others, on="account_id", how="inner")
    pairs = pairs.filter(nw.col("lead_id") != nw.col("colleague")).select("lead_id", "colleague")
    return pairs.join(events.rename({"lead_id": "colleague"}), on="colleague", how="inner")


def _lead_columns(rows: Rows, specs: Sequence[FeatureSpec], by: Sequence[str]) -> Rows:
    """The values of specs on ``leads``, one row a snapshot."""
    columns = [nw.col(_own_name(spec.of) if spec.of else "age").alias(column_of(spec)) for spec in specs]
    return rows.select(*by, *columns)


def _aggregate(rows: Rows, specs: Sequence[FeatureSpec], by: Sequence[str] = KEYS) -> Rows:
    """The values of specs on events, one row a snapshot that sees any.

    First one masked column a spec, then plain aggregates: every engine does these fast.
    """
    edges = [_edge_age(spec) for spec in specs if spec.reduce in PICKS]
    rows = rows.with_columns(*edges) if edges else rows
    rows = rows.with_columns(*_flatten(_masked_columns(spec) for spec in specs))
    if rows.implementation.is_pyspark():  # Spark adds up no Booleans
        counts = [column_of(spec) for spec in specs if spec.reduce == "count"]
        rows = rows.with_columns(nw.col(*counts).cast(nw.Int64)) if counts else rows
    rows = rows.group_by(*by).agg(*_flatten(_aggregates(spec) for spec in specs))
    return rows.select(*by, *map(_fold_column, specs))


def _flatten(groups: Iterable[Iterable[nw.Expr]]) -> list[nw.Expr]:
    return [expr for group in groups for expr in group]


def _edge_age(spec: FeatureSpec) -> nw.Expr:
    """The age of the row that a latest or earliest reads, at every row of the snapshot."""
    ages = nw.when(mask_rows(spec)).then(nw.col("age"))
    edge = ages.min() if spec.reduce == "latest" else ages.max()
    return edge.over(*KEYS).alias(f"{column_of(spec)}:age")


def _masked_columns(spec: FeatureSpec) -> list[nw.Expr]:
    mask, age = mask_rows(spec), nw.col("age")
    if spec.reduce == "count":
        # Adding up the mask itself is three times as fast as adding up ones.
        return [mask.alias(column_of(spec))]
    if spec.reduce in {"recency", "tenure", "span"}:
        values: nw.Expr = nw.when(mask).then(age)
    elif spec.reduce == "trend":
        values = trend_values(mask)
    elif spec.reduce in PICKS:
        values = nw.when(mask & (age == nw.col(f"{column_of(spec)}:age"))).then(nw.col(str(spec.of)))
    else:
        values = nw.when(mask).then(nw.col(str(spec.of)))
    if spec.reduce == "distinct":
        # Every engine counts the masked-out null as one more value.
        absent = nw.when(values.is_null()).then(nw.lit(1, nw.Int64)).otherwise(nw.lit(0, nw.Int64))
        return [values.alias(column_of(spec)), absent.alias(f"{column_of(spec)}:absent")]
    return [values.alias(column_of(spec))]


def _aggregates(spec: FeatureSpec) -> list[nw.Expr]:
    column = nw.col(column_of(spec))
    if spec.reduce == "distinct":
        return [column.n_unique(), nw.col(f"{column_of(spec)}:absent").max()]
    if spec.reduce == "span":
        return [column.max(), column.min().alias(f"{column_of(spec)}:least")]
    if spec.reduce in {"count", "total", "trend"}:
        return [column.sum()]
    if spec.reduce == "recency":
        return [column.min()]
    return [column.max()]


def feature_column(spec: FeatureSpec) -> nw.Expr:
    """The column of a spec: as it was folded, or one operation on the two Float64 columns of its inputs."""
    if not spec.inputs:
        return _final_column(spec).alias(spec.name)
    first, second = map(_final_column, spec.inputs)
    if spec.reduce == "difference":
        return (first - second).alias(spec.name)
    # A column by a column, never by a constant, which engines may turn into a product.
    return nw.when(second != 0).then(first / second).alias(spec.name)


def _fold_column(spec: FeatureSpec) -> nw.Expr:
    """The column of a spec out of its aggregates."""
    column = nw.col(column_of(spec))
    if spec.reduce == "distinct":
        return column - nw.col(f"{column_of(spec)}:absent")
    return column - nw.col(f"{column_of(spec)}:least") if spec.reduce == "span" else column


def _final_column(spec: FeatureSpec) -> nw.Expr:
    column = nw.col(column_of(spec))
    if spec.empty is not None:
        column = column.fill_null(0)
    return column.cast(nw.String if spec.is_category else nw.Float64)
