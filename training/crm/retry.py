"""Retries with exponential backoff and full jitter."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from features.clock import humanise
from training.crm.protocol import PushStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.crm.protocol import Response

# Beside the usual ones: 423 and 477 are HubSpot's (locked, migrating), 520 to 524 are a proxy's in front.
TRANSIENT = frozenset({408, 423, 425, 429, 477, 500, 502, 503, 504, *range(520, 525)})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits as long as the CRM asks, else a random share of a delay that doubles ("full jitter").

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/. Seconds throughout.
    """

    attempts: int = 8
    first: float = 1.0
    longest: float = 60.0
    at_request: float = 900.0
    sleep: Callable[[float], object] = time.sleep
    draw: Callable[[], float] = random.random

    def wait(self, failures: int, seconds: float | None, why: str) -> None:
        """Wait before the next try, after ``failures`` in a row; ``seconds`` is what the CRM asks for.

        Raises PushStopped after ``attempts`` failures, or where the CRM asks for more than ``at_request``.
        """
        if failures >= self.attempts:
            msg = f"{why}; tried {self.attempts} times"
            raise PushStopped(msg)
        if seconds is not None and seconds > self.at_request:
            msg = f"{why}; the CRM asks to wait longer than {humanise(self.at_request)}"
            raise PushStopped(msg)
        delay = self.draw() * min(self.longest, self.first * 2**failures)
        self.sleep(delay if seconds is None else seconds)


def retry_after(response: Response) -> float | None:
    """The seconds that a response asks to wait, from a number or a date; None where it does not say."""
    try:
        return Retry().parse_retry_after(response.headers["retry-after"])
    except (KeyError, InvalidHeader):
        return None
