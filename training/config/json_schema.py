"""The JSON schema of ``leadloop.toml``, from the types that read it, for editors to complete."""

from __future__ import annotations

import json
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from features.display_names import DisplayNames
from features.ingest.mapping import CellValues, Database, GatheredValues, TableJoin, TableMapping, ValueLookup
from training.config.settings import Capacity, Config
from training.config.toml_reader import Duration, Instant
from training.plugins import PluginModule

if TYPE_CHECKING:
    from dataclasses import Field

Schema = dict[str, Any]

_DIALECT = "http://json-schema.org/draft-07/schema#"  # what TOML editors read
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_CELL: Schema = {"type": ["string", "integer", "boolean"]}
# A name by language, or the names of the values of a column.
_NAME: Schema = {"type": "object", "additionalProperties": {"type": ["string", "object"]}}
# Values that have a spelling of their own in the file, each as the reader takes it.
_VALUES: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string"},
    Database: {"type": "string"},
    PluginModule: {"type": "string"},
    Duration: {"type": "string", "pattern": r"^\s*\d+\s*[smhdw]\s*$", "examples": ["90d", "2w", "36h"]},
    # TOML has dates of its own; a schema sees them as text.
    Instant: {"type": "string", "examples": ["2024-02-29"]},
    Capacity: {"type": "string", "examples": ["50 per week"]},
    CellValues: {"anyOf": [_CELL, {"type": "array", "items": _CELL, "minItems": 1}]},
    DisplayNames: {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, _NAME]}},
}
# The table of keys.toml that says what the keys of a type mean, wherever the type is used.
_SHARED = {TableMapping: "table", TableJoin: "join", ValueLookup: "lookup", GatheredValues: "gather"}


def config_json_schema() -> Schema:
    """The JSON schema (draft 7) of ``leadloop.toml``.

    It knows keys, types and allowed words. What only a whole file can be wrong about, such as a stage that
    the funnel lacks, is checked when the file is read.
    """
    meanings = tomllib.loads((files("training.config") / "keys.toml").read_text(encoding="utf-8"))
    definitions = {name: _table_schema(kind, meanings[name]) for kind, name in _SHARED.items()}
    whole = _table_schema(Config, meanings["leadloop"])
    return {"$schema": _DIALECT, "title": "leadloop.toml", **whole, "definitions": definitions}


def schema_text() -> str:
    """The schema as the text of a file."""
    return json.dumps(config_json_schema(), indent=1, ensure_ascii=False) + "\n"


def _table_schema(kind: type, meanings: Mapping[str, Any]) -> Schema:
    """The schema of a table that is read into the dataclass ``kind``; ``meanings`` is by key."""
    hints = get_type_hints(kind)
    keys = {str(f.metadata.get("key", f.name)): f for f in fields(kind) if f.init}
    properties = {}
    for key, f in keys.items():
        meaning = meanings.get(key, "")
        own = meaning if isinstance(meaning, Mapping) else {"about": meaning}
        value = _value_schema(_without_none(hints[f.name]), own)
        properties[key] = {**_about(own.get("about", "")), **value, **_default(f, value)}
    required = [key for key, f in keys.items() if f.default is MISSING and f.default_factory is MISSING]
    table = {"type": "object", "properties": properties, "additionalProperties": False}
    return table | ({"required": required} if required else {})


def _value_schema(kind: Any, meanings: Mapping[str, Any]) -> Schema:
    """The schema of a value of type ``kind``, as ``toml_reader`` reads it."""
    if kind in _VALUES:
        return _VALUES[kind]
    if kind in _SHARED:
        # Beside a $ref of its own, draft 7 ignores the description.
        return {"allOf": [{"$ref": f"#/definitions/{_SHARED[kind]}"}]}
    if is_dataclass(kind):
        return _table_schema(kind, meanings)  # type: ignore[arg-type]  # a type, not an instance
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return {"enum": list(arguments)}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _value_schema(arguments[0], meanings)}
    return {"type": "object", "additionalProperties": _value_schema(arguments[1], meanings)}


def _without_none(kind: Any) -> Any:
    """The type without ``None``: ``int`` for ``int | None``."""
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    return next(option for option in get_args(kind) if option is not type(None))


def _about(text: str) -> Schema:
    """A description without Markdown's links, which editors show as they are written."""
    plain = " ".join(_LINK.sub(r"\1", text).split())
    return {"description": plain} if plain else {}


def _default(f: Field[Any], value: Schema) -> Schema:
    """The default of a key, as far as the file would write it so: 0 seconds are written another way."""
    known = isinstance(f.default, str | int | float) and "pattern" not in value
    return {"default": f.default} if known else {}
