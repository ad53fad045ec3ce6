"""The line of a TOML text that a table or key stands in, which ``tomllib`` does not say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER = re.compile(r"\s*\[(\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]+\")\s*[=.]")


def nearest_line(text: str, path: Sequence[str | int]) -> int:
    r"""The number of the line of a key, or of the innermost table around it that has a line of its own.

    Args:
        text: The TOML text.
        path: The names of the tables and the key, and the numbers (from 0) of items of a list of tables.

    Returns:
        The number, from 1 on; 1 where nothing of the path has a line.

    >>> nearest_line("[a]\nb = 1\n[[c]]\nd = 2", ("c", 0, "d"))
    4
    """
    lines = _lines(text)
    prefixes = (tuple(path[:end]) for end in range(len(path), -1, -1))
    return next((lines[prefix] for prefix in prefixes if prefix in lines), 1)


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The line number of each table and of each key that begins a line of a TOML text."""
    lines: dict[tuple[str | int, ...], int] = {}
    current: tuple[str | int, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            current = tuple(part.strip(' "') for part in header[2].split("."))
            if header[1]:
                current = (*current, sum(1 for path in lines if path[:-1] == current))
            lines[current] = number
        elif key := _KEY.match(line):
            lines.setdefault((*current, key[1].strip('"')), number)
    return lines
