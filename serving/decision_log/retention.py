"""Which records are too old, where the computer's clock may be wrong.

A clock that jumps ahead makes every record old, and what was deleted for it is gone. So the log remembers the
newest time that its records were judged by. It advances with the time that really passed while a service ran,
and otherwise by a tenth of the retention at most; whoever knows that the clock is right says so by hand.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from features.clock import DAY, to_datetime
from serving.decision_log.tables import DECISIONS, LOG_STATE, OUTCOMES

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Of the time that records are kept for, how much a clock may be ahead of what is known, and a day at least.
_TOLERANCE = 10


class RetentionClock:
    """The time that records are judged by.

    Args:
        keeps_for: Seconds after which records are deleted.
    """

    def __init__(self, keeps_for: int) -> None:
        self._keeps_for = keeps_for
        self._last: tuple[int, float] | None = None
        self.ahead = 0

    def oldest_kept(self, connection: Connection) -> int:
        """Records from before this time (epoch seconds) are deleted; ``ahead``: how far it is in doubt."""
        now = int(time.time())
        known = self._known_time(connection, now)
        tolerated = known + max(DAY, self._keeps_for // _TOLERANCE)
        self.ahead = now - known if now > tolerated else 0
        trusted = known if self.ahead else max(known, now)
        trust(connection, trusted)
        self._last = (trusted, _passed())
        return min(now, trusted) - self._keeps_for

    def _known_time(self, connection: Connection, now: int) -> int:
        known = trusted_time(connection) or newest_record(connection) or now
        if self._last is None:
            return known
        trusted, passed = self._last
        return max(known, trusted + int(_passed() - passed))

    def in_words(self) -> str:
        """A sentence for whoever runs the service, where the clock is in doubt."""
        today = to_datetime(int(time.time()))
        return (
            f"this computer's clock says {today:%Y-%m-%d}, {self.ahead // DAY:,} days after what the decision "
            "log knows of, so records are not deleted by it; correct the clock, or, if it is right, run "
            f"`leadloop log prune --keep-days {self._keeps_for // DAY} --force` once"
        )


def trust(connection: Connection, trusted_at: int) -> None:
    """Remember that it is at least so late (epoch seconds)."""
    earlier = update(LOG_STATE).where(LOG_STATE.c.trusted_at < trusted_at)
    connection.execute(earlier.values(trusted_at=trusted_at))


def trusted_time(connection: Connection) -> int:
    """The newest time that records were judged by (epoch seconds); 0 where none was."""
    return int(connection.execute(select(LOG_STATE.c.trusted_at)).scalar_one())


def newest_record(connection: Connection) -> int:
    """When the newest decision or outcome was logged (epoch seconds); 0 where there is none."""
    newest = (select(func.max(column)) for column in (DECISIONS.c.decided_at, OUTCOMES.c.recorded_at))
    return max(connection.execute(query).scalar() or 0 for query in newest)


def _passed() -> float:
    """Seconds that passed since the computer started, also while it slept; no clock setting changes them."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
