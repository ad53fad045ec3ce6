"""What the colleagues of a lead did, in time linear in the events of its account.

Joining colleagues with colleagues would cost the square of an account. Instead each event is the change of a
sum: it adds its weight from the second on in which it is visible, and takes it back when it grows older than
a window. The changes of an account and its snapshots, sorted once by time, are added up; from the sum of the
account at a snapshot the lead's own is taken away, which is exact because all are integers. What cannot be
subtracted, such as the latest event, is kept twice: the best one, and the best one of any other lead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals.stable.v2 as nw

from features.clock import DAY
from features.cohort import KEYS
from features.event_masks import PICKS, Rows, column_of, mask_rows, trend_values
from features.point_in_time import first_visible_at, is_visible
from features.spec import ADDITIVE, TREND_BEFORE, TREND_RECENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from features.spec import FeatureSpec

_KEY = ("account_id", "lead_id", "at")
_NOBODY = -1
"""The rank of no event, and the number of no lead."""


def fold_accounts(events: Rows, members: Rows, snapshots: Rows, specs: Sequence[FeatureSpec]) -> Rows:
    """Fold what the colleagues of each snapshot's lead did, all that was visible and none of its own.

    Args:
        events: Events of leads with ``kind``, of one source.
        members: The ``lead_id`` and ``account_id`` of each lead.
        snapshots: ``lead_id`` and ``as_of``.
        specs: What to fold of the events of colleagues.

    Returns:
        One row a snapshot of a lead that has colleagues: its keys and a column a spec, integers or words.
    """
    members = members.filter(~nw.col("account_id").is_null())
    members = members.filter(nw.col("lead_id").count().over("account_id") > 1)
    snapshots = snapshots.join(members, on="lead_id", how="inner")
    events = _begin(events.join(members, on="lead_id", how="inner"), snapshots)
    added = [spec for spec in specs if spec.reduce in ADDITIVE]
    result = snapshots.select(*KEYS)
    if added:
        result = _add_up(_changes(events, members, added), snapshots, added)
    for spec in specs:
        if spec.reduce not in ADDITIVE:
            result = result.join(_extreme(snapshots, events, spec), on=list(KEYS), how="left")
    return result


def _begin(events: Rows, snapshots: Rows) -> Rows:
    """The events with the moment ``at`` which they count from on, and how old they are then (``age``).

    That is no earlier than the first snapshot of the account: what was before is one change.
    """
    as_of = nw.col("as_of")
    periods = snapshots.group_by("account_id").agg(first=as_of.min(), last=as_of.max())
    at = nw.max_horizontal(first_visible_at(nw.col("occurred_at"), nw.col("known_at")), "first")
    events = events.join(periods, on="account_id", how="inner").with_columns(
        at=at, colleague=nw.col("lead_id")
    )
    events = events.filter(nw.col("at") <= nw.col("last"))
    return events.with_columns(age=nw.col("at") - nw.col("occurred_at"))


# Rows of ``_KEY`` with columns that change at them, and the names of these.
_Changes = tuple[Rows, tuple[str, ...]]


def _integer(value: int) -> nw.Expr:
    return nw.lit(value, nw.Int64)


def _own(spec: FeatureSpec) -> str:
    """The column of what is taken away from the account's sum, by lead."""
    return f"{column_of(spec)}:own" if _is_shared(spec) else column_of(spec)


def _is_shared(spec: FeatureSpec) -> bool:
    """Whether several leads can have the same value, which counts once."""
    return spec.reduce == "distinct" and spec.of != "colleague"


