"""Drafts a ``leadloop.toml`` for the files of a CRM, to be read and corrected."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from features.history import TOUCHPOINT_SCHEMA
from features.ingest.quarantine import SourceError
from training.config.draft_text import TableDraft, render_flat_config, render_history_config
from training.config.file_survey import FileProfile, find_creation_date, find_join_key, profile_file

if TYPE_CHECKING:
    from collections.abc import Sequence

_STAGE = re.compile(r"stage|status|phase", re.IGNORECASE)
_KIND = re.compile(r"kind|type|event|activity|action", re.IGNORECASE)
_SUFFIX = re.compile(r"[_\s-]*(date|at|on|time|timestamp|datum)$", re.IGNORECASE)


def draft_config(files: Sequence[Path], folder: Path | None = None) -> str:
    """Draft a configuration.

    Args:
        files: The exports of a CRM.
        folder: Paths in the draft are relative to it. Default: the current folder.

    Returns:
        The text of a ``leadloop.toml`` with comments.

    Raises:
        SourceError: A file cannot be read, or nothing in the files looks like an outcome.
    """
    profiles = [profile_file(path) for path in files]
    where = (folder or Path.cwd()).resolve()
    return _draft_one_file(profiles[0], where) if len(profiles) == 1 else _history(profiles, where)


def _draft_one_file(profile: FileProfile, folder: Path) -> str:
    """The draft of one file: a flat export if it holds an outcome, else a history by its dates of stages."""
    if profile.outcome is not None:
        return render_flat_config(profile, profile.outcome, folder)
    if (stages := profile.stage_outcomes or profile.checkbox_outcome) is not None:
        return render_flat_config(profile, stages.column, folder, stages)
    if not profile.keys or len(profile.dates) < len({"created", "won"}):
        raise SourceError(_no_outcome_message(profile))
    return _history([profile], folder)


def _no_outcome_message(profile: FileProfile) -> str:
    pairs = ", ".join(profile.two_valued) or "none"
    return (
        f"nothing in {profile.path} looks like an outcome; if it holds one, name it: "
        f"leadloop check --leads {shlex.quote(str(profile.path))} --label COLUMN "
        f"(columns with two values: {pairs})"
    )


def _history(profiles: Sequence[FileProfile], folder: Path) -> str:
    leads = _leads(profiles)
    key = leads.keys[0]
    parts = [part for other in profiles if other is not leads for part in _other(leads, other)]
    created = leads.creation_date or find_creation_date(leads.dates, leads)
    if created is None:
        msg = f"{leads.path} has no date column that says when a lead came to be"
        raise SourceError(msg)
    parts += _own_transitions(leads, key, created)
    parts, aside = _one_accounts(parts)
    account = next(({"account_id": part.joins} for part in parts if part.joins), {})
    columns = {"lead_id": key, "created_at": created} | account
    return render_history_config([TableDraft("[leads]", leads, columns), *parts], aside, folder)


def _one_accounts(parts: Sequence[TableDraft]) -> tuple[list[TableDraft], list[TableDraft]]:
    """The parts with no accounts table but the longest, and the other accounts tables."""
    tables = sorted((p for p in parts if p.joins), key=lambda p: p.profile.frame.height, reverse=True)
    return [part for part in parts if part not in tables[1:]], tables[1:]


def _leads(profiles: Sequence[FileProfile]) -> FileProfile:
    """The file of leads: the one whose key most other files refer to."""
    keyed = [profile for profile in profiles if profile.keys and profile.dates]
    if not keyed:
        msg = "none of the files names every lead once and says when it came to be"
        raise SourceError(msg)
    return max(
        keyed,
        key=lambda profile: (
            sum(_covers(profile, other) for other in profiles if other is not profile),
            profile.frame.height,
        ),
    )


def _covers(profile: FileProfile, other: FileProfile) -> bool:
    return bool(other.dates) and find_join_key(profile, other) is not None


def _other(leads: FileProfile, other: FileProfile) -> list[TableDraft]:
    """The table that a further file is: events of the leads, or their accounts; empty if neither."""
    if (shared := find_join_key(leads, other)) is not None and other.dates:
        return [_events(other, shared[1])]
    if (shared := find_join_key(other, leads)) is not None:
        return [TableDraft("[accounts]", other, {"account_id": shared[0]}, joins=shared[1])]
    return []


def _events(other: FileProfile, lead: str) -> TableDraft:
    occurred = find_creation_date(other.dates, other) or ""
    columns = {"lead_id": lead, "occurred_at": occurred}
    words = [name for name in other.low_cardinality if name != lead]
    stages = (name for name in words if _STAGE.search(name) and name not in TOUCHPOINT_SCHEMA)
    if stage := next(stages, None):
        return TableDraft("[[transitions]]", other, columns | {"stage": stage})
    if lead in other.keys:
        return TableDraft("[[transitions]]", other, columns, {"stage": _SUFFIX.sub("", occurred) or occurred})
    kind = next((name for name in words if _KIND.search(name)), next(iter(words), None))
    if kind is None:
        return TableDraft("[[touchpoints]]", other, columns, {"kind": other.path.stem})
    return TableDraft("[[touchpoints]]", other, columns | {"kind": kind})


def _own_transitions(leads: FileProfile, key: str, created: str) -> list[TableDraft]:
    """Transitions that the leads' own file holds in further date columns."""
    later = [name for name in leads.dates if name != created]
    stage = next((name for name in leads.low_cardinality if _STAGE.search(name)), None)
    if stage is not None and later:
        return [
            TableDraft("[[transitions]]", leads, {"lead_id": key, "occurred_at": later[-1], "stage": stage})
        ]
    return [
        TableDraft(
            "[[transitions]]", leads, {"lead_id": key, "occurred_at": name}, {"stage": _SUFFIX.sub("", name)}
        )
        for name in later
    ]
