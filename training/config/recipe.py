"""Recipes: the known layouts of CRMs, as data in ``recipes/*.toml``, fitted to the tables there are.

A recipe says how to know a layout (``tables``) and what its configuration is (``leads``, ``touchpoints``,
``transitions``, ...) in the keys of ``leadloop.toml``. Columns are written as references:

* ``"a|b"`` is the first of several columns that is there, ``"a*"`` any that begins so;
* ``"a?"`` may be missing: then what needs it is left out. What has no question mark takes its block along;
* case, blanks and underscores do not count, but beside a ``*``: ``created_date`` also is ``CreatedDate``;
* ``"table.column"`` is a column of a joined table, ``"column.key"`` a value inside of JSON.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import polars as pl

from training.config.source_tables import count_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from training.config.source_tables import SourceTable

SECTIONS = ("leads", "accounts", "merges", "touchpoints", "transitions", "history")
"""The sections of blocks in a recipe; ``history`` is ``[[attributes.history]]``."""


@dataclass(frozen=True)
class TablePattern:
    """How a recipe knows one of its tables.

    Attributes:
        names: What the table may be called, without its schema; ``*`` stands for anything.
        columns: References of columns that it must have.
        required: Whether the layout is not this one without it.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class StageChoice:
    """A way to tell the target: a stage by its name, or the value that most rows of a table hold.

    Attributes:
        stage: The stage; ``*`` stands for anything.
        column: The column of ``table`` whose most frequent value is the stage.
        table: A table of the recipe.
        where: The rows of it that count.
    """

    stage: str = ""
    column: str = ""
    table: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FunnelRecipe:
    """What a recipe knows of the funnel; the stages themselves come from the rows.

    Attributes:
        target: Ways to tell the target: the first that leads have entered.
        closed: Patterns of stages that close a lead without a conversion.
        reopen: Patterns of stages that open one again.
        says: A sentence on the choice.
    """

    target: tuple[StageChoice, ...] = ()
    closed: tuple[str, ...] = ()
    reopen: tuple[str, ...] = ()
    says: str = ""


@dataclass(frozen=True)
class LayoutRecipe:
    """The configuration of one layout, and how to know it.

    Attributes:
        name: The name of its file.
        title: What it is called in sentences.
        page: The page of the documentation.
        tables: Its tables, by the names that its blocks use.
        variants: Which tool made the layout, by a column that only that tool writes (``table.column``).
        blocks: By section, the blocks in the keys of ``leadloop.toml``.
        late: Patterns of columns of leads that are filled after the outcome, with the reason.
        account_late: The same of columns of accounts.
        roles: Roles of columns of leads that their values do not show.
        funnel: What it knows of the funnel.
        says: Sentences for the head of the draft.
    """

    name: str
    title: str
    page: str
    tables: Mapping[str, TablePattern]
    blocks: Mapping[str, Sequence[Mapping[str, Any]]]
    variants: Mapping[str, str] = field(default_factory=dict)
    late: Mapping[str, str] = field(default_factory=dict)
    account_late: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    funnel: FunnelRecipe = FunnelRecipe()
    says: tuple[str, ...] = ()


@dataclass
class DraftBlock:
    """A section of a draft: its keys as they stand in ``leadloop.toml``, and what there is to say about them.

    Attributes:
        section: ``leads``, ``touchpoints``, ... or ``history``.
        table: The table that it reads.
        keys: Its keys beside ``file`` or ``database`` and ``table``.
        says: Sentences above it.
        unsure: Lines below it, as comments: what else would be possible.
        plain: Of a history of attributes: for each name the column of leads with its newest value, or "".
        name: What other blocks of the recipe call it.
    """

    section: str
    table: SourceTable
    keys: dict[str, Any]
    says: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    plain: dict[str, str] = field(default_factory=dict)
    name: str = ""


@cache
def load_recipes() -> tuple[LayoutRecipe, ...]:
    """All recipes, in the order of their names."""
    folder = files("training.config") / "recipes"
    paths = sorted((each for each in folder.iterdir() if each.name.endswith(".toml")), key=lambda p: p.name)
    return tuple(parse_recipe(path.name.removesuffix(".toml"), path.read_text("utf-8")) for path in paths)


_KEYS = {"title", "page", "sources", "tables", "variants", "late", "account_late", "roles", "funnel", "says"}


