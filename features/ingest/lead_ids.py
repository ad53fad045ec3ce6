"""Whose row it is, where an event names a lead by one of several ids, or by the id of what it became."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.known_leads import ACCOUNT
from features.ingest.row_conditions import TRUTH_WORDS
from features.parsing import parse_categories

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from features.ingest.known_leads import LeadDirectory
    from features.ingest.row_validation import ValidatedRows

FURTHER_ID = "leadloop.lead_id"
_KEY, _LEAD = "leadloop.key", "leadloop.lead"


def further_ids(lead_id: pl.Series, columns: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """What further columns of leads call a lead: each value (``leadloop.key``) and the lead's id."""
    parts = (
        pl.DataFrame([parse_categories(columns[name]).alias(_KEY), lead_id.alias(_LEAD)]) for name in names
    )
    return pl.concat(parts).drop_nulls().unique(maintain_order=True)


def resolve_lead_ids(
    rows: ValidatedRows, leads: LeadDirectory | None, further: pl.DataFrame | None
) -> ValidatedRows:
    """The rows with the id of a lead in ``lead_id``: the first of their ids that is one, or stands for one.

    An id of a lead goes before what further columns say; an id that stands for several leads is a row of
    each of them. Where no id is known, the first that there is stays, to be named as a bad one. Addresses of
    e-mail may differ in capital letters.
    """
    frame = rows.frame
    choices = [name for name in frame.columns if name == "lead_id" or name.startswith(FURTHER_ID)]
    if leads is None or "lead_id" not in choices or (len(choices) == 1 and further is None):
        return rows
    known = _known_ids(leads.frame["lead_id"], further)
    ids, changed = _spelled_as_known([parse_categories(frame[name]) for name in choices], known[_KEY])
    keys = known[_KEY].implode()
    first_known = [id_column.set(~id_column.is_in(keys), None) for id_column in ids]
    chosen = pl.DataFrame([each.alias(str(i)) for i, each in enumerate((*first_known, *ids))])
    resolved = (
        frame.drop(choices)
        .with_columns(chosen.select(pl.coalesce(pl.all())).to_series().alias(_KEY))
        .join(known, on=_KEY, how="left", maintain_order="left")
        .with_columns(pl.coalesce(_LEAD, _KEY).alias("lead_id"))
        .drop(_KEY, _LEAD)
    )
    return replace(rows, frame=resolved).add_notice(_OTHER_CAPITALS, changed)


_OTHER_CAPITALS = "rows name a lead by an address that differs in capital letters alone; they are that lead's"


def _spelled_as_known(choices: Sequence[pl.Series], known: pl.Series) -> tuple[list[pl.Series], int]:
    """The ids with addresses as the leads spell them, and in how many rows they were spelled otherwise."""
    ids = [match_emails(each, known) for each in choices]
    changed = (matched != each for matched, each in zip(ids, choices, strict=True))
    rows = pl.select(pl.any_horizontal(*(each.fill_null(value=False) for each in changed))).to_series()
    return ids, int(rows.sum())


def _known_ids(lead_id: pl.Series, further: pl.DataFrame | None) -> pl.DataFrame:
    own = pl.DataFrame([lead_id.alias(_KEY), lead_id.alias(_LEAD)])
    if further is None:
        return own
    return pl.concat([own, further.filter(~pl.col(_KEY).is_in(lead_id.implode()))])


def leave_out_deleted(
    rows: ValidatedRows, flag: str | None, merged: pl.Series | None, also: Collection[str] = ()
) -> tuple[ValidatedRows, pl.Series | None]:
    """The leads without those that a column says were deleted, and the ids of these.

    What the columns ``also`` call a deleted lead is one of its ids. A lead that was ``merged`` into another
    one stays: CRMs call it deleted, too.
    """
    if flag is None:
        return rows, None
    is_deleted = rows.frame[flag].cast(pl.String).str.to_lowercase().is_in(TRUTH_WORDS[True])
    ids = parse_categories(rows.frame["lead_id"])
    stays = ids.is_in([] if merged is None else merged.implode()).fill_null(value=False)
    is_deleted = is_deleted.fill_null(value=False) & ~stays
    others = [parse_categories(rows.frame[column]) for column in also if column in rows.frame.columns]
    gone = pl.concat([each.filter(is_deleted).drop_nulls() for each in (ids, *others)])
    living = pl.concat([each.filter(~is_deleted).drop_nulls() for each in (ids, *others)])
    gone = gone.filter(~gone.is_in(living.implode()))
    remaining = replace(rows, frame=rows.frame.filter(~is_deleted))
    return remaining.add_notice("leads were deleted and are left out", int(is_deleted.sum())), gone


