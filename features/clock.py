"""Time inside leadloop: whole seconds since 1970 in UTC, so that every engine agrees to the bit.

Datetimes exist only at the rim. Everything between the source and the report compares integers.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from features.messages import Message, translate

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"\s*(\d+)\s*([smhdw])\s*")
_SCALES = (("days", DAY), ("hours", HOUR), ("minutes", MINUTE))


def to_epoch(moment: datetime) -> int:
    """Whole seconds since 1970-01-01 UTC.

    Args:
        moment: An aware datetime; its fraction of a second is cut off.

    Returns:
        The seconds, negative before 1970.

    Raises:
        ValueError: ``moment`` has no time zone.

    >>> to_epoch(datetime(1970, 1, 2, tzinfo=UTC))
    86400
    """
    if moment.tzinfo is None:
        msg = f"{moment} has no time zone; name one, leadloop does not guess"
        raise ValueError(msg)
    return int(moment.timestamp() // 1)


def to_datetime(seconds: int) -> datetime:
    """The inverse of ``to_epoch``.

    Args:
        seconds: Whole seconds since 1970-01-01 UTC.

    Returns:
        The aware datetime in UTC.
    """
    return datetime.fromtimestamp(seconds, tz=UTC)


def format_order(order: int, *, dated: bool) -> str:
    """A place in an order for readers: a day where it is ``dated`` (epoch seconds), else the number.

    >>> format_order(DAY, dated=True), format_order(9240, dated=False)
    ('1970-01-02', '9,240')
    """
    return f"{to_datetime(order):%Y-%m-%d}" if dated else f"{order:,}"


def parse_duration(text: str) -> int:
    """Read a duration as people write it in a configuration.

    Args:
        text: A whole number and a unit: s, m (minutes), h, d or w.

    Returns:
        The duration in seconds.

    Raises:
        ValueError: ``text`` is no such duration.

    >>> parse_duration("90d"), parse_duration("36 h")
    (7776000, 129600)
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a duration; write a whole number and a unit: 30d, 2w, 36h, 15m, 10s"
        raise ValueError(msg)
    return int(match[1]) * _UNITS[match[2]]


def describe_duration(seconds: float) -> Message:
    """A duration in the largest unit that fits, as a message for any language.

    >>> describe_duration(3 * DAY), describe_duration(2 * HOUR).render("de"), describe_duration(59)
    ('3 days', '2 Stunden', 'under a minute')
    """
    key, values = _scaled(seconds)
    return Message(key, **values)


def humanise(seconds: float, lang: str = "en") -> str:
    """A duration in the largest unit that fits, as text in ``lang``.

    >>> humanise(3 * DAY), humanise(2 * HOUR, "de"), humanise(59)
    ('3 days', '2 Stunden', 'under a minute')
    """
    key, values = _scaled(seconds)
    return translate(key, lang, **values)


def _scaled(seconds: float) -> tuple[str, dict[str, int]]:
    """The key of the unit that fits, and how many of it."""
    for unit, size in _SCALES:
        if count := int(seconds // size):
            return f"duration.{unit}", {"n": count}
    return "duration.moment", {}