def parse_recipe(name: str, text: str) -> LayoutRecipe:
    """A recipe from the text of its file.

    Raises:
        ValueError: It has a key that recipes do not have, or lacks one.
    """
    raw = tomllib.loads(text)
    if unknown := sorted(raw.keys() - _KEYS - set(SECTIONS)):
        msg = f"recipe {name}: there is no key {unknown[0]!r}"
        raise ValueError(msg)
    if missing := sorted({"title", "page", "sources", "tables", "leads", "transitions"} - raw.keys()):
        msg = f"recipe {name}: the key {missing[0]!r} is missing"
        raise ValueError(msg)
    tables = {
        alias: TablePattern(
            tuple(each.get("names", [alias])), tuple(each.get("columns", ())), each.get("required", False)
        )
        for alias, each in raw["tables"].items()
    }
    blocks = {section: _as_list(raw.get(section, [])) for section in SECTIONS}
    return LayoutRecipe(
        name=name,
        title=raw["title"],
        page=raw["page"],
        tables=tables,
        blocks=blocks,
        variants=raw.get("variants", {}),
        late=raw.get("late", {}),
        account_late=raw.get("account_late", {}),
        roles=raw.get("roles", {}),
        funnel=_funnel(raw.get("funnel", {})),
        says=tuple(raw.get("says", ())),
    )


def _as_list(blocks: Any) -> list[Mapping[str, Any]]:
    return [blocks] if isinstance(blocks, dict) else list(blocks)


def _funnel(raw: Mapping[str, Any]) -> FunnelRecipe:
    choices = (
        StageChoice(each) if isinstance(each, str) else StageChoice(**each) for each in raw.get("target", ())
    )
    return FunnelRecipe(
        tuple(choices),
        tuple(raw.get("closed", ())),
        tuple(raw.get("reopen", ())),
        raw.get("says", ""),
    )


def _normalised(name: str) -> str:
    """The letters and digits of a name, and the asterisks of a pattern."""
    return re.sub(r"[^\w*]|_", "", name.casefold())


def find_column(reference: str, columns: Iterable[str]) -> str | None:
    r"""The column that a reference means; None where none of its alternatives is there.

    >>> find_column("created_date|Create Date?", ["Id", "CreatedDate"])
    'CreatedDate'
    >>> find_column("Became a*Date", ["Became a Customer Date"])
    'Became a Customer Date'
    >>> find_column("Date entered \"Lead*", ["date entered 'Lead (Lifecycle Stage Pipeline)'"])
    "date entered 'Lead (Lifecycle Stage Pipeline)'"
    """
    names = list(columns)
    for alternative in reference.removesuffix("?").split("|"):
        if alternative in names:
            return alternative
        if match := next((name for name in names if _means(alternative, name)), None):
            return match
    return None


def _means(pattern: str, name: str) -> bool:
    if "*" in pattern:
        return fnmatch.fnmatchcase(_normalised(name), _normalised(pattern))
    return _normalised(pattern) == _normalised(name)


def matching_columns(pattern: str, columns: Iterable[str]) -> list[str]:
    """All columns that a pattern means."""
    patterns = pattern.removesuffix("?").split("|")
    return [name for name in columns if any(_means(each, name) for each in patterns)]


def match_recipe(recipe: LayoutRecipe, tables: Sequence[SourceTable]) -> dict[str, SourceTable] | None:
    """The tables of a recipe among those that are there, by its names; None where it is another layout."""
    matches: dict[str, SourceTable] = {}
    for alias, pattern in recipe.tables.items():
        fitting = [each for each in tables if _fits(pattern, each)]
        # Of several that fit, the one whose name is said outright, and that is not taken, goes first.
        fitting.sort(key=lambda t: (t in matches.values(), _name_rank(pattern, t), -len(t.columns)))
        if fitting and fitting[0] not in matches.values():
            matches[alias] = fitting[0]
        elif pattern.required:
            return None
    return matches


def _fits(pattern: TablePattern, table: SourceTable) -> bool:
    return _name_rank(pattern, table) < len(pattern.names) and all(
        find_column(column, table.columns) is not None for column in pattern.columns
    )


def _name_rank(pattern: TablePattern, table: SourceTable) -> int:
    ranks = (i for i, name in enumerate(pattern.names) if _means(name, table.stem))
    return next(ranks, len(pattern.names))