def _changes(events: Rows, members: Rows, specs: Sequence[FeatureSpec]) -> Iterator[_Changes]:
    """When the sum of an account changes, and the part of it that is a lead's own, by how much."""
    if sums := [spec for spec in specs if spec.reduce != "distinct"]:
        yield _changes_of(events, {column_of(spec): _begin_weight(spec) for spec in sums})
    for age in sorted({age for spec in sums for age in _edges(spec)}):
        later = events.filter(nw.col("age") < age).with_columns(at=nw.col("occurred_at") + age)
        later = later.filter(nw.col("at") <= nw.col("last"))
        yield _changes_of(later, {column_of(spec): _edges(spec)[age] for spec in sums if age in _edges(spec)})
    numbers = members.select("lead_id").with_row_index("number", order_by="lead_id")
    for spec in specs:
        if _is_shared(spec):
            yield from _shared_changes(events, numbers, spec)
        elif spec.reduce == "distinct":
            begins, ends = _presence(events, spec, ("account_id", "lead_id"))
            yield _changes_of(begins, {column_of(spec): _integer(1)})
            if spec.within is not None:
                yield _changes_of(ends, {column_of(spec): _integer(-1)})


def _changes_of(rows: Rows, weights: dict[str, nw.Expr]) -> _Changes:
    """The rows at which any of the weights is other than 0."""
    columns = [weight.fill_null(0).cast(nw.Int64).alias(name) for name, weight in weights.items()]
    rows = rows.select(*_KEY, *columns)
    changing = nw.any_horizontal(*(nw.col(name) != 0 for name in weights), ignore_nulls=True)
    return rows.filter(changing), tuple(weights)


def _begin_weight(spec: FeatureSpec) -> nw.Expr:
    """What an event adds when it is first visible."""
    mask = mask_rows(spec)
    if spec.reduce == "trend":
        return trend_values(mask)
    return nw.when(mask).then(_integer(1) if spec.reduce == "count" else nw.col(str(spec.of)))


def _edges(spec: FeatureSpec) -> dict[int, nw.Expr]:
    """The ages at which the weight of an event changes, and by how much."""
    mask = mask_rows(replace(spec, within=None))
    if spec.reduce == "trend":
        recent, before = TREND_BEFORE // DAY, -TREND_RECENT // DAY
        return {
            TREND_RECENT: nw.when(mask).then(_integer(before - recent)),
            TREND_RECENT + TREND_BEFORE: nw.when(mask).then(_integer(-before)),
        }
    if spec.within is None:
        return {}
    return {
        spec.within: nw.when(mask).then(_integer(-1) if spec.reduce == "count" else -nw.col(str(spec.of)))
    }


def _presence(events: Rows, spec: FeatureSpec, by: Sequence[str]) -> tuple[Rows, Rows]:
    """When there begins and ceases to be an event of the spec, for each ``by``; without a window none does.

    Events of one ``by`` that are there at the same time begin and cease once.
    """
    rows = events.filter(mask_rows(spec))
    if spec.within is None:
        begins = rows.group_by(*by).agg(nw.col("at").min())
        return begins, begins
    order = ["at", "until"]
    rows = rows.select(*by, "at", until=nw.col("occurred_at") + spec.within)
    rows = rows.with_columns(latest=nw.col("until").cum_max().over(*by, order_by=order))
    rows = rows.with_columns(before=nw.col("latest").shift(1).over(*by, order_by=order))
    # Some databases answer null for the greatest of values of which one is null.
    before = nw.col("before").fill_null(nw.col("at"))
    rows = rows.with_columns(at=nw.max_horizontal("at", before).cast(nw.Int64))
    rows = rows.filter(nw.col("until") > nw.col("at"))
    return rows.select(*by, "at"), rows.select(*by, at="until")


