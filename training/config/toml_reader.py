"""Reads a TOML table into frozen dataclasses: one generic reader, so that the types are the documentation.

Every mistake is answered with the file, the line, the section and what would be right.
"""

from __future__ import annotations

import tomllib
import types
import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NewType,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from features.clock import parse_duration, to_epoch
from features.display_names import DisplayNames
from features.ingest.mapping import CellValues, Database, cell_values
from features.ingest.timestamps import parse_timestamp
from features.suggestions import suggest
from features.toml_lines import nearest_line
from training.plugins import PluginModule

if TYPE_CHECKING:
    from collections.abc import Callable

Duration = NewType("Duration", int)
"""Seconds, written as 90d, 2w, 36h, 15m or 10s."""
Instant = NewType("Instant", int)
"""Epoch seconds, written as a date or a time with its offset; without one it is UTC."""

T = TypeVar("T")
_PLAIN: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the file, the line and the key."""


@dataclass(frozen=True)
class ConfigLocation:
    """A place in a configuration file, for the messages of errors."""

    file: Path
    text: str
    path: tuple[str | int, ...] = ()

    def at(self, key: str | int) -> ConfigLocation:
        """The place one key or item further in."""
        return replace(self, path=(*self.path, key))

    @property
    def name(self) -> str:
        """The path in words: ``[touchpoints 2] columns.kind``."""
        section, *rest = self.path or ("top",)
        numbered = bool(rest) and isinstance(rest[0], int)
        number = f" {int(rest[0]) + 1}" if numbered else ""
        inner = ".".join(str(part) for part in rest[numbered:])
        return f"[{section}{number}] {inner}".strip()

    def refuse(self, message: str) -> NoReturn:
        """Raise the error that says ``message`` about this place."""
        line = nearest_line(self.text, self.path)
        msg = f"{self.file}, line {line}, {self.name}: {message}"
        raise ConfigError(msg)


def read_file(kind: type[T], path: Path, otherwise: str) -> T:
    """A ``kind`` from a TOML file; ``otherwise`` is what to do where there is none.

    Raises:
        ConfigError: the file does not exist, is no TOML, or says something that cannot be.
    """
    if not path.is_file():
        msg = f"{path} does not exist; {otherwise}"
        raise ConfigError(msg)
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except ValueError as error:
        msg = f"{path} is not valid TOML: {error}"
        raise ConfigError(msg) from error
    return parse_table(kind, table, ConfigLocation(path, text))


def parse_table(kind: type[T], table: Mapping[str, Any], location: ConfigLocation) -> T:
    """The dataclass ``kind`` that a table describes.

    Raises:
        ConfigError: a key is unknown or missing, or a value is of the wrong type or refused by ``kind``.
    """
    hints = get_type_hints(kind)
    known = {_key(f): f for f in fields(kind) if f.init}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            location.at(key).refuse(f"there is no such key{suggest(key, known)}")
    for key, f in known.items():
        if key not in table and f.default is MISSING and f.default_factory is MISSING:
            location.refuse(f"the key {key!r} is missing")
    values = {
        known[key].name: _value(hints[known[key].name], raw, location.at(key)) for key, raw in table.items()
    }
    return _refuse_at(location, lambda: kind(**values))


def _key(f: Field[Any]) -> str:
    return str(f.metadata.get("key", f.name))


def _value(kind: Any, raw: Any, location: ConfigLocation) -> Any:
    """``raw`` as a value of type ``kind``."""
    if get_origin(kind) in {Union, types.UnionType}:
        kind = next(option for option in get_args(kind) if option is not type(None))
    if kind in _CONVERTERS:
        return _convert(kind, raw, location)
    if is_dataclass(kind):
        return parse_table(kind, _expect(raw, Mapping, "a table", location), location)  # type: ignore[arg-type]
    if get_origin(kind) is Literal:
        return _literal(get_args(kind), raw, location)
    if get_origin(kind) is tuple:
        items = _expect(raw, list, "a list", location)
        return tuple(_value(get_args(kind)[0], item, location.at(i)) for i, item in enumerate(items))
    if get_origin(kind) is Mapping:
        table = _expect(raw, Mapping, "a table", location)
        items_kind = get_args(kind)[1]
        return {_compose(key): _value(items_kind, item, location.at(key)) for key, item in table.items()}
    return _scalar(kind, raw, location)


def _expect(raw: Any, kind: Any, expected: str, location: ConfigLocation) -> Any:
    if not isinstance(raw, kind):
        location.refuse(f"this should be {expected}, not {_toml_repr(raw)}")
    return raw


def _toml_repr(raw: Any) -> str:
    return str(raw).lower() if isinstance(raw, bool) else repr(raw)


def _literal(options: tuple[str, ...], raw: Any, location: ConfigLocation) -> str:
    if raw not in options:
        location.refuse(f"{_toml_repr(raw)} is none of {', '.join(map(repr, options))}")
    return str(raw)


def _scalar(kind: type, raw: Any, location: ConfigLocation) -> Any:
    if kind is float and type(raw) is int:
        return float(raw)
    if type(raw) is not kind:
        location.refuse(f"this should be {_PLAIN[kind]}, not {_toml_repr(raw)}")
    return _compose(str(raw)) if kind is str else raw


def _compose(text: str) -> str:
    """A text with composed letters, as those of the tables are: a Mac may write an umlaut as two."""
    return unicodedata.normalize("NFC", text)


def _convert(kind: Any, raw: Any, location: ConfigLocation) -> Any:
    return _refuse_at(location, lambda: _CONVERTERS[kind](raw, location))


def _refuse_at(location: ConfigLocation, build: Callable[[], T]) -> T:
    """What ``build`` gives; its ValueError says what is wrong, the spot says where."""
    try:
        return build()
    except ConfigError:
        raise
    except ValueError as error:
        location.refuse(str(error))


def register_converter(kind: Any) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """Read values of type ``kind`` from text by the decorated function."""

    def register(function: Callable[[str], Any]) -> Callable[[str], Any]:
        _CONVERTERS[kind] = lambda raw, location: function(_expect(raw, str, "text", location))
        return function

    return register


def _duration(raw: Any, location: ConfigLocation) -> int:
    return parse_duration(_expect(raw, str, "a duration such as 90d", location))


def _instant(raw: Any, location: ConfigLocation) -> int:
    if isinstance(raw, datetime):
        return to_epoch(raw if raw.tzinfo else raw.replace(tzinfo=UTC))
    if isinstance(raw, date):
        return to_epoch(datetime.combine(raw, time(), UTC))
    return parse_timestamp(_expect(raw, str, "a date such as 2024-02-29", location))


def _path(raw: Any, location: ConfigLocation) -> Path:
    return location.file.parent / Path(_expect(raw, str, "the path of a file", location)).expanduser()


def _database(raw: Any, location: ConfigLocation) -> str:
    text = str(_expect(raw, str, "the path or URL of a database", location))
    return text if "://" in text else str(_path(text, location))


def _plugin_module(raw: Any, spot: ConfigLocation) -> PluginModule:
    return PluginModule(_expect(raw, str, "the name of a module", spot), spot.file.parent)


_CONVERTERS: dict[Any, Callable[[Any, ConfigLocation], Any]] = {
    Duration: _duration,
    Instant: _instant,
    Path: _path,
    Database: _database,
    CellValues: lambda raw, _location: cell_values(raw),
    PluginModule: _plugin_module,
    DisplayNames: lambda raw, location: DisplayNames.from_table(_expect(raw, Mapping, "a table", location)),
}
