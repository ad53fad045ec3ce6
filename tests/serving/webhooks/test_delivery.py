"""Messages are delivered at least once, of each lead in order, by one worker, and hold up nobody else."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, update

from serving.decision_log.async_log import DecisionLog
from serving.decision_log.database import writing
from serving.decision_log.settings import LogSettings, LogUnavailable
from serving.decision_log.statements import erase, probe_writable, prune
from serving.decision_log.tables import WEBHOOK_MESSAGES
from serving.webhooks import delivery as module
from serving.webhooks.delivery import WebhookDelivery, retry_delay
from serving.webhooks.outbox import (
    NewMessage,
    add_messages,
    count_messages,
    dead_letters,
    due_messages,
    resend,
)
from serving.webhooks.receivers import Attempt
from serving.webhooks.settings import Subscription

SECRET = "whsec_" + "c2VjcmV0" * 6
SALES = Subscription("sales", "https://sales.example/hook", (SECRET,))
pytestmark = pytest.mark.anyio
DOWN = Attempt("status 503", receiver_is_down=True)
WITHIN = 20


class FakeReceiver:
    """What each subscription was sent, and what it answers: the next of its answers, or that it is taken."""

    def __init__(self):
        self.sent = defaultdict(list)
        self.answers = defaultdict(list)
        self.block = defaultdict(list)

    def of(self, subscription):
        outer = self

        class Sender:
            async def send(self, message_id, payload):
                outer.sent[subscription.name].append((message_id, payload))
                for event in outer.block[subscription.name]:
                    await event.wait()
                answers = outer.answers[subscription.name]
                return answers.pop(0) if answers else Attempt()

            async def close(self):
                pass

        return Sender()

    def payloads(self, name="sales"):
        return [payload for _, payload in self.sent[name]]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(module, "LONGEST_DELAY", 0.05)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def receiver():
    return FakeReceiver()


@pytest.fixture
def journal(place):
    opened = DecisionLog(LogSettings(place))
    opened.writer.submit(probe_writable).result(WITHIN)
    yield opened
    opened.close()


def message(lead_id, payload, subscription="sales"):
    return NewMessage(subscription, "", lead_id, "score.jumped", payload)


async def add(journal, *messages):
    await journal.writer.write(lambda connection: add_messages(connection, messages, time.time()))


@asynccontextmanager
async def delivering(journal, receiver, *subscriptions):
    task = asyncio.create_task(WebhookDelivery(journal, subscriptions or (SALES,), receiver.of).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition):
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110  # it may be a count in the database
            await asyncio.sleep(0.01)


def waiting(journal):
    with journal.writer.log.connect() as connection:
        return connection.execute(
            select(func.count()).select_from(WEBHOOK_MESSAGES).where(WEBHOOK_MESSAGES.c.given_up == 0)
        ).scalar_one()


async def test_what_was_delivered_is_in_order_of_each_lead_and_nothing_of_it_is_kept(journal, receiver):
    await add(journal, *(message(f"lead-{n % 3}", f"{n % 3}:{n:02}") for n in range(30)))
    async with delivering(journal, receiver):
        await until(lambda: waiting(journal) == 0)
    for lead in "012":
        own = [payload for payload in receiver.payloads() if payload.startswith(lead)]
        assert own == sorted(own)
        assert len(own) == 10


async def test_a_failed_message_is_sent_again_under_its_id_before_the_next_of_its_lead(journal, receiver):
    receiver.answers["sales"] = [DOWN, DOWN]
    await add(journal, message("ada", "first"), message("ada", "second"))
    async with delivering(journal, receiver):
        await until(lambda: waiting(journal) == 0)
    assert receiver.payloads() == ["first", "first", "first", "second"]
    ids = [message_id for message_id, _ in receiver.sent["sales"]]
    assert len(set(ids[:3])) == 1
    assert ids[3] != ids[0]


async def test_a_receiver_that_is_gone_holds_up_nobody_else(journal, receiver):
    other = Subscription("marketing", "https://marketing.example/hook", (SECRET,))
    never = asyncio.Event()
    receiver.block["sales"] = [never]
    await add(
        journal,
        message("ada", "a"),
        message("bob", "b"),
        *(message(f"lead-{n}", str(n), "marketing") for n in range(20)),
    )
    async with delivering(journal, receiver, SALES, other):
        await until(lambda: len(receiver.sent["marketing"]) == 20)
    assert waiting(journal) >= 2


async def test_a_receiver_that_was_gone_for_an_hour_gets_everything_in_order_by_lead(journal, monkeypatch):
    """With the delays of real life, on a clock on which a second is an hour."""
    began, monotonic = time.time(), time.monotonic()

    def now():
        return began + (time.monotonic() - monotonic) * 3_600

    monkeypatch.setattr(module, "time", SimpleNamespace(time=now, monotonic=time.monotonic))
    monkeypatch.setattr(module, "FIRST_DELAY", 5.0)
    monkeypatch.setattr(module, "LONGEST_DELAY", 3_600.0)

    class Gone(FakeReceiver):
        attempts = 0

        def of(self, subscription):
            outer = self

            class Sender:
                async def send(self, message_id, payload):
                    outer.attempts += 1
                    if now() < began + 3_600:
                        return DOWN
                    outer.sent[subscription.name].append((message_id, payload))
                    return Attempt()

                async def close(self):
                    pass

            return Sender()

    gone = Gone()
    await add(journal, *(message(f"lead-{n % 5}", f"{n % 5}:{n:02}") for n in range(25)))
    async with delivering(journal, gone):
        await until(lambda: waiting(journal) == 0)
    payloads = gone.payloads()
    assert sorted(payloads) == sorted(f"{n % 5}:{n:02}" for n in range(25))
    for lead in "01234":
        own = [payload for payload in payloads if payload.startswith(lead)]
        assert own == sorted(own)
    # It was asked now and then, not all the time.
    assert 25 < gone.attempts < 25 + 60
    assert dead_letters(journal.writer.log, None, 10) == []


async def test_a_receiver_that_fails_is_tried_with_one_message_at_a_time_until_one_is_taken(
    journal, receiver, monkeypatch
):
    monkeypatch.setattr(module, "FIRST_DELAY", 0.1)
    receiver.answers["sales"] = [DOWN] * 12
    await add(journal, *(message(f"lead-{n}", str(n)) for n in range(40)))
    async with delivering(journal, receiver):
        await until(lambda: waiting(journal) == 0)
    # Eight together, then probes, and each failure but the last cost one attempt.
    assert len(receiver.sent["sales"]) == 40 + 12


async def test_one_message_that_its_receiver_does_not_take_holds_up_its_lead_alone(journal):
    class Picky(FakeReceiver):
        def of(self, subscription):
            outer = self

            class Sender:
                async def send(self, message_id, payload):
                    outer.sent[subscription.name].append((message_id, payload))
                    return Attempt("status 400") if payload == "bad" else Attempt()

                async def close(self):
                    pass

            return Sender()

    picky = Picky()
    stubborn = Subscription("sales", SALES.url, (SECRET,), attempts=3)
    await add(
        journal,
        message("ada", "bad"),
        message("ada", "after"),
        *(message(f"lead-{n}", str(n)) for n in range(10)),
    )
    async with delivering(journal, picky, stubborn):
        await until(lambda: waiting(journal) == 0)
    payloads = picky.payloads()
    assert payloads.count("bad") == 3
    assert payloads.index("after") > max(i for i, each in enumerate(payloads) if each == "bad")
    (letter,) = dead_letters(journal.writer.log, None, 10)
    assert (letter["lead_id"], letter["attempts"], letter["error"]) == ("ada", 3, "status 400")


async def test_a_dead_letter_is_sent_again_when_asked_for_under_its_id(journal, receiver):
    once = Subscription("sales", SALES.url, (SECRET,), attempts=1)
    receiver.answers["sales"] = [Attempt("status 404")]
    await add(journal, message("ada", "a"))
    async with delivering(journal, receiver, once):
        await until(lambda: dead_letters(journal.writer.log, "sales", 10))
        assert resend_all(journal, "marketing") == 0
        assert resend_all(journal, "sales") == 1
        await until(lambda: len(receiver.sent["sales"]) == 2)
        await until(lambda: waiting(journal) == 0)
    assert len({message_id for message_id, _ in receiver.sent["sales"]}) == 1
    assert dead_letters(journal.writer.log, None, 10) == []


def resend_all(journal, name):
    with writing(journal.writer.log).begin() as connection:
        return resend(connection, time.time(), name)


async def test_a_message_that_waited_too_long_is_given_up_also_of_a_subscription_that_is_gone(
    journal, receiver
):
    await add(journal, message("ada", "a"), message("bob", "b", "gone"))
    with writing(journal.writer.log).begin() as connection:
        connection.execute(update(WEBHOOK_MESSAGES).values(due_since=0))
    async with delivering(journal, receiver):
        await until(lambda: waiting(journal) == 0)
    assert {row["lead_id"] for row in dead_letters(journal.writer.log, None, 10)} >= {"bob"}
    counts = {row["subscription"]: row["given_up"] for row in count_messages(journal.writer.log)}
    assert counts["gone"] == 1


async def test_what_was_sent_and_could_not_be_noted_is_sent_again_under_the_same_id(
    journal, receiver, monkeypatch
):
    """The worker dies between the receiver's answer and the commit; another one goes on."""

    async def lost(*_):
        raise LogUnavailable

    await add(journal, message("ada", "a"), message("ada", "b"))
    async with delivering(journal, receiver):
        monkeypatch.setattr(WebhookDelivery, "_remove", lost)
        await until(lambda: receiver.sent["sales"])
    monkeypatch.undo()
    async with delivering(journal, receiver):
        await until(lambda: waiting(journal) == 0)
    assert receiver.payloads() == ["a", "a", "b"]
    first, again, _ = [message_id for message_id, _ in receiver.sent["sales"]]
    assert first == again


