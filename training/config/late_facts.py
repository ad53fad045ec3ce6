"""Columns whose names say that they are filled by the outcome, or by a sync: no attributes, no times."""

from __future__ import annotations

import re

from features.ingest.availability import looks_post_outcome

_SYNC = re.compile(
    r"^_?(fivetran|dlt|airbyte|sdc|ab|stitch|hevo|rivery|etl|dw|dbt|meltano)_"
    r"|system_?mod_?stamp|(^|_)(synced|sync(hronised|hronized)?|loaded|ingested|extracted|batched|row_?version)(_?at|_?on|$)"
    r"|^(version|row)_?(number|stamp)$|__hevo",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"(^|[_\s-])(is|was|ist|hat)?[_\s-]?(converted|convertida?|konvertiert)([_\s-]|$)|^isconverted$",
    re.IGNORECASE,
)
_STAGE = re.compile(
    r"(^|[_\s-]|lead|contact|kontakt|deal|lifecycle|sub)(stage|status|statuscode|statecode|phase|state[_\s-]?code|lifecycle)"
    r"(id|[_\s-]|$)|lifecycle|probabilit|wahrscheinlichkeit|forecast",
    re.IGNORECASE,
)
_OWNER = re.compile(
    r"owner|besitzer|inhaber|zuständig|betreuer|assigned|assignee|propietari|propriétaire|responsab|sales[_\s-]?rep"
    r"|(^|[_\s-])(user|team)_?id$|verantwortlich",
    re.IGNORECASE,
)
_DEAL = re.compile(
    r"(deal|opportunit|abschluss|auftrag|won|closed?|expected|recurring|prorated|quote|angebot)[\w\s-]*"
    r"(amount|value|revenue|betrag|wert|umsatz|volumen|count|number|anzahl)"
    r"|(number|count|anzahl|num)[\w\s-]*(deal|opportunit|sales|activit|aktivität|meeting|call|contacted|notes|email|view|visit)"
    r"|^(deal_?)?(amount|value|betrag|auftragswert)$",
    re.IGNORECASE,
)
_NOTES = re.compile(
    r"(^|[_\s-])(internal[_\s-]?)?(notes?|notizen?|comments?|kommentare?|bemerkung(en)?|anmerkung(en)?|remarks?"
    r"|description|beschreibung)([_\s-]?(text|body|intern|__c))?$",
    re.IGNORECASE,
)
_CHANGED = re.compile(
    r"modif|updat|chang|geändert|letzte|recent|latest|last(?!\s*_?-?name)|viewed|touched|next[_\s-]|nächste",
    re.IGNORECASE,
)
_PERSON = re.compile(r"^(last|first|full|middle)[_\s-]*name$|^(nach|vor)name$|^name$", re.IGNORECASE)


def is_sync_stamp(column: str) -> bool:
    """Whether a column was written by the tool that copied the table, not by the CRM's users.

    >>> [is_sync_stamp(name) for name in ("_fivetran_synced", "SystemModstamp", "_dlt_load_id", "created_at")]
    [True, True, True, False]
    """
    return _SYNC.search(column) is not None


def is_overwritten(column: str) -> bool:
    """Whether the name of a date says that it is overwritten again and again, as the last activity is.

    >>> [is_overwritten(name) for name in ("last_activity_date", "LastModifiedDate", "Last Name")]
    [True, True, False]
    """
    return not _PERSON.search(column) and _CHANGED.search(column) is not None


def late_reason(column: str, *, is_account: bool = False) -> str | None:
    """Why a column looks as if it was filled only with or after the outcome; None where it does not.

    >>> late_reason("is_converted"), late_reason("Contact owner"), late_reason("Last Name")
    ('it says the outcome itself', 'sales was given the lead', None)
    >>> late_reason("Notes"), late_reason("Message")
    ('people write into it at any time, names of persons too', None)
    """
    if _PERSON.search(column):
        return None
    if is_sync_stamp(column):
        return "the tool that copied the table wrote it"
    reasons = ((_STATE, "it says the outcome itself"), (_STAGE, "the stage of today"))
    further = (
        (_OWNER, "sales was given the lead"),
        (_DEAL, "it comes with the outcome"),
        (_NOTES, "people write into it at any time, names of persons too"),
    )
    for pattern, why in further if is_account else (*reasons, *further):
        if pattern.search(column):
            return why
    return "its name speaks of the end" if looks_post_outcome(column) or is_overwritten(column) else None
