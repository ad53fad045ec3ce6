"""Delivers the messages of the outbox: at least once, of each lead in order, by one worker of all.

Each subscription has a task of its own, so that a receiver that is slow or gone keeps nobody else waiting.
The messages of different leads go out together; the next one of a lead goes when the one before was taken or
given up. After some failures in a row a single message is tried at a time, with growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from features.clock import DAY, HOUR
from serving.decision_log.leases import give_back_lease, take_lease
from serving.decision_log.settings import LogUnavailable
from serving.monitoring.metrics import WEBHOOKS_SENT
from serving.webhooks.outbox import (
    FailedAttempt,
    add_failure,
    due_messages,
    give_up_old,
    is_waiting,
    remove_delivered,
)
from serving.webhooks.receivers import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from serving.decision_log.async_log import DecisionLog
    from serving.webhooks.outbox import WaitingMessage
    from serving.webhooks.receivers import Attempt
    from serving.webhooks.settings import Subscription

logger = logging.getLogger("leadloop")
# So much longer than the longest attempt a lease lasts: no two workers send messages of one lead.
_LEASE = "webhooks"
_LEASE_MARGIN, _RENEW_SECONDS = 10.0, 3.0
_POLL_SECONDS = 1.0
_AT_ONCE = 8
# Seconds to wait after the first failure; each further one doubles them, up to an hour.
FIRST_DELAY, LONGEST_DELAY = 5.0, float(HOUR)
# A receiver that failed so often in a row is tried with one message at a time.
_PAUSES_AFTER = 3
_MOST_DOUBLINGS = 20


class MessageSender(Protocol):
    """What takes a message to its receiver."""

    async def send(self, message_id: str, payload: str) -> Attempt:
        """Try once to deliver a message."""

    async def close(self) -> None:
        """End its connections."""


@dataclass(slots=True)
class _Pause:
    """How a receiver has fared: failures in a row, and until when it is left alone (epoch seconds)."""

    failures: int = 0
    until: float = 0.0

    @property
    def most(self) -> int:
        return 1 if self.failures >= _PAUSES_AFTER else _AT_ONCE

    def note(self, attempt: Attempt, now: float) -> None:
        if not attempt.receiver_is_down:
            self.failures, self.until = 0, 0.0
            return
        self.failures += 1
        if self.failures >= _PAUSES_AFTER:
            self.until = now + retry_delay(self.failures - _PAUSES_AFTER)
        if attempt.retry_after is not None:
            self.until = max(self.until, now + attempt.retry_after)


def retry_delay(failures: int, draw: Callable[[], float] = random.random) -> float:
    """The seconds to wait after ``failures`` earlier ones: doubled each time, half of them by lot.

    >>> [retry_delay(failures, lambda: 1.0) for failures in (0, 1, 2, 30)]
    [5.0, 10.0, 20.0, 3600.0]
    """
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures, _MOST_DOUBLINGS))
    return delay * (0.5 + draw() / 2)


class WebhookDelivery:
    """Delivers messages until it is cancelled.

    Args:
        journal: The decision log, whose database holds the outbox.
        subscriptions: Who is told.
        sender: What sends to a subscription. Default: over HTTP.
    """

    def __init__(
        self,
        journal: DecisionLog,
        subscriptions: Iterable[Subscription],
        sender: Callable[[Subscription], MessageSender] = Receiver,
    ) -> None:
        self._journal = journal
        self._subscriptions = {each.name: each for each in subscriptions}
        self._sender = sender
        self._holder = uuid4().hex
        self._longest = max((each.timeout for each in self._subscriptions.values()), default=0.0)
        self._held_until = 0.0
        self._stopped = asyncio.Event()
        # Taken by the receiver, while the database could not be told.
        self._unmarked: set[int] = set()

    async def run(self) -> None:
        """Hold the lease and deliver, for ever; when cancelled, let another worker go on at once."""
        tasks = [asyncio.create_task(self._hold_lease())]
        tasks += [asyncio.create_task(self._serve(each)) for each in self._subscriptions.values()]
        try:
            # Other than ``gather`` it leaves them alone when it is cancelled: each is cancelled once, below.
            ended_tasks, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in ended_tasks:
                task.result()
        finally:
            # Python 3.11 forgets a cancellation where what it waited for was done at that moment.
            self._stopped.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._may_send:
                with suppress(LogUnavailable):
                    await self._journal.writer.write(
                        partial(give_back_lease, name=_LEASE, holder=self._holder)
                    )

    async def _sleep(self, seconds: float) -> None:
        """Wait so long, or until all is to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    @property
    def _may_send(self) -> bool:
        """Whether the lease lasts longer than an attempt can."""
        return time.monotonic() + self._longest < self._held_until

    async def _hold_lease(self) -> None:
        while not self._stopped.is_set():
            with suppress(LogUnavailable):
                started = time.monotonic()
                seconds = self._longest + _LEASE_MARGIN
                claim = partial(
                    take_lease, name=_LEASE, holder=self._holder, now=time.time(), seconds=seconds
                )
                if await self._journal.writer.write(claim):
                    self._held_until = started + seconds
                    await self._give_up_old()
            await self._sleep(_RENEW_SECONDS if self._may_send else _POLL_SECONDS)

    async def _give_up_old(self) -> None:
        ages = {name: each.gives_up_after for name, each in self._subscriptions.items()}
        work = partial(give_up_old, ages=ages, now=time.time(), otherwise=3 * DAY)
        number = await self._journal.writer.write(work)
        if number:
            logger.warning("%d messages to webhooks waited too long and were given up; %s", number, _NEXT)

    async def _serve(self, subscription: Subscription) -> None:
        """Deliver the messages of one subscription."""
        sender, pause = self._sender(subscription), _Pause()
        try:
            while not self._stopped.is_set():
                count = 0
                with suppress(LogUnavailable):
                    count = await self.deliver_due(subscription, sender, pause)
                if not count:
                    await self._sleep(_POLL_SECONDS)
        finally:
            await sender.close()

    async def deliver_due(self, subscription: Subscription, sender: MessageSender, pause: _Pause) -> int:
        """Send the messages that may go now, one of each lead; how many were tried."""
        now = time.time()
        if not self._may_send or now < pause.until:
            return 0
        query = partial(due_messages, subscription=subscription.name, now=now, most=pause.most)
        messages = await self._journal.read(lambda: query(self._journal.writer.log))
        attempts = [self._deliver(subscription, sender, message, pause) for message in messages]
        await asyncio.gather(*attempts)
        return len(messages)

    async def _deliver(
        self, subscription: Subscription, sender: MessageSender, message: WaitingMessage, pause: _Pause
    ) -> None:
        """Send one message, and keep what became of it. Raises LogUnavailable where that fails."""
        if message.id in self._unmarked:
            await self._remove(message)
            return
        # Its lead may have been erased since it was read.
        query = partial(is_waiting, message_id=message.message_id)
        if not await self._journal.read(lambda: query(self._journal.writer.log)) or not self._may_send:
            return
        attempt = await sender.send(message.message_id, message.payload)
        pause.note(attempt, time.time())
        if not attempt.error:
            WEBHOOKS_SENT.labels(subscription.name, "delivered").inc()
            self._unmarked.add(message.id)
            await self._remove(message)
            return
        failure = _failure(subscription, message, attempt, time.time())
        WEBHOOKS_SENT.labels(subscription.name, "given_up" if failure.given_up else "failed").inc()
        await self._journal.writer.write(partial(add_failure, failure=failure))
        if failure.given_up:
            logger.warning(
                "a message to the webhook %s was given up (%s); %s", subscription.name, attempt.error, _NEXT
            )

    async def _remove(self, message: WaitingMessage) -> None:
        await self._journal.writer.write(partial(remove_delivered, number=message.id))
        self._unmarked.discard(message.id)


_NEXT = "`leadloop webhooks list` shows them, `leadloop webhooks resend` sends them again"


def _failure(
    subscription: Subscription, message: WaitingMessage, attempt: Attempt, now: float
) -> FailedAttempt:
    """What is kept of an attempt that failed: when the next one is due, or that there is none."""
    delay = max(retry_delay(message.attempts), attempt.retry_after or 0.0)
    is_last = message.attempts + 1 >= subscription.attempts
    is_old = now - message.due_since >= subscription.gives_up_after
    return FailedAttempt(message.id, attempt.error, now + delay, given_up=is_last or is_old)