async def test_of_two_workers_one_delivers_and_the_other_goes_on_where_it_ends(place, receiver):
    first, second = DecisionLog(LogSettings(place)), DecisionLog(LogSettings(place))
    try:
        await add(first, *(message(f"lead-{n}", f"early-{n}") for n in range(20)))
        one = WebhookDelivery(first, [SALES], receiver.of)
        other = WebhookDelivery(second, [SALES], receiver.of)
        tasks = [asyncio.create_task(each.run()) for each in (one, other)]
        await until(lambda: waiting(first) == 0)
        held = [each._may_send for each in (one, other)]
        assert sorted(held) == [False, True]
        tasks[held.index(True)].cancel()
        await add(first, message("ada", "late"))
        await until(lambda: waiting(first) == 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        first.close()
        second.close()
    assert sorted(receiver.payloads()) == sorted([*(f"early-{n}" for n in range(20)), "late"])


async def test_the_messages_of_an_erased_lead_are_gone_also_those_given_up(journal):
    await add(journal, message("ada", "a"), message("bob", "b"))
    with writing(journal.writer.log).begin() as connection:
        connection.execute(update(WEBHOOK_MESSAGES).values(given_up=1))
        add_messages(connection, [message("ada", "again")], time.time())
        erase(connection, "ada", int(time.time()))
    assert [row["lead_id"] for row in dead_letters(journal.writer.log, None, 10)] == ["bob"]
    assert due_messages(journal.writer.log, "sales", time.time(), 10) == []


async def test_no_message_is_added_of_a_lead_that_was_erased_since_its_request_came(journal):
    came = time.time()
    with writing(journal.writer.log).begin() as connection:
        erase(connection, "ada", int(time.time()))
        add_messages(connection, [message("ada", "late"), message("bob", "b")], time.time(), came)
    assert [each.lead_id for each in due_messages(journal.writer.log, "sales", time.time(), 10)] == ["bob"]


async def test_a_message_that_was_read_before_its_lead_was_erased_is_not_sent(journal, receiver, monkeypatch):
    await add(journal, message("ada", "a"), message("bob", "b"))
    read = module.due_messages

    def erase_meanwhile(log, **options):
        found = read(log, **options)
        with writing(log).begin() as connection:
            erase(connection, "ada", int(time.time()))
        return found

    monkeypatch.setattr(module, "due_messages", erase_meanwhile)
    async with delivering(journal, receiver):
        await until(lambda: waiting(journal) == 0)
    assert receiver.payloads() == ["b"]


async def test_retention_reaches_messages(journal):
    await add(journal, message("ada", "a"), message("bob", "b"))
    with writing(journal.writer.log).begin() as connection:
        old = update(WEBHOOK_MESSAGES).where(WEBHOOK_MESSAGES.c.lead_id == "ada")
        connection.execute(old.values(created_at=1_000, given_up=1))
        prune(connection, 2_000, 100)
    assert dead_letters(journal.writer.log, None, 10) == []
    assert waiting(journal) == 1


async def test_a_transaction_that_is_rolled_back_sends_nothing(journal, receiver):
    def work(connection):
        add_messages(connection, [message("ada", "never")], time.time())
        raise ValueError

    async with delivering(journal, receiver):
        with pytest.raises(ValueError):  # noqa: PT011  # its own
            await journal.writer.write(work)
        await add(journal, message("bob", "after"))
        await until(lambda: waiting(journal) == 0)
    assert receiver.payloads() == ["after"]


async def test_a_database_that_freezes_stops_deliveries_and_they_go_on_when_it_is_back(
    journal, receiver, monkeypatch
):
    async def frozen(_):
        raise LogUnavailable

    await add(journal, message("ada", "a"))
    monkeypatch.setattr(journal, "read", frozen)
    async with delivering(journal, receiver):
        await asyncio.sleep(0.1)
        assert receiver.payloads() == []
        monkeypatch.undo()
        await until(lambda: waiting(journal) == 0)
    assert receiver.payloads() == ["a"]


def test_the_delays_double_up_to_an_hour_and_are_drawn_by_lot(monkeypatch):
    monkeypatch.undo()
    assert [retry_delay(n, lambda: 1.0) for n in (0, 1, 2, 50)] == [5.0, 10.0, 20.0, 3600.0]
    assert [retry_delay(n, lambda: 0.0) for n in (0, 1)] == [2.5, 5.0]
