"""Snapshots and labels as expressions of Ibis: those of ``features.cohort`` and ``features.labels``.

The tables are those of ``features.warehouse.history_tables``. A least or greatest value is taken of columns
without nulls only: some warehouses answer null where one of them is null, others do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from features.cohort import CREATED, first_grid_distance
from features.point_in_time import is_visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.cohort import CohortRule
    from features.labels import LabelSpec

Table = Any
"""A table expression of Ibis, whose columns are attributes that a type checker does not know."""

_KEYS = ("lead_id", "as_of")
# The grid of a lead that came to be in 1800 ends within this time.
_LONGEST_GRID = 400 * 366 * 86_400


def open_lead_rows(tables: Mapping[str, Table], rule: CohortRule) -> Table:
    """One snapshot of every lead that is open, as ``open_lead_snapshots`` takes them.

    Args:
        tables: ``leads``, ``transitions``, and ``observation`` with its end, ``observed_until``.
        rule: Its ``closed`` stages say which leads are not open.
    """
    leads, until = _observed(tables["leads"], tables), ibis._.observed_until
    known = _observed(tables["transitions"], tables)
    closings = known.filter(_is_any(known.stage, rule.closed))
    if rule.reopen:
        reopenings = known.filter(_is_any(known.stage, rule.reopen))
        last = reopenings.group_by("lead_id").aggregate(reopened_at=reopenings.occurred_at.max())
        joined = closings.left_join(last, "lead_id")
        closings = joined.filter(joined.reopened_at.isnull() | (joined.occurred_at >= joined.reopened_at))
    return leads.anti_join(closings, "lead_id").select("lead_id", as_of=until)


def _observed(rows: Table, tables: Mapping[str, Table]) -> Table:
    """The rows that were known before the end of observation, and that end beside them."""
    joined = rows.cross_join(tables["observation"])
    return joined.filter(is_visible(joined.known_at, joined.known_at, joined.observed_until))


def _is_any(column: Any, words: tuple[str, ...]) -> Any:
    return column.isin(list(words)) if words else ibis.literal(value=False)


def drawn_rows(tables: Mapping[str, Table], rule: CohortRule) -> Table:
    """The snapshots that a rule asks for, as ``draw_snapshots`` takes them.

    Args:
        tables: ``leads``, of which those that are drawn, ``transitions``, ``observation``, and ``digits``
            with the numbers from 0 to 9.
        rule: When snapshots are taken of an open lead.
    """
    leads = tables["drawn"].cross_join(tables["observation"])
    moments = _entry_rows(leads, tables["transitions"], rule)
    if rule.every is not None:
        moments.append(_grid_rows(leads, tables, rule))
    candidates = ibis.union(*moments, distinct=True) if len(moments) > 1 else moments[0].distinct()
    rows = candidates.inner_join(leads, "lead_id")
    rows = rows.filter(rows.as_of > rows.known_at, rows.as_of <= _end(rows, rule), *_bounds(rows, rule))
    return _while_open(rows.select(*_KEYS), tables["transitions"], rule)


def _entry_rows(leads: Table, transitions: Table, rule: CohortRule) -> list[Table]:
    entries = transitions.filter(_is_any(transitions.stage, rule.on))
    moments = [entries.select("lead_id", as_of=_moment(entries) + 1)]
    if CREATED in rule.on:
        moments.append(leads.select("lead_id", as_of=leads.known_at + 1))
    return moments


def _moment(events: Table) -> Any:
    return ibis.greatest(events.occurred_at, events.known_at)


def _end(rows: Table, rule: CohortRule) -> Any:
    return rows.observed_until if rule.end is None else ibis.least(rows.observed_until, rule.end)


def _bounds(rows: Table, rule: CohortRule) -> list[Any]:
    bounds = []
    if rule.start is not None:
        bounds.append(rows.as_of >= rule.start)
    if rule.until_age is not None:
        bounds.append(rows.as_of - rows.created_at <= rule.until_age)
    return bounds


def _grid_rows(leads: Table, tables: Mapping[str, Table], rule: CohortRule) -> Table:
    """The moments of the grid, numbered digit by digit: not every warehouse can make a row out of a number.

    A number whose first digits are beyond the end of the grid is left out before it has further ones.
    """
    every = int(rule.every or 0)
    leads = leads.mutate(grid_end=_grid_end(leads, rule), number=ibis.literal(0, "int64"))
    if not rule.reopen:
        ends = _closing_rows(tables["transitions"], rule)
        leads = leads.left_join(ends, "lead_id").select(*leads.columns, "closed_at")
        closed = ibis.coalesce(leads.closed_at, leads.grid_end)
        leads = leads.mutate(grid_end=ibis.least(leads.grid_end, closed))
    first = leads.created_at + first_grid_distance(leads.created_at, every)
    rows = leads.select("lead_id", "grid_end", "number", first=first)
    for place in reversed(range(len(str(_LONGEST_GRID // every)))):
        pairs = rows.cross_join(tables["digits"])
        number = pairs.number + pairs.digit * 10**place
        pairs = pairs.mutate(number=number)
        rows = pairs.filter(pairs.first + pairs.number * every <= pairs.grid_end)
        rows = rows.select("lead_id", "first", "grid_end", "number")
    return rows.select("lead_id", as_of=rows.first + rows.number * every)


def _grid_end(leads: Table, rule: CohortRule) -> Any:
    end = _end(leads, rule)
    return end if rule.until_age is None else ibis.least(end, leads.created_at + rule.until_age)


def _closing_rows(transitions: Table, rule: CohortRule) -> Table:
    ends = transitions.filter(_is_any(transitions.stage, rule.closed))
    return ends.group_by("lead_id").aggregate(closed_at=_moment(ends).min())


def _while_open(candidates: Table, transitions: Table, rule: CohortRule) -> Table:
    """The moments at which their leads are open: not closed before, or opened again since."""
    if not rule.reopen:
        closed = candidates.left_join(_closing_rows(transitions, rule), "lead_id")
        is_open = closed.closed_at.isnull() | (closed.as_of <= closed.closed_at)
        return closed.filter(is_open).select(*_KEYS)
    closes = _is_any(transitions.stage, rule.closed)
    changes = transitions.filter(closes | _is_any(transitions.stage, rule.reopen))
    changes = changes.select("lead_id", moment=_moment(changes), closes=closes)
    joined = candidates.left_join(
        changes, [candidates.lead_id == changes.lead_id, changes.moment < candidates.as_of]
    )
    last = joined.group_by(*_KEYS).aggregate(
        closed_at=ibis.ifelse(joined.closes, joined.moment, ibis.null("int64")).max(),
        opened_at=ibis.ifelse(joined.closes, ibis.null("int64"), joined.moment).max(),
    )
    is_open = last.closed_at.isnull() | (last.opened_at > last.closed_at)
    return last.filter(is_open).select(*_KEYS)


def label_rows(tables: Mapping[str, Table], spec: LabelSpec) -> Table:
    """The labels of snapshots, as ``compute_labels`` gives them.

    Args:
        tables: ``snapshots``, ``transitions`` and ``observation``.
        spec: The target stage and the window.

    Returns:
        A row a snapshot: its keys, ``label``, ``settled_at`` and ``matured``.
    """
    rows = tables["snapshots"].cross_join(tables["observation"])
    start = rows.as_of + spec.lead_time
    rows = rows.mutate(start=start, end=start + spec.horizon)
    won = _first_known(rows, tables, (spec.stage,), spec, "start").rename(won="known")
    lost = _first_known(rows, tables, spec.closed, spec, "as_of").rename(lost="known")
    rows = rows.left_join(won, list(_KEYS)).select(*rows.columns, "won")
    rows = rows.left_join(lost, list(_KEYS)).select(*rows.columns, "lost")
    settled = rows.end + spec.settle
    is_matured = settled <= rows.observed_until
    is_lost = rows.lost.notnull() & is_matured if spec.reopen else rows.lost.notnull()
    is_won = rows.won.notnull() & (rows.lost.isnull() | (rows.won <= rows.lost))
    known = ibis.ifelse(is_won | rows.lost.isnull(), rows.won, rows.lost)
    at = ibis.ifelse(is_won, rows.won + 1, ibis.null("int64")) if spec.reopen else known + 1
    return rows.select(
        *_KEYS,
        label=ibis.cases((is_won, 1), (is_lost | is_matured, 0)),
        settled_at=ibis.coalesce(at, ibis.ifelse(is_matured, settled, ibis.null("int64"))),
        matured=is_matured,
    )


def _first_known(
    rows: Table, tables: Mapping[str, Table], stages: tuple[str, ...], spec: LabelSpec, start_column: str
) -> Table:
    """Per snapshot, when the CRM first knew of an entry into one of ``stages`` in ``[start_column, end)``."""
    entries = _known_entries(tables, stages)
    pairs = rows.inner_join(entries, "lead_id")
    is_late = (pairs.occurred_at < pairs.as_of) & (pairs.known_at >= pairs.as_of)
    moment = ibis.ifelse(is_late, pairs.known_at, pairs.occurred_at)
    pairs = pairs.filter(
        moment >= pairs[start_column], moment < pairs.end, pairs.known_at < pairs.end + spec.settle
    )
    if spec.reopen and stages == spec.closed:
        pairs = _not_reopened(pairs, tables, spec)
    return pairs.group_by(*_KEYS).aggregate(known=pairs.known_at.min())


def _known_entries(tables: Mapping[str, Table], stages: tuple[str, ...]) -> Table:
    known = _observed(tables["transitions"], tables)
    return known.filter(_is_any(known.stage, stages)).select("lead_id", "occurred_at", "known_at")


def _not_reopened(closings: Table, tables: Mapping[str, Table], spec: LabelSpec) -> Table:
    """The closings that were not undone, as far as that is known when the window is over."""
    reopenings = _known_entries(tables, spec.reopen).rename(
        reopened_at="occurred_at", reopening_known_at="known_at"
    )
    return closings.anti_join(
        reopenings,
        [
            closings.lead_id == reopenings.lead_id,
            reopenings.reopened_at > closings.occurred_at,
            reopenings.reopening_known_at < closings.end + spec.settle,
        ],
    )
