"""Splits a large JSON body at the items of its list, so that it can be parsed in pieces.

A JSON parser holds Python's global lock until it is done: 8 MB of small values take it half a second, in
which no other thread answers. NumPy finds where the items begin and end without the lock; then each piece is
parsed on its own. All pieces are parsed by the parser of small bodies, so a body is valid in pieces exactly
if it is as a whole. Only what is refused anyway, such as an oversized item, is not parsed to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Values (also lists and objects) and bytes of an item; 10,000 touchpoints with all fields are 100,000
# values in 2 MB.
MAX_ITEM_VALUES = 150_000
MAX_ITEM_BYTES = 4 * 1024 * 1024
# Values of a whole body; a thousand leads of forty touchpoints with all fields are 400,000.
MAX_BODY_VALUES = 1_000_000
# So many bytes are looked at, or parsed, at a time: a few milliseconds.
_BLOCK = 256 * 1024
_PIECE = 64 * 1024
# An envelope has up to four fields. Of one with more than these, the first are enough to name one at fault.
MAX_FIELDS = 16
# Of an oversized item only the beginning is parsed, to name what is wrong with it.
_BEGINNING = 4 * 1024
_QUOTE, _ESCAPE, _OPEN, _CLOSE, _COMMA = range(1, 6)
_KINDS = np.zeros(256, np.uint8)
for _characters, _kind in ((b'"', _QUOTE), (b"\\", _ESCAPE), (b"[{", _OPEN), (b"]}", _CLOSE), (b",", _COMMA)):
    _KINDS[list(_characters)] = _kind
# As deep as the parser goes.
_MAX_DEPTH = 201
# The depth after the opening bracket of what lies directly within the envelope.
_WITHIN = 2
_BRACKET = ord("[")
_PAIRS = (b"[]", b"{}")
_STEPS = np.zeros(6, np.int64)
_STEPS[_OPEN], _STEPS[_CLOSE] = 1, -1


class InvalidJson(ValueError):  # noqa: N818  # the body is refused, the service is not in error
    """A piece of a body that is not JSON."""


class TooManyValues(ValueError):  # noqa: N818  # see above
    """A body of more than ``MAX_BODY_VALUES`` values."""


@dataclass(frozen=True, slots=True)
class OversizedItem:
    """An item of more than ``MAX_ITEM_VALUES`` values or ``MAX_ITEM_BYTES`` bytes, which is not parsed.

    Attributes:
        values: How many values it has.
        size: Its bytes.
        beginning: The fields that it begins with, if it is an object.
    """

    values: int
    size: int
    beginning: dict[str, Any]


class JsonItems(Sequence[Any]):
    """The items of a JSON array, parsed piece by piece each time they are iterated over.

    Iterating raises InvalidJson where a piece is not JSON.
    """

    def __init__(self, body: bytes, bounds: Sequence[tuple[int, int]], values: Sequence[int]) -> None:
        self._body, self._bounds, self._values = body, bounds, values

    def __len__(self) -> int:
        return len(self._bounds)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> JsonItems: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return JsonItems(self._body, self._bounds[index], self._values[index])
        return self._parse(*self._bounds[index], self._values[index])[0]

    def __iter__(self) -> Iterator[Any]:
        first = 0
        while first < len(self):
            after = first + 1
            while after < len(self) and self._belong_together(first, after):
                after += 1
            yield from self._parse(self._bounds[first][0], self._bounds[after - 1][1], self._values[first])
            first = after

    def _belong_together(self, first: int, index: int) -> bool:
        large = max(self._values[first], self._values[index]) > MAX_ITEM_VALUES
        return not large and self._bounds[index][1] - self._bounds[first][0] <= _PIECE

    def _parse(self, start: int, end: int, values: int) -> list[Any]:
        if values > MAX_ITEM_VALUES or end - start > MAX_ITEM_BYTES:
            return [
                OversizedItem(values, end - start, _parse_beginning(self._body[start : start + _BEGINNING]))
            ]
        try:
            items: list[Any] = from_json(b"[" + self._body[start:end] + b"]")
        except ValueError as error:
            msg = f"{error} of the part that begins at byte {start:,}"
            raise InvalidJson(msg) from None
        return items


@dataclass(frozen=True, slots=True)
class SplitBody:
    """A body whose arrays and objects were taken out of the envelope.

    Attributes:
        envelope: The body with an array of as many numbers in place of every array, each its position in
            ``arrays``, and with an empty object in place of every object.
        arrays: The arrays that were taken out.
        complete: Whether the envelope is all of the body; it is cut off after ``MAX_FIELDS`` fields, and
            where a bracket is never closed.
    """

    envelope: bytes
    arrays: tuple[JsonItems, ...]
    complete: bool = True


def split_body(body: bytes, most_items: int) -> SplitBody:
    """Split a JSON body at the items of the arrays directly within its envelope.

    Args:
        body: A JSON object, or anything else, of which the envelope is then the body itself.
        most_items: Of a longer array, one item more is kept, which suffices to refuse it.

    Returns:
        The envelope and the arrays.

    Raises:
        TooManyValues: The body has more than ``MAX_BODY_VALUES`` values.
        InvalidJson: It is nested too deeply for a JSON parser.
    """
    places, kinds, depths = _structure(body)
    commas = places[(kinds == _COMMA) & (depths == 1)]
    end = int(commas[MAX_FIELDS - 1]) if len(commas) >= MAX_FIELDS else len(body)
    closes = np.flatnonzero((kinds == _CLOSE) & (depths == 1))
    opens = np.flatnonzero((kinds == _OPEN) & (depths == _WITHIN) & (places < end))
    arrays: list[JsonItems] = []
    envelope, position = bytearray(), 0
    for first, after in zip(
        opens[:MAX_FIELDS].tolist(), np.searchsorted(closes, opens).tolist(), strict=False
    ):
        place = int(places[first])
        envelope += body[position:place]
        last = int(closes[after]) if after < len(closes) else None
        if last is None or body[place : place + 1] + body[places[last] : places[last] + 1] not in _PAIRS:
            # Never closed, or by the other bracket: what is left of the envelope is no JSON either.
            return SplitBody(bytes(envelope + body[place : place + 1]), tuple(arrays), complete=False)
        if body[place] == _BRACKET:
            inside = slice(first, last + 1)
            items = _items(body, places[inside], kinds[inside], depths[inside], most_items + 1)
            envelope += b"[" + b",".join([b"%d" % len(arrays)] * len(items)) + b"]"
            arrays.append(items)
        else:
            envelope += b"{}"
        position = int(places[last]) + 1
    complete = end == len(body) and len(opens) <= MAX_FIELDS
    closing = b"" if complete else b"}"
    return SplitBody(bytes(envelope + body[position:end] + closing), tuple(arrays), complete)


def _items(
    body: bytes, places: NDArray[np.int64], kinds: NDArray[np.uint8], depths: NDArray[np.int64], most: int
) -> JsonItems:
    """The first items of an array, whose brackets are the first and the last of the structural characters."""
    if len(places) == _WITHIN and not body[places[0] + 1 : places[1]].strip(b" \t\r\n"):
        return JsonItems(body, (), ())
    commas = np.flatnonzero((kinds == _COMMA) & (depths == _WITHIN))
    cuts = np.concatenate(([0], commas, [len(places) - 1]))[: most + 1]
    starts, ends = (places[cuts[:-1]] + 1).tolist(), places[cuts[1:]].tolist()
    values = np.diff(np.cumsum((kinds == _COMMA) | (kinds == _OPEN))[cuts])
    return JsonItems(body, list(zip(starts, ends, strict=True)), values.tolist())


def _structure(body: bytes) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Place and kind of each bracket and comma outside of strings, and the depth after it."""
    places, kinds, depths = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)], [np.zeros(0, np.int64)]
    in_string, escaped, values, depth = False, False, 0, 0
    for start in range(0, len(body), _BLOCK):
        # A block after an escape begins with that, so that its first character is known to be escaped.
        block = np.frombuffer(b"\\" * escaped + body[start : start + _BLOCK], np.uint8)
        place = np.flatnonzero(_KINDS[block])
        kind = _KINDS[block[place]]
        escaped_places, escaped_next = _escapes(place, kind, len(block))
        within = np.cumsum((kind == _QUOTE) & ~escaped_places) + in_string
        outside = (within % 2 == 0) & (kind >= _OPEN)
        places.append(place[outside] + (start - escaped))
        kinds.append(kind[outside])
        depths.append(np.cumsum(_STEPS[kinds[-1]]) + depth)
        depth = int(depths[-1][-1]) if len(depths[-1]) else depth
        if depths[-1].max(initial=0) > _MAX_DEPTH:
            msg = "recursion limit exceeded"
            raise InvalidJson(msg)
        values += int(np.count_nonzero(kinds[-1] != _CLOSE))
        if values > MAX_BODY_VALUES:
            raise TooManyValues
        in_string, escaped = bool(within[-1] % 2) if len(within) else in_string, escaped_next
    return np.concatenate(places), np.concatenate(kinds), np.concatenate(depths)


def _escapes(
    place: NDArray[np.int64], kind: NDArray[np.uint8], length: int
) -> tuple[NDArray[np.bool_], bool]:
    """Which of the characters are escaped, and whether the first one after the block is."""
    escapes = kind == _ESCAPE
    if not escapes.any():
        return np.zeros(len(kind), bool), False
    # Of a run of escapes every other one escapes what follows it.
    follows = np.concatenate(([False], escapes[:-1] & (np.diff(place) == 1)))
    run_starts = np.maximum.accumulate(np.where(follows, 0, place))
    escaped = follows & ((place - run_starts) % 2 == 1)
    last_escapes = bool(escapes[-1] and not escaped[-1] and place[-1] == length - 1)
    return escaped, last_escapes


def _parse_beginning(beginning: bytes) -> dict[str, Any]:
    try:
        fields = from_json(beginning, allow_partial=True)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
