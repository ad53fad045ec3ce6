"""Drafts a history by a recipe: the blocks that the tables allow, in the recipe's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.config.history_draft import (
    HistoryDraft,
    find_problem,
    keep_known_names,
    name_kinds,
    set_time_format,
)
from training.config.recipe import SECTIONS, BlockResolver, load_recipes, match_recipe, variant_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from training.config.recipe import DraftBlock, LayoutRecipe
    from training.config.source_tables import SourceTable


def find_recipes(tables: Sequence[SourceTable]) -> list[tuple[LayoutRecipe, dict[str, SourceTable]]]:
    """The recipes whose layouts are there, each with its tables; one a schema, the best first."""
    schemas = list(dict.fromkeys(table.schema for table in tables))
    matches = []
    for schema in schemas:
        own = [table for table in tables if table.schema == schema]
        fitting = [(r, found) for r in load_recipes() if (found := match_recipe(r, own)) is not None]
        fitting.sort(key=lambda match: -len(match[1]))
        matches += fitting[:1]
    return sorted(matches, key=lambda match: -len(match[1]))


def draft_by_recipe(recipe: LayoutRecipe, found: Mapping[str, SourceTable], folder: Path) -> HistoryDraft:
    """The draft of a layout: each block for which there are tables, columns and rows."""
    leads = found.get(recipe.blocks["leads"][0]["table"])
    draft = HistoryDraft(
        title=_title(recipe, found),
        blocks=[],
        funnel=recipe.funnel,
        late=recipe.late,
        account_late=recipe.account_late,
        roles=recipe.roles,
        says=[*recipe.says],
        found=found,
    )
    names: set[str] = set()
    for section in SECTIONS:
        for raw in recipe.blocks[section]:
            block = BlockResolver(found, leads).resolve(section, raw)
            if block is None or names & set(raw.get("unless", ())):
                continue
            if _add(draft, block, folder):
                names.add(block.name)
    return draft


def _title(recipe: LayoutRecipe, found: Mapping[str, SourceTable]) -> str:
    tool = variant_of(recipe, found)
    return (
        recipe.title.format(by=f", as {tool} writes it" if tool else "")
        if "{by}" in recipe.title
        else recipe.title
    )


def _add(draft: HistoryDraft, block: DraftBlock, folder: Path) -> bool:
    """Add a block that has rows; say so of any other."""
    set_time_format(block)
    problem = None if block.section == "leads" else find_problem(block, folder)
    if problem is None:
        keep_known_names(block, folder)
        name_kinds(block, folder)
        draft.blocks.append(block)
    else:
        draft.aside.append(f"[{block.section}] {block.table.name} is left out: {problem}")
    return problem is None
