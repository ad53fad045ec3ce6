"""Drafts a ``leadloop.toml`` for the files, folders or databases of a CRM, to be read and corrected."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.ingest.column_extractions import find_extractions
from features.ingest.mapping import table_stem
from features.ingest.personal_columns import personal_notices
from features.ingest.quarantine import SourceError
from features.messages import join_items
from features.suggestions import suggest
from training.config.draft_text import render_flat_config, render_history_config, summarise
from training.config.file_survey import profile_table
from training.config.history_draft import name_kinds, read_draft, set_time_format
from training.config.inferred_draft import draft_by_inference
from training.config.late_facts import late_reason
from training.config.recipe_draft import draft_by_recipe, find_recipes
from training.config.source_tables import find_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.config.file_survey import FileProfile, StageOutcomes
    from training.config.history_draft import HistoryDraft
    from training.config.source_tables import SourceTable

_MOST_TABLES = 30


@dataclass(frozen=True)
class ConfigDraft:
    """A drafted configuration.

    Attributes:
        name: The name of the recipe that it follows; empty where its layout was inferred.
        text: The text of a ``leadloop.toml`` with comments.
        summary: What was understood, in sentences.
    """

    name: str
    text: str
    summary: tuple[str, ...] = ()


def draft_config(places: Sequence[str | Path], folder: Path | None = None) -> str:
    """Draft a configuration.

    Args:
        places: The exports of a CRM, folders of them, or databases: files or URLs.
        folder: Paths in the draft are relative to it. Default: the current folder.

    Returns:
        The text of a ``leadloop.toml`` with comments. Where the tables of several CRMs are there, it is about
        the one with the most tables.

    Raises:
        SourceError: A place cannot be read, or nothing in it looks like an outcome.
    """
    return draft_configs(places, folder)[0].text


def draft_configs(
    places: Sequence[str | Path], folder: Path | None = None, names: Sequence[str] = ()
) -> list[ConfigDraft]:
    """Draft a configuration for each CRM whose tables are there.

    Args:
        places: The exports of a CRM, folders of them, or databases: files or URLs.
        folder: Paths in the drafts are relative to it. Default: the current folder.
        names: The tables to look at, where not all of them are meant.

    Returns:
        A draft for each layout that is known or, where none is, one that is inferred.

    Raises:
        SourceError: A place cannot be read, or nothing in it looks like an outcome.
    """
    where = (folder or Path.cwd()).resolve()
    tables = _named(find_tables(places, where), names)
    recipes = find_recipes(tables)
    if recipes:
        drafts = [(r.name, draft_by_recipe(r, found, where)) for r, found in recipes]
        _name_unused(tables, [draft for _, draft in drafts])
        return [_finish(name, draft, where) for name, draft in drafts]
    if len(tables) > _MOST_TABLES:
        msg = (
            f"there are {len(tables):,} tables in a layout that init does not know; name those of leads, "
            "of what they did and of their stages: --table NAME, once for each"
        )
        raise SourceError(msg)
    profiles = [profile_table(table) for table in tables]
    return [_draft_one_table(profiles[0], where) if len(profiles) == 1 else _infer(profiles, where)]


def _name_unused(tables: Sequence[SourceTable], drafts: Sequence[HistoryDraft]) -> None:
    """Say of files that somebody named, and that no draft reads, that they are left out."""
    used = {id(block.table) for draft in drafts for block in draft.blocks}
    named = str([(block.keys, draft.aside) for draft in drafts for block in draft.blocks])
    for table in tables:
        file = table.place.file
        if file is not None and id(table) not in used and table.name not in named:
            drafts[0].aside.append(f"{file.name} is left out: the layout has no place for it")


def _named(tables: list[SourceTable], names: Sequence[str]) -> list[SourceTable]:
    if not names:
        return tables
    known = [table.name for table in tables]
    for name in names:
        if not any(name in {table.name, table_stem(table.name)} for table in tables):
            msg = f"there is no table {name!r}{suggest(name, known)}"
            raise SourceError(msg)
    return [table for table in tables if table.name in names or table_stem(table.name) in names]


def _finish(name: str, draft: HistoryDraft, folder: Path) -> ConfigDraft:
    read = read_draft(draft, folder)
    return ConfigDraft(name, render_history_config(read), tuple(summarise(read)))


def _infer(profiles: Sequence[FileProfile], folder: Path) -> ConfigDraft:
    draft = draft_by_inference(profiles)
    for block in draft.blocks:
        set_time_format(block)
        name_kinds(block, folder)
    return _finish("", draft, folder)


def _draft_one_table(profile: FileProfile, folder: Path) -> ConfigDraft:
    """The draft of one table: a flat export if it holds an outcome, else a history by its dates of stages."""
    if profile.path is None:
        return _infer([profile], folder)
    if profile.outcome is not None and not profile.dates_outcome(profile.outcome):
        return _draft_flat(profile, profile.outcome)
    stages = None if profile.outcome is not None else profile.stage_outcomes or profile.checkbox_outcome
    if stages is not None:
        return _draft_flat(profile, stages.column, stages)
    if not profile.keys or len(profile.dates) < len({"created", "won"}):
        raise SourceError(_no_outcome_message(profile))
    try:
        return _infer([profile], folder)
    except SourceError as error:
        msg = f"{error}. Or, without dates: {_no_outcome_message(profile)}"
        raise SourceError(msg) from error


def _draft_flat(profile: FileProfile, label: str, stages: StageOutcomes | None = None) -> ConfigDraft:
    """The draft of a flat export, and what was understood of it."""
    order = profile.order
    late = profile.post_outcome_columns(label, stages)
    late = {name: why for name, why in late.items() if name not in {order, *profile.keys[:1]}}
    extracted = find_extractions(profile.frame, profile.roles, {})
    # An owner's address is no attribute of a lead, but its domain would be.
    sources = dict.fromkeys(each.column for each in extracted.extractions)
    late |= {name: why for name in sources if (why := late_reason(name))}
    notices = (*extracted.notices, *personal_notices(profile.roles))
    notices = tuple(notice for notice in notices if notice.values.get("column") not in late)
    kept_out = join_items("comma", [repr(name) for name in late])
    summary = (
        f"{profile.name}: {profile.frame.height:,} rows; {label!r} is predicted.",
        *([f"Kept out, because they come with the outcome or after it: {kept_out}."] if late else []),
        *(f"Note: {notice}" for notice in notices),
    )
    return ConfigDraft("", render_flat_config(profile, label, extracted.roles, late, stages), summary)


def _no_outcome_message(profile: FileProfile) -> str:
    pairs = ", ".join(profile.two_valued) or "none"
    return (
        f"nothing in {profile.path} looks like an outcome; if it holds one, name it: "
        f"leadloop check --leads {shlex.quote(str(profile.path))} --label COLUMN "
        f"(columns with two values: {pairs})"
    )