def leave_out_rows_of(rows: ValidatedRows, deleted: pl.Series | None) -> ValidatedRows:
    """The events without those of deleted leads, which are counted but no bad rows."""
    if deleted is None or not len(deleted):
        return rows
    gone = parse_categories(rows.frame["lead_id"]).is_in(deleted.implode()).fill_null(value=False)
    left = replace(rows, frame=rows.frame.filter(~gone))
    return left.add_notice(
        "rows belong to deleted leads and are left out; they are no bad rows", int(gone.sum())
    )


def spread_accounts(rows: ValidatedRows, leads: LeadDirectory | None) -> ValidatedRows:
    """The rows of accounts as rows of their leads: one for each lead of the account.

    Accounts without leads are common; their rows are left out and are no bad ones.
    """
    if leads is None:
        return rows
    members = leads.frame.select("lead_id", pl.col(ACCOUNT).alias(_KEY)).drop_nulls()
    frame = rows.frame.with_columns(parse_categories(rows.frame["account_id"]).alias(_KEY))
    lonely = frame[_KEY].is_not_null() & ~frame[_KEY].is_in(members[_KEY].implode())
    joined = frame.filter(~lonely).join(members, on=_KEY, how="left", maintain_order="left").drop(_KEY)
    spread = replace(rows, frame=joined)
    return spread.add_notice(
        "rows belong to accounts without leads and are left out; they are no bad rows", int(lonely.sum())
    )


def match_emails(ids: pl.Series, known: pl.Series) -> pl.Series:
    """The ids in the spelling of the ``known`` ones where both are addresses that differ in case alone.

    An id that is known as it is stays, and so does an address that several known ones differ from so.

    >>> known = pl.Series(["Ann@x.de", "b@x.de", "B@x.de", "L1"])
    >>> match_emails(pl.Series(["ann@X.de", "B@X.DE", "l1", "b@x.de"]), known).to_list()
    ['Ann@x.de', 'B@X.DE', 'l1', 'b@x.de']
    """
    addresses = known.filter(known.str.contains("@", literal=True)).unique()
    if addresses.is_empty() or not ids.str.contains("@", literal=True).any():
        return ids
    spelled = pl.DataFrame([addresses.alias(_LEAD), addresses.str.to_lowercase().alias(_KEY)])
    single = spelled.filter(pl.col(_KEY).is_unique())
    lowered = pl.DataFrame([ids.str.to_lowercase().alias(_KEY)])
    matched = lowered.join(single, on=_KEY, how="left", maintain_order="left")[_LEAD]
    return ids.zip_with(matched.is_null() | ids.is_in(addresses.implode()).fill_null(value=True), matched)


def unify_email_case(rows: ValidatedRows, leads: LeadDirectory | None) -> ValidatedRows:
    """The rows with the addresses of leads in the spelling of the leads."""
    if leads is None or "lead_id" not in rows.frame.columns:
        return rows
    ids = parse_categories(rows.frame["lead_id"])
    matched = match_emails(ids, leads.frame["lead_id"])
    changed = int((matched != ids).sum())
    if not changed:
        return rows
    unified = replace(rows, frame=rows.frame.with_columns(matched.alias("lead_id")))
    return unified.add_notice(_OTHER_CAPITALS, changed)


def ambiguous_addresses(lead_id: pl.Series) -> int:
    """How many ids of leads are addresses that differ from those of others in capital letters alone."""
    addresses = lead_id.filter(lead_id.str.contains("@", literal=True))
    return int(addresses.str.to_lowercase().is_duplicated().sum())
