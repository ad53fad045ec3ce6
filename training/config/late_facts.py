"""Columns whose names say that they are filled by the outcome, or by a sync: no attributes, no times."""

from __future__ import annotations

import re

from features.ingest.availability import looks_post_outcome
from features.word_lists import bare_heading, late_fact_pattern

_SYNC = re.compile(
    r"^_?(fivetran|dlt|airbyte|sdc|ab|stitch|hevo|rivery|etl|dw|dbt|meltano)_"
    r"|system_?mod_?stamp|(^|_)(synced|sync(hronised|hronized)?|loaded|ingested|extracted|batched|row_?version)(_?at|_?on|$)"
    r"|^(version|row)_?(number|stamp)$|__hevo|^uuid_ts$",
    re.IGNORECASE,
)
# Two words that need not stand side by side; single ones are in vocabulary/late_facts.toml.
_DEAL = re.compile(
    r"(deal|opportunit|abschluss|auftrag|won|closed?|expected|estimated|projected|recurring|prorated|quote|angebot)[\w\s-]*"
    r"(amount|value|revenue|betrag|wert|umsatz|volumen|count|number|anzahl)"
    r"|(number|count|anzahl|num)[\w\s-]*(deal|opportunit|sales|activit|aktivität|meeting|call|contacted|notes|email|view|visit)"
    r"|^(deal_?)?(amount|value|betrag|auftragswert)$",
    re.IGNORECASE,
)
_PERSON = re.compile(r"^(last|first|full|middle)[_\s-]*name$|^(nach|vor)name$|^name$", re.IGNORECASE)
_OF_ACCOUNTS_TOO = (
    ("owner", "sales was given the lead"),
    ("deal", "it comes with the outcome"),
    ("activities", "it is counted on after the outcome"),
    ("notes", "people write into it at any time, names of persons too"),
)
_OF_LEADS = (("converted", "it says the outcome itself"), ("stage", "the stage of today"), *_OF_ACCOUNTS_TOO)


def is_sync_stamp(column: str) -> bool:
    """Whether a column was written by the tool that copied the table, not by the CRM's users.

    >>> [is_sync_stamp(name) for name in ("_fivetran_synced", "SystemModstamp", "_dlt_load_id", "created_at")]
    [True, True, True, False]
    """
    return _SYNC.search(column) is not None


def is_overwritten(column: str) -> bool:
    """Whether the name of a date says that it is overwritten again and again, as the last activity is.

    >>> [is_overwritten(name) for name in ("last_activity_date", "Deal - Atualizado em", "Last Name")]
    [True, True, False]
    """
    return not _PERSON.search(bare_heading(column)) and late_fact_pattern("overwritten").search(column)


def is_owner(column: str) -> bool:
    """Whether the name of a column says that it holds who works on a lead.

    >>> [is_owner(name) for name in ("Activity Owner", "Zuständig", "Activity Type")]
    [True, True, False]
    """
    return late_fact_pattern("owner").search(column)


def late_reason(column: str, *, is_account: bool = False) -> str | None:
    """Why a column looks as if it was filled only with or after the outcome; None where it does not.

    >>> late_reason("is_converted"), late_reason("Contact owner"), late_reason("Last Name")
    ('it says the outcome itself', 'sales was given the lead', None)
    >>> late_reason("Notes"), late_reason("Message")
    ('people write into it at any time, names of persons too', None)
    >>> late_reason("Negócio - Valor"), late_reason("Deal - Anzahl der Mitarbeiter")
    ('it comes with the outcome', None)
    >>> late_reason("Estimated Value"), late_reason("Assign")
    ('it comes with the outcome', 'sales was given the lead')
    """
    bare = bare_heading(column)
    if _PERSON.search(bare):
        return None
    if is_sync_stamp(column):
        return "the tool that copied the table wrote it"
    for concept, why in _OF_ACCOUNTS_TOO if is_account else _OF_LEADS:
        pattern = late_fact_pattern(concept)
        if pattern.search(bare) or (concept == "deal" and _DEAL.search(bare)):
            return why
    return "its name speaks of the end" if looks_post_outcome(column) or is_overwritten(column) else None
