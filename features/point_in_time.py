"""The one cut in time: which events a snapshot sees."""

from __future__ import annotations

from typing import Any, TypeVar

Moment = TypeVar("Moment", int, Any)


def is_visible(occurred_at: Moment, known_at: Moment, as_of: Moment) -> Any:
    """Whether a snapshot at ``as_of`` sees an event: it happened before, and the CRM knew of it before.

    Strictly before: an event in the second of the snapshot itself is the future. Works on plain integers and
    on expressions alike, and is the only place in leadloop where a time is compared with ``as_of``.

    >>> is_visible(99, 99, 100), is_visible(100, 100, 100), is_visible(99, 100, 100)
    (True, False, False)
    """
    return (occurred_at < as_of) & (known_at < as_of)