def variant_of(recipe: LayoutRecipe, found: Mapping[str, SourceTable]) -> str:
    """Which tool made the tables, as far as a recipe can tell; empty if it cannot."""
    for tool, reference in recipe.variants.items():
        alias, _, column = reference.partition(".")
        if alias in found and find_column(column, found[alias].columns) is not None:
            return tool
    return ""


_OWN_KEYS = frozenset({"id", "says", "unless", "unsure", "plain", "needs", "table"})


@dataclass
class BlockResolver:
    """Fits one block of a recipe to the tables that are there.

    Attributes:
        found: The tables of the recipe that are there.
        leads: The table of leads, whose columns ``also`` names.
    """

    found: Mapping[str, SourceTable]
    leads: SourceTable | None = None
    _visible: dict[str, SourceTable] = field(default_factory=dict)

    def resolve(self, section: str, block: Mapping[str, Any]) -> DraftBlock | None:
        """The block as it stands in a draft; None where the tables lack something that it needs."""
        table = self.found.get(block["table"])
        if table is None:
            return None
        self._visible = {"": table}
        try:
            keys = self._keys(block)
        except _MissingError:
            return None
        return DraftBlock(
            section,
            table,
            keys,
            _as_lines(block.get("says")),
            self._unsure(block.get("unsure", ())),
            self._plain(block.get("plain", {})),
            block.get("id", ""),
        )

    def _keys(self, block: Mapping[str, Any]) -> dict[str, Any]:
        for reference in block.get("needs", ()):
            self._column(reference)
        joins = self._joins(block.get("join", ()))
        keys: dict[str, Any] = {
            key: value for key, value in block.items() if key not in _OWN_KEYS and key not in _RESOLVED
        }
        resolved = {
            "where": self._by_key(block.get("where", {})),
            "join": joins,
            "lookup": self._lookups(block.get("lookup", {})),
            "columns": self._by_value(block.get("columns", {})),
            "attributes": self._by_value(block.get("attributes", {}), optional=True),
            "stages": self._by_key(block.get("stages", {}), optional=True),
            "also": self._also(block.get("also", {})),
            "lead_id": [c for c in map(self._find, block.get("lead_id", ())) if c is not None],
        }
        for key in ("stages", "lead_id"):
            if key in block and not resolved[key]:
                raise _MissingError
        keys |= {key: value for key, value in resolved.items() if value}
        if "deleted" in block and (flag := self._find(block["deleted"])):
            keys["deleted"] = flag
        return {key: keys[key] for key in _ORDER if key in keys} | keys

    def _find(self, reference: str) -> str | None:
        """The column as the draft writes it; None where it is not there."""
        for alternative in reference.removesuffix("?").split("|"):
            alias, _, rest = alternative.partition(".")
            if rest and alias in self._visible:
                column = _find_in(self._visible[alias], rest)
                if column is not None:
                    return f"{alias}.{column}"
            elif (column := _find_in(self._visible[""], alternative)) is not None:
                return column
        return None

    def _column(self, reference: str) -> str | None:
        """As ``_find``, but what has no question mark must be there."""
        column = self._find(reference)
        if column is None and not reference.endswith("?"):
            raise _MissingError
        return column

    def _unsure(self, lines: Iterable[str | Mapping[str, Any]]) -> list[str]:
        """The alternatives whose columns are there, with the values that the rows hold."""
        tables = ({"text": each} if isinstance(each, str) else each for each in lines)
        return [
            str(each["text"]).replace("{values}", self._values(each))
            for each in tables
            if all(self._find(reference) is not None for reference in each.get("needs", ()))
        ]

    def _values(self, line: Mapping[str, Any]) -> str:
        column = self._find(line["values_of"]) if "values_of" in line else None
        if column is None:
            return "none"
        counts = count_values(self._visible[""], column, self._by_key(line.get("where", {})))
        return ", ".join(f"{value!r} ({count:,})" for value, count in list(counts.items())[:_MOST_VALUES])

    def _plain(self, plain: Mapping[str, str]) -> dict[str, str]:
        """By the name of an attribute with a history, the column of leads with its newest value."""
        columns = () if self.leads is None else self.leads.columns
        return {name: find_column(reference, columns) or "" for name, reference in plain.items()}

    def _by_key(self, table: Mapping[str, Any], *, optional: bool = False) -> dict[str, Any]:
        find = self._find if optional else self._column
        pairs = ((find(reference), value) for reference, value in table.items())
        return {column: value for column, value in pairs if column is not None}

    def _by_value(self, table: Mapping[str, str], *, optional: bool = False) -> dict[str, str]:
        find = self._find if optional else self._column
        pairs = ((key, find(reference)) for key, reference in table.items())
        return {key: column for key, column in pairs if column is not None}

    def _joins(self, joins: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [join for each in joins if (join := self._join(each)) is not None]

    def _join(self, join: Mapping[str, Any]) -> dict[str, Any] | None:
        alias = join["table"].removesuffix("?")
        name = str(join.get("as", alias))
        try:
            table = self._neighbour(alias)
            own = BlockResolver(self.found, None, {"": table})
            on = {self._required(left): own._required(right) for left, right in join["on"].items()}
            where = own._by_key(join.get("where", {}))
        except _MissingError:
            if join["table"].endswith("?"):
                return None
            raise
        self._visible[name] = table
        return (
            {"table": table.name, "on": on}
            | ({"where": where} if where else {})
            | ({"as": name} if name != table.stem else {})
        )

    def _neighbour(self, alias: str) -> SourceTable:
        table = self.found.get(alias)
        if table is None or table.neighbours != self._visible[""].neighbours:
            raise _MissingError
        return table

    def _required(self, reference: str) -> str:
        column = self._find(reference)
        if column is None:
            raise _MissingError
        return column

    def _lookups(self, lookups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Names for ids; where their table is not there, the ids stay."""
        drafted: dict[str, Any] = {}
        for reference, lookup in lookups.items():
            column = self._find(reference)
            if column is None:
                continue
            if "codes" in lookup:
                drafted[column] = dict(lookup)
                continue
            table = self.found.get(lookup["table"].removesuffix("?"))
            if table is None or table.neighbours != self._visible[""].neighbours:
                continue
            if (names := _lookup_names(table, lookup)) is not None:
                drafted[column] = {"table": table.name} | names
        return drafted

    def _also(self, also: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        leads = self.leads
        columns = [] if leads is None else [_find_any(leads, each) for each in also.get("leads", ())]
        present = [column for column in columns if column is not None]
        return {"leads": present} if present else {}


_MOST_VALUES = 20
_RESOLVED = frozenset(
    {"where", "join", "lookup", "columns", "attributes", "stages", "also", "lead_id", "deleted"}
)
_ORDER = ("where", "join", "lookup", "deleted", "lead_id", "also", "columns", "attributes", "stages")
_LOOKUP_DEFAULTS = {"key": "id", "value": "name"}


class _MissingError(Exception):
    """A block needs what the tables do not have."""


def _lookup_names(table: SourceTable, lookup: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a lookup says of its table, without defaults; None where the table lacks a column."""
    key, value = (_find_any(table, lookup.get(k, default)) for k, default in _LOOKUP_DEFAULTS.items())
    if key is None or value is None:
        return None
    names = {k: v for k, v in (("key", key), ("value", value)) if v != _LOOKUP_DEFAULTS[k]}
    try:
        where = BlockResolver({}, None, {"": table})._by_key(lookup.get("where", {}))  # noqa: SLF001
    except _MissingError:
        return None
    return names | ({"where": where} if where else {})


def _as_lines(text: Any) -> list[str]:
    return [] if text is None else [text] if isinstance(text, str) else list(text)


def _find_any(table: SourceTable, reference: str) -> str | None:
    parts = (_find_in(table, each) for each in reference.removesuffix("?").split("|"))
    return next((column for column in parts if column is not None), None)


def _find_in(table: SourceTable, reference: str) -> str | None:
    """A column of a table, or a value inside of one that holds JSON."""
    if (column := find_column(reference, table.columns)) is not None:
        return column
    name, _, path = reference.partition(".")
    column = find_column(name, table.columns) if path else None
    if column is None or not _holds_json(table, column, path.split(".")[0]):
        return None
    return f"{column}.{path}"


def _holds_json(table: SourceTable, column: str, key: str) -> bool:
    """Whether the first rows hold documents with a key in a column."""
    values = table.sample[column].drop_nulls()
    if isinstance(values.dtype, pl.Struct):
        names = [each.name for each in values.dtype.fields]
        if names != ["text"]:
            return key in names
        values = values.struct.field("text")  # a document of a database, as ``_plain_cell`` leaves it
    text = values.cast(pl.String, strict=False)
    return bool(text.str.contains(f'"{key}"', literal=True).any())
