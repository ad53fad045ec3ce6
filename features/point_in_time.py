"""The point-in-time cut: which events a snapshot sees."""

from __future__ import annotations

from typing import Any, TypeVar

import narwhals.stable.v2 as nw

Moment = TypeVar("Moment", int, Any)


def is_visible(occurred_at: Moment, known_at: Moment, as_of: Moment) -> Any:
    """Whether a snapshot sees an event: it happened, and the CRM knew of it, before ``as_of``.

    An event in the second of the snapshot itself is the future. This is the only place in leadloop where a
    time is compared with ``as_of``.

    Args:
        occurred_at: When the event happened: epoch seconds, or an expression or array of them.
        known_at: When the CRM learned of it, likewise.
        as_of: The time of the snapshot, likewise.

    Returns:
        A boolean, or an expression or array of booleans.

    >>> is_visible(99, 99, 100), is_visible(100, 100, 100), is_visible(99, 100, 100)
    (True, False, False)
    """
    return (occurred_at < as_of) & (known_at < as_of)


def first_visible_at(occurred_at: Any, known_at: Any) -> Any:
    """The first ``as_of`` that sees an event: an expression of two, to sort by.

    ``is_visible(occurred_at, known_at, as_of)`` is ``as_of >= first_visible_at(occurred_at, known_at)``.
    """
    return nw.max_horizontal(occurred_at, known_at) + 1