def _shared_changes(events: Rows, numbers: Rows, spec: FeatureSpec) -> Iterator[_Changes]:
    """Changes of a number of different values: of an account's, and of those that a lead alone has.

    The number of the only lead that has a value is the sum of the numbers of all that have it.
    """
    named = events.filter(~nw.col(str(spec.of)).is_null()).with_columns(value=nw.col(str(spec.of)))
    begins, ends = _presence(named, spec, ("account_id", "value", "lead_id"))
    steps = [begins.with_columns(change=_integer(1))]
    if spec.within is not None:
        steps.append(ends.with_columns(change=_integer(-1)))
    rows = nw.concat(steps).join(numbers, on="lead_id", how="inner")
    rows = rows.with_columns(number=nw.col("number").cast(nw.Int64) * nw.col("change"))
    rows = rows.group_by("account_id", "value", "at").agg(
        nw.col("change").sum(), nw.col("number").sum(), nw.col("lead_id").max()
    )
    by, order = ("account_id", "value"), "at"
    rows = rows.with_columns(
        holders=nw.col("change").cum_sum().over(*by, order_by=order),
        holder=nw.col("number").cum_sum().over(*by, order_by=order),
    )
    rows = rows.with_columns(
        present=nw.when(nw.col("holders") > 0).then(_integer(1)).otherwise(_integer(0)),
        alone=nw.when(nw.col("holders") == 1).then(nw.col("holder")).otherwise(_integer(_NOBODY)),
    )
    rows = rows.with_columns(
        was_present=nw.col("present").shift(1).over(*by, order_by=order).fill_null(0),
        was_alone=nw.col("alone").shift(1).over(*by, order_by=order).fill_null(_NOBODY),
    )
    yield _changes_of(rows, {column_of(spec): nw.col("present") - nw.col("was_present")})
    rows = rows.filter(nw.col("alone") != nw.col("was_alone"))
    for column, weight in (("alone", 1), ("was_alone", -1)):
        own = rows.select("account_id", "at", number=nw.col(column).cast(nw.Int64))
        yield _changes_of(
            own.join(numbers.with_columns(nw.col("number").cast(nw.Int64)), on="number", how="inner"),
            {_own(spec): _integer(weight)},
        )


def _add_up(changes: Iterable[_Changes], snapshots: Rows, specs: Sequence[FeatureSpec]) -> Rows:
    """The snapshots with the sums of their accounts less their own, one column a spec."""
    columns = list(dict.fromkeys([*(column_of(spec) for spec in specs), *map(_own, specs)]))
    frames = [
        rows.select(
            *_KEY, *(nw.col(c) if c in names else _integer(0).alias(c) for c in columns), snapshot=_integer(0)
        )
        for rows, names in changes
    ]
    queries = snapshots.select(
        "account_id", "lead_id", *(_integer(0).alias(c) for c in columns), at=nw.col("as_of").cast(nw.Int64)
    )
    frames.append(queries.select(*_KEY, *columns, snapshot=_integer(1)))
    rows = nw.concat(frames).group_by(*_KEY, "snapshot").agg(*(nw.col(c).sum() for c in columns))

    def sums(key: str, name: str) -> nw.Expr:
        # A change in the second of a snapshot comes before it.
        return nw.col(name).cum_sum().over(key, order_by=["at", "snapshot"])

    rows = rows.with_columns(
        (sums("account_id", column_of(spec)) - sums("lead_id", _own(spec))).alias(f"{column_of(spec)}:sum")
        for spec in specs
    )
    sums_by_name = (nw.col(f"{column_of(spec)}:sum").cast(nw.Int64).alias(column_of(spec)) for spec in specs)
    return rows.filter(nw.col("snapshot") == 1).select("lead_id", *sums_by_name, as_of=nw.col("at"))


def _extreme(snapshots: Rows, events: Rows, spec: FeatureSpec) -> Rows:
    """The keys of the snapshots and a column for a spec that reads the latest or the earliest event."""
    if spec.reduce == "span":
        last = _extreme(snapshots, events, replace(spec, reduce="recency", name="last"))
        first = _extreme(snapshots, events, replace(spec, reduce="tenure", name="first"))
        ends = last.join(first, on=list(KEYS), how="inner")
        return ends.select(*KEYS, (nw.col("first") - nw.col("last")).alias(column_of(spec)))
    ranked = _rank(events, spec)
    has_ends = spec.reduce in {"tenure", "earliest"} and spec.within is not None
    rows = (_best_two_in_window if has_ends else _best_two)(ranked, snapshots, spec)
    rows = rows.join(ranked.select(best="rank", holder="lead_id"), on="best", how="left")
    is_own = nw.col("holder") == nw.col("lead_id")
    rows = rows.with_columns(rank=nw.when(is_own).then(nw.col("second")).otherwise(nw.col("best")))
    rows = rows.join(ranked.select("rank", "occurred_at", "value"), on="rank", how="left")
    age = nw.col("as_of") - nw.col("occurred_at")
    value = nw.col("value") if spec.reduce in PICKS else age
    if spec.within is not None:
        value = nw.when(age < spec.within).then(value)
    return rows.select(*KEYS, value.alias(column_of(spec)))


