"""Reads frozen dataclasses back from the plain lists and dicts that ``dataclasses.asdict`` and JSON make."""

from __future__ import annotations

import dataclasses
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def from_dict(kind: type[T], value: Any) -> T:
    """Read a value back from what ``dataclasses.asdict`` and JSON made of it.

    Args:
        kind: The type: a dataclass, tuple, dict or plain value, or a union of one of them with None.
        value: Plain lists, dicts and values.

    Returns:
        A ``kind`` that is equal to the one that was dumped.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Pair:
    ...     sides: tuple[int, ...]
    >>> from_dict(Pair, {"sides": [1, 2]})
    Pair(sides=(1, 2))
    """
    return _read(kind, value)  # type: ignore[no-any-return]


def _read(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _read(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if origin in (Union, UnionType):
        return _read_one_of(inner, value)
    if origin is tuple:
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_read(each, item) for each, item in zip(kinds, value, strict=True))
    if origin is dict:
        return {name: _read(inner[1], item) for name, item in value.items()}
    return value


def _read_one_of(kinds: tuple[Any, ...], value: Any) -> Any:
    """The value as a member of a union: the one that is not None, or the dataclass with its fields."""
    rest = [kind for kind in kinds if kind is not NoneType]
    if len(rest) > 1 and isinstance(value, dict):
        rest = [kind for kind in rest if dataclasses.is_dataclass(kind) and _names(kind) == set(value)]
    return _read(rest[0], value) if value is not None and len(rest) == 1 else value


def _names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}
