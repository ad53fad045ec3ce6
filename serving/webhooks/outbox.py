"""The statements of the outbox: messages are added, delivered or given up, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import and_, delete, exists, func, insert, select, update

from serving.decision_log.erasure import erased_since, lock_against_erasure
from serving.decision_log.tables import WEBHOOK_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine

_WAITING = WEBHOOK_MESSAGES.c.given_up == 0
_LONGEST_ERROR = 200


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message about a lead to one subscription; ``payload`` is its JSON."""

    subscription: str
    tenant: str
    lead_id: str
    type: str
    payload: str


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that is to be delivered; the attributes are columns of ``webhook_messages``."""

    id: int
    lead_id: str
    message_id: str
    payload: str
    attempts: int
    due_since: int


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """Why a message was not delivered, and when it is tried again; never where it is given up."""

    id: int
    error: str
    next_at: float
    given_up: bool = False


def add_messages(
    connection: Connection, messages: Sequence[NewMessage], now: float, received_at: float | None = None
) -> None:
    """Add messages, in their order.

    Args:
        connection: A connection in a transaction, that of what the messages tell of.
        messages: The messages.
        now: In epoch seconds.
        received_at: When the request came that they come of; leads that were erased since get none.
    """
    if not messages:
        return
    lock_against_erasure(connection)
    leads = {(message.tenant, message.lead_id) for message in messages}
    erased = set() if received_at is None else erased_since(connection, leads, received_at)
    rows = [
        {
            "subscription": message.subscription,
            "tenant": message.tenant,
            "lead_id": message.lead_id,
            "type": message.type,
            "message_id": f"msg_{uuid4().hex}",
            "created_at": int(now),
            "payload": message.payload,
            "attempts": 0,
            "due_since": int(now),
            "next_at": 0.0,
            "given_up": 0,
        }
        for message in messages
        if (message.tenant, message.lead_id) not in erased
    ]
    if rows:
        connection.execute(insert(WEBHOOK_MESSAGES), rows)


def due_messages(log: Engine, subscription: str, now: float, most: int) -> list[WaitingMessage]:
    """At most ``most`` messages that may be sent now: of each lead the oldest that waits."""
    earlier = WEBHOOK_MESSAGES.alias()
    is_behind = exists().where(
        and_(
            earlier.c.lead_id == WEBHOOK_MESSAGES.c.lead_id,
            earlier.c.tenant == WEBHOOK_MESSAGES.c.tenant,
            earlier.c.subscription == WEBHOOK_MESSAGES.c.subscription,
            earlier.c.given_up == 0,
            earlier.c.id < WEBHOOK_MESSAGES.c.id,
        )
    )
    columns = [WEBHOOK_MESSAGES.c[name] for name in WaitingMessage.__slots__]
    query = (
        select(*columns)
        .where(
            _WAITING,
            WEBHOOK_MESSAGES.c.subscription == subscription,
            WEBHOOK_MESSAGES.c.next_at <= now,
            ~is_behind,
        )
        .order_by(WEBHOOK_MESSAGES.c.next_at, WEBHOOK_MESSAGES.c.id)
        .limit(most)
    )
    with log.connect() as connection:
        return [WaitingMessage(*row) for row in connection.execute(query)]


def is_waiting(log: Engine, message_id: str) -> bool:
    """Whether a message is still to be delivered: not where its lead was erased meanwhile."""
    query = select(WEBHOOK_MESSAGES.c.id).where(_WAITING, WEBHOOK_MESSAGES.c.message_id == message_id)
    with log.connect() as connection:
        return connection.execute(query).first() is not None


def remove_delivered(connection: Connection, number: int) -> None:
    """Delete a message that the receiver has taken: nothing of it is kept."""
    connection.execute(delete(WEBHOOK_MESSAGES).where(WEBHOOK_MESSAGES.c.id == number))


def add_failure(connection: Connection, failure: FailedAttempt) -> None:
    """Count an attempt that failed."""
    connection.execute(
        update(WEBHOOK_MESSAGES)
        .where(WEBHOOK_MESSAGES.c.id == failure.id)
        .values(
            attempts=WEBHOOK_MESSAGES.c.attempts + 1,
            next_at=failure.next_at,
            error=failure.error[:_LONGEST_ERROR],
            given_up=int(failure.given_up),
        )
    )


def give_up_old(connection: Connection, ages: Mapping[str, int], now: float, otherwise: int) -> int:
    """Give up messages that have waited too long; how many these are.

    Args:
        connection: A connection in a transaction.
        ages: By subscription, after how many seconds.
        now: In epoch seconds.
        otherwise: The same for subscriptions that are no longer in the file.
    """
    given_up = 0
    for name, age in [*ages.items(), (None, otherwise)]:
        column = WEBHOOK_MESSAGES.c.subscription
        own = column.not_in(list(ages)) if name is None else column == name
        old = WEBHOOK_MESSAGES.c.due_since < now - age
        error = func.coalesce(WEBHOOK_MESSAGES.c.error, "it waited too long")
        statement = update(WEBHOOK_MESSAGES).where(_WAITING, own, old).values(given_up=1, error=error)
        given_up += connection.execute(statement).rowcount
    return given_up


def count_messages(log: Engine, tenant: str = "") -> list[dict[str, Any]]:
    """By subscription, how many messages wait and were given up, and since when the oldest waits.

    ``tenant`` is whose leads they are about; "" means all.
    """
    name, waits = WEBHOOK_MESSAGES.c.subscription, WEBHOOK_MESSAGES.c.given_up == 0
    query = (
        select(
            name,
            func.count().filter(waits).label("waiting"),
            func.count().filter(~waits).label("given_up"),
            func.min(WEBHOOK_MESSAGES.c.created_at).filter(waits).label("oldest"),
        )
        .where(*_of(tenant))
        .group_by(name)
        .order_by(name)
    )
    with log.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _of(tenant: str) -> list[ColumnElement[bool]]:
    return [WEBHOOK_MESSAGES.c.tenant == tenant] if tenant else []


def dead_letters(
    log: Engine, subscription: str | None, most: int, tenant: str = "", after: int = 0
) -> list[dict[str, Any]]:
    """At most ``most`` messages that were given up, oldest first, without their payload.

    Args:
        log: An open log.
        subscription: Those of one; None means all.
        most: How many.
        tenant: Those about leads of a tenant. Default: all.
        after: Those with greater numbers. Default: from the first on.
    """
    names = ("id", "subscription", "tenant", "lead_id", "type", "created_at", "attempts", "error")
    own = (WEBHOOK_MESSAGES.c.given_up == 1, WEBHOOK_MESSAGES.c.id > after, *_of(tenant))
    query = select(*(WEBHOOK_MESSAGES.c[name] for name in names)).where(*own)
    if subscription is not None:
        query = query.where(WEBHOOK_MESSAGES.c.subscription == subscription)
    with log.connect() as connection:
        return [
            dict(row)
            for row in connection.execute(query.order_by(WEBHOOK_MESSAGES.c.id).limit(most)).mappings()
        ]


def messages_of_lead(log: Engine, lead_id: str, tenant: str, most: int) -> list[dict[str, Any]]:
    """The newest messages about a lead that were not delivered: to whom, of what, and since when."""
    names = ("subscription", "type", "created_at", "given_up")
    own = (WEBHOOK_MESSAGES.c.lead_id == lead_id, *_of(tenant))
    query = select(*(WEBHOOK_MESSAGES.c[name] for name in names)).where(*own)
    query = query.order_by(WEBHOOK_MESSAGES.c.id.desc()).limit(most)
    with log.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def resend(
    connection: Connection,
    now: float,
    subscription: str | None = None,
    numbers: Collection[int] = (),
    tenant: str = "",
) -> int:
    """Let messages that were given up be sent again, under their ids; how many these are.

    Args:
        connection: A connection in a transaction.
        now: In epoch seconds; their time begins anew.
        subscription: Those of one. Default: all.
        numbers: Those with these numbers. Default: all.
        tenant: Those about leads of a tenant. Default: all.
    """
    conditions = [WEBHOOK_MESSAGES.c.given_up == 1, *_of(tenant)]
    if subscription is not None:
        conditions.append(WEBHOOK_MESSAGES.c.subscription == subscription)
    if numbers:
        conditions.append(WEBHOOK_MESSAGES.c.id.in_(list(numbers)))
    again = {"given_up": 0, "attempts": 0, "due_since": int(now), "next_at": 0.0}
    return connection.execute(update(WEBHOOK_MESSAGES).where(*conditions).values(again)).rowcount
