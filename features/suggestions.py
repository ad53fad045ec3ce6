"""Suggestions for names that do not exist, for the end of an error message."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_LISTED = 20


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint for the end of a message: the nearest of the ``known`` names, or else the first twenty of them.

    >>> suggest("horzion", ["horizon", "settle"]), suggest("colour", ["horizon", "settle"])
    ("; did you mean 'horizon'?", "; there is 'horizon', 'settle'")
    """
    options = {option.casefold(): option for option in known}
    close = difflib.get_close_matches(name.casefold(), options, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {options[close[0]]!r}?"
    listed = ", ".join(map(repr, list(options.values())[:_MAX_LISTED]))
    return f"; there is {listed}" + (", ..." if len(options) > _MAX_LISTED else "")
