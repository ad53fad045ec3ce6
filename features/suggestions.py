"""Suggestions for names that do not exist, for the end of an error message."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_LISTED = 20
# Names come from outside, and what they are compared with, too: the time for it is not to grow with them.
_MAX_LENGTH = 100
_MAX_COMPARED = 2_000


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for the end of a message: the nearest of the ``known`` names, or else the first twenty of them.

    >>> suggest("horzion", ["horizon", "settle"]), suggest("colour", ["horizon", "settle"])
    ("; did you mean 'horizon'?", "; there is 'horizon', 'settle'")
    >>> suggest("colour", [])
    '; there is none'
    """
    options = _options(known)
    if nearest := suggest_nearest(name, options.values()):
        return nearest
    if not options:
        return "; there is none"
    listed = ", ".join(map(repr, list(options.values())[:_MAX_LISTED]))
    return f"; there is {listed}" + (", ..." if len(options) > _MAX_LISTED else "")


def suggest_nearest(name: str, known: Iterable[str]) -> str:
    """A hint for the end of a message that lists the ``known`` names: the nearest of them, or nothing.

    >>> suggest_nearest("horzion", ["horizon", "settle"]), suggest_nearest("colour", ["horizon", "settle"])
    ("; did you mean 'horizon'?", '')
    """
    options = _options(known)
    close = difflib.get_close_matches(name[:_MAX_LENGTH].casefold(), options, n=1, cutoff=0.6)
    return f"; did you mean {options[close[0]]!r}?" if close else ""


def _options(known: Iterable[str]) -> dict[str, str]:
    return {option[:_MAX_LENGTH].casefold(): option for option in islice(known, _MAX_COMPARED)}