def _rank(events: Rows, spec: FeatureSpec) -> Rows:
    """The events that a spec reads, ranked by how much they are what it looks for; no two are equal."""
    rows = events.filter(mask_rows(replace(spec, within=None)))
    value = nw.col(str(spec.of)) if spec.reduce in PICKS else _integer(0)
    rows = rows.select(*_KEY, "occurred_at", "known_at", value=value)
    sign = -1 if spec.reduce in {"tenure", "earliest"} else 1
    rows = rows.with_columns(order=nw.col("occurred_at") * sign)
    rows = rows.with_row_index("rank", order_by=["order", "value", "lead_id", "at"])
    return rows.with_columns(nw.col("rank").cast(nw.Int64))


def _best_two(ranked: Rows, snapshots: Rows, spec: FeatureSpec) -> Rows:  # noqa: ARG001
    """The snapshots with the ``best`` rank of their account, and the best of any other lead (``second``).

    Where another lead takes the lead, the best so far is the second; where it does not, the event itself is.
    """
    by, order = ("account_id",), ["at", "rank"]
    rows = ranked.with_columns(best=nw.col("rank").cum_max().over(*by, order_by=order))
    rows = rows.with_columns(
        previous=nw.col("best").shift(1).over(*by, order_by=order).fill_null(_NOBODY).cast(nw.Int64)
    )
    rows = rows.join(ranked.select(previous="rank", holder="lead_id"), on="previous", how="left")
    is_other = nw.col("holder") != nw.col("lead_id")
    second = nw.when(is_other).then(nw.min_horizontal("rank", "previous")).otherwise(_integer(_NOBODY))
    steps = rows.select(*_KEY, "rank", second=second.cast(nw.Int64), snapshot=_integer(0))
    queries = snapshots.select(
        "account_id",
        "lead_id",
        at=nw.col("as_of"),
        rank=_integer(_NOBODY),
        second=_integer(_NOBODY),
        snapshot=_integer(1),
    )
    rows = nw.concat([steps, queries]).with_columns(
        best=nw.col("rank").cum_max().over("account_id", order_by=["at", "snapshot"]),
        second=nw.col("second").cum_max().over("account_id", order_by=["at", "snapshot"]),
    )
    return rows.filter(nw.col("snapshot") == 1).select("lead_id", "best", "second", as_of=nw.col("at"))


def _best_two_in_window(ranked: Rows, snapshots: Rows, spec: FeatureSpec) -> Rows:
    """As ``_best_two`` for the oldest event within a window, which another one may outlast.

    Every moment at which an account has a snapshot is paired with its events.
    """
    moments = snapshots.select("account_id", "as_of").unique()
    pairs = moments.join(ranked, on="account_id", how="inner")
    visible: nw.Expr = is_visible(nw.col("occurred_at"), nw.col("known_at"), nw.col("as_of"))
    pairs = pairs.filter(visible, nw.col("as_of") - nw.col("occurred_at") < spec.within)
    by = ["account_id", "as_of"]
    best = pairs.group_by(*by).agg(best=nw.col("rank").max())
    best = best.join(ranked.select(best="rank", holder="lead_id"), on="best", how="left")
    others = pairs.join(best, on=by, how="inner").filter(nw.col("lead_id") != nw.col("holder"))
    second = others.group_by(*by).agg(second=nw.col("rank").max())
    rows = (
        snapshots.select("account_id", *KEYS)
        .join(best.drop("holder"), on=by, how="left")
        .join(second, on=by, how="left")
    )
    return rows.select(
        *KEYS, *(nw.col(name).fill_null(_NOBODY).cast(nw.Int64) for name in ("best", "second"))
    )
