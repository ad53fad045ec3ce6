"""The tables of the decision log, in types that SQLite and PostgreSQL both have.

Rows are added, and removed as a whole when a person is erased or their time is up. None is changed but those
of ``lead_ranks``, ``current_scores``, ``named_scores``, ``score_history``, ``score_queue``, ``leases`` and
``log_state``, which hold what is true now and can be made again from the others.

``tenant`` is the label that the key of a request is bound to, "" where it is bound to none. The same
``lead_id`` under two tenants is two leads.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA = MetaData()
# SQLite counts rows up by itself only in a column of the type INTEGER.
_NUMBERED = BigInteger().with_variant(Integer, "sqlite")


def _tenant(*, primary_key: bool = False) -> Column[str]:
    return Column("tenant", Text, nullable=False, server_default="", primary_key=primary_key)


def _partial_index(name: str, columns: tuple[str, ...], where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("decided_at", BigInteger, nullable=False),
    Column("request_id", Text),
    Column("lead_id", Text, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("probability", Double, nullable=False),
    Column("log_odds", Double, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("grade", Text, nullable=False),
    Column("row", Text, nullable=False),
    Column("reasons", Text),
    Column("key_id", Text),
    Column("shadow", SmallInteger, nullable=False),
    Column("explored", SmallInteger, nullable=False),
    Column("insufficient", Text),
    _tenant(),
    # The name of the model that was asked for; "" for the default one, whose decisions alone rank leads.
    Column("model", Text, nullable=False, server_default=""),
    Index("decisions_of_a_lead", "lead_id", "id"),
    Index("decisions_in_time", "decided_at"),
    # A number is never given out twice, even after its row was erased: pages of a listing rely on it.
    sqlite_autoincrement=True,
)
OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("key", Text, nullable=False),
    Column("lead_id", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("corrects", Text),
    _tenant(),
    Column("decided_by", Text),
    # The name of the model whose question it answers; "" for the default one.
    Column("model", Text, nullable=False, server_default=""),
    UniqueConstraint("tenant", "key", name="outcome_keys"),
    Index("outcomes_of_a_lead", "lead_id", "id"),
    Index("outcomes_in_time", "recorded_at"),
    Index("corrections", "corrects"),
    sqlite_autoincrement=True,
)
ERASURES = Table(
    "erasures",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("day", BigInteger, nullable=False),
    Column("decisions", BigInteger, nullable=False),
    Column("outcomes", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
HANDOVERS = Table(
    "handovers",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("day", BigInteger, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("explore", Double, nullable=False),
    Column("value", Text, nullable=False),
    Column("open", BigInteger, nullable=False),
    Column("tied", BigInteger, nullable=False),
    Column("tied_taken", BigInteger, nullable=False),
    _tenant(),
    Column("control_share", Double, nullable=False, server_default="0"),
    Column("owner", Text, nullable=False, server_default=""),
    Column("dormant", SmallInteger, nullable=False, server_default="0"),
    # The name of the model that ranks; "" for the default one.
    Column("model", Text, nullable=False, server_default=""),
    # Whoever asks first on a day decides for all of the same tenant who ask the same.
    UniqueConstraint(
        *("tenant", "day", "capacity", "explore", "value", "owner", "dormant", "model"),
        name="handovers_of_a_day",
    ),
    sqlite_autoincrement=True,
)
HANDED_OVER = Table(
    "handed_over",
    METADATA,
    Column("handover_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rank", BigInteger, primary_key=True, autoincrement=False),
    Column("lead_id", Text, nullable=False),
    Column("decision_id", BigInteger, nullable=False),
    Column("worth", Double, nullable=False),
    Column("value", Double),
    Column("explored", SmallInteger, nullable=False),
    Column("propensity", Double, nullable=False),
    _tenant(),
    Index("handed_over_leads", "lead_id"),
)
# The leads of the control group that would have been handed over, by ``rank`` as in ``handed_over``.
CONTROL_LEADS = Table(
    "control_leads",
    METADATA,
    Column("handover_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rank", BigInteger, primary_key=True, autoincrement=False),
    Column("lead_id", Text, nullable=False),
    Column("decision_id", BigInteger, nullable=False),
    Column("worth", Double, nullable=False),
    Column("value", Double),
    Column("explored", SmallInteger, nullable=False),
    Column("propensity", Double, nullable=False),
    _tenant(),
    Index("control_leads_by_id", "lead_id"),
)
# The next leads beside each list, by ``rank``: handed over only where somebody says so.
RESERVE_LEADS = Table(
    "reserve_leads",
    METADATA,
    Column("handover_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rank", BigInteger, primary_key=True, autoincrement=False),
    Column("lead_id", Text, nullable=False),
    Column("decision_id", BigInteger, nullable=False),
    Column("worth", Double, nullable=False),
    Column("value", Double),
    _tenant(),
    Index("reserve_leads_by_id", "lead_id"),
)
# How many leads were on no list and why; ``owner`` is that of the list, or "" for leads that are nobody's.
HANDOVER_EXCLUSIONS = Table(
    "handover_exclusions",
    METADATA,
    Column("handover_id", BigInteger, primary_key=True, autoincrement=False),
    Column("owner", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("leads", BigInteger, nullable=False),
)
# What people decided beside the model's choice; the newest about a lead counts until ``until``.
#   action: hand_over, take_off or withdraw
#   model: the name of the model whose lists it is about; "" for the default one
HANDOVER_OVERRIDES = Table(
    "handover_overrides",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("lead_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("key_id", Text),
    Column("recorded_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    _tenant(),
    Column("model", Text, nullable=False, server_default=""),
    Index("handover_overrides_of_a_lead", "lead_id", "id"),
    sqlite_autoincrement=True,
)
# What a hand-over ranks: a row per lead by probability (``value_name`` ""), and one by probability times
# value for each feature in ``ranked_values``. Kept up in the transaction that adds the decision or outcome.
#   worth: the probability, times the value where ``known``; where the value is not known, the probability
#   lot: 31 bits of the lead id's hash, from which the lots of each day are drawn
#   withheld: the number was withheld from the answer, or there is no decision (``decision_id`` 0)
#   closed: 1 the lead has an outcome, 2 by its stage in the lead store, 3 both; 0 it is open
#   dormant: by the decision it is older or silent for longer than any lead in training
OPEN_LEADS = "closed = 0 AND withheld = 0"
LEAD_RANKS = Table(
    "lead_ranks",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("lead_id", Text, primary_key=True),
    Column("value_name", Text, primary_key=True),
    Column("decision_id", BigInteger, nullable=False),
    Column("worth", Double, nullable=False),
    Column("value", Double),
    Column("known", SmallInteger, nullable=False),
    Column("lot", BigInteger, nullable=False),
    Column("withheld", SmallInteger, nullable=False),
    Column("closed", SmallInteger, nullable=False),
    Column("dormant", SmallInteger, nullable=False, server_default="0"),
    _partial_index(
        "ranks_by_worth", ("tenant", "value_name", "known", "dormant", "worth", "lot"), OPEN_LEADS
    ),
    _partial_index(
        "ranks_by_value", ("tenant", "value_name", "dormant", "value"), f"{OPEN_LEADS} AND value IS NOT NULL"
    ),
)
RANKED_VALUES = Table(
    "ranked_values",
    METADATA,
    Column("value_name", Text, primary_key=True),
    Column("complete", SmallInteger, nullable=False),
)
# One row: the project that the log belongs to ("": none yet), the key of the hashes in ``erased_leads``, and
# the newest time that records were pruned by (epoch seconds, 0: none yet).
LOG_STATE = Table(
    "log_state",
    METADATA,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("project", Text, nullable=False),
    Column("hash_key", Text, nullable=False),
    Column("trusted_at", BigInteger, nullable=False),
)
# Answers that a client may ask for again under the same key; erased with any of their leads.
IDEMPOTENT_ANSWERS = Table(
    "idempotent_answers",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("caller", Text, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("answered_at", BigInteger, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    _tenant(),
    UniqueConstraint("caller", "idempotency_key", name="idempotency_keys"),
    Index("idempotent_answers_in_time", "answered_at"),
    sqlite_autoincrement=True,
)
IDEMPOTENT_ANSWER_LEADS = Table(
    "idempotent_answer_leads",
    METADATA,
    Column("answer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("lead_id", Text, primary_key=True),
    Index("idempotent_answers_of_a_lead", "lead_id"),
)
# Who was erased within the last hour, as a keyed hash: decisions of earlier requests are left out.
ERASED_LEADS = Table(
    "erased_leads",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("lead_hash", Text, nullable=False),
    Column("erased_at", Double, nullable=False),
    sqlite_autoincrement=True,
)
# What is known of leads, an event a row and never changed; `serving.lead_store` reads leads out of them.
#   kind: lead, touchpoint, transition, attribute, account, merge or consent
#   subject: the lead; of kind account the account
#   other: of a lead its account, of a merge the lead that it was merged into
#   occurred_at: of a lead when it was created; none of attributes, accounts, merges and consent
#   content: all else as a JSON object
#   origin: 0 came by REST, 1 was read from a CRM's own tables
#   removed_at: since when those tables no longer have the row (epoch seconds)
LEAD_EVENTS = Table(
    "lead_events",
    METADATA,
    # The events of a lead lie together, by kind: on SQLite in the table itself, which has no other order.
    Column("subject", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("other", Text),
    Column("occurred_at", BigInteger),
    Column("known_at", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("origin", SmallInteger, nullable=False),
    Column("removed_at", BigInteger),
    UniqueConstraint("tenant", "event_id", name="event_ids"),
    _partial_index("events_by_other", ("other", "tenant"), "other IS NOT NULL"),
    sqlite_with_rowid=False,
)
# Leads that are not taken in again, as a keyed hash: they were erased, or do not consent since ``known_at``.
FORGOTTEN_LEADS = Table(
    "forgotten_leads",
    METADATA,
    Column("lead_hash", Text, primary_key=True),
    Column("known_at", BigInteger, nullable=False),
)
# People who signed in to the console; ``name`` is that of a key or of an identity provider's user.
#   key_sha256: the key that they signed in with, which ends the session when it is revoked; else ""
#   models: of a user of an identity provider the models that they may see, with blanks between; "" means all
CONSOLE_SESSIONS = Table(
    "console_sessions",
    METADATA,
    Column("token_sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    _tenant(),
    Column("key_sha256", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("models", Text, nullable=False, server_default=""),
    Index("console_sessions_in_time", "expires_at"),
)
# Leads whose score is not true any more, and accounts whose leads' are not. Written in the transaction that
# adds or removes their events; whoever scores them deletes the row, unless its token has changed since then.
#   lead_id: the lead; with is_account 1 the account, all of whose leads are meant
#   since: when the first of the events came (epoch seconds)
SCORE_QUEUE = Table(
    "score_queue",
    METADATA,
    Column("lead_id", Text, primary_key=True),
    _tenant(primary_key=True),
    Column("is_account", SmallInteger, primary_key=True, autoincrement=False),
    Column("since", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
    Index("score_queue_in_time", "since"),
)
# What is true now of each lead of the store: its score by the default model, and what lists show and filter
# by. All of it can be made again from ``lead_events``.
#   decision_id: the logged decision about this score; where it moved by less than a step the one before
#   model: the name of the model, "" for the default one
#   scored_at: when it was computed; changed_at: since when grade, points and state are these
#   decided_points: the points of the decision, from which a step is counted
#   state: open, dormant (older or silent for longer than any lead in training), closed, or unscorable
#   problem: the code why a lead is unscorable
#   attributes: its plain and overwritten attributes as a JSON object
_SEARCH_TEXT = (
    """lower(name || '\n' || lead_id || '\n' || coalesce(account_id, '') || '\n' || coalesce(owner, ''))"""
)


def _score_columns(*, by_model: bool = False) -> tuple[Column[Any], ...]:
    return (
        Column("lead_id", Text, primary_key=True),
        _tenant(primary_key=True),
        Column("decision_id", BigInteger),
        Column("model", Text, nullable=False, server_default="", primary_key=by_model),
        Column("model_version", Text, nullable=False),
        Column("as_of", BigInteger, nullable=False),
        Column("scored_at", BigInteger, nullable=False),
        Column("changed_at", BigInteger, nullable=False),
        Column("probability", Double),
        Column("points", BigInteger),
        Column("grade", Text),
        Column("interval_low", Double),
        Column("interval_high", Double),
        Column("insufficient", Text),
        Column("state", Text, nullable=False),
        Column("problem", Text),
        Column("fit", SmallInteger),
        Column("engagement", SmallInteger),
        Column("combined_grade", Text),
        Column("account_id", Text),
        Column("owner", Text),
        Column("channel", Text),
        Column("stage", Text),
        Column("name", Text, nullable=False),
        Column("created_at", BigInteger),
        Column("last_activity_at", BigInteger),
        Column("attributes", Text, nullable=False),
        Column("decided_points", BigInteger),
    )


#   search_text: what a list is searched by, computed by the database; on SQLite the index by probability has
#   it, too, and PostgreSQL has an index of its trigrams where it knows them
CURRENT_SCORES = Table(
    "current_scores",
    METADATA,
    *_score_columns(),
    Column("search_text", Text, Computed(_SEARCH_TEXT)),
    Index("current_scores_by_probability", "tenant", "state", "probability", "lead_id"),
    Index("current_scores_by_owner", "tenant", "state", "owner"),
    _partial_index("current_scores_of_account", ("account_id", "tenant"), "account_id IS NOT NULL"),
    _partial_index("current_scores_in_time", ("model_version", "scored_at"), "state <> 'closed'"),
)
# The same by each of the other models that a service has, whose lists are its own: none is mixed.
NAMED_SCORES = Table(
    "named_scores",
    METADATA,
    *_score_columns(by_model=True),
    Column("search_text", Text, Computed(_SEARCH_TEXT)),
    Index("named_scores_by_probability", "tenant", "model", "state", "probability", "lead_id"),
    Index("named_scores_by_owner", "tenant", "model", "state", "owner"),
    _partial_index("named_scores_of_account", ("account_id", "tenant", "model"), "account_id IS NOT NULL"),
    _partial_index("named_scores_in_time", ("model", "model_version", "scored_at"), "state <> 'closed'"),
)
# Scores as they were whenever grade, points or the model's version had changed, at most one an hour: ``hour``
# is ``as_of`` in whole hours. ``model`` is the name of the model, "" for the default one.
SCORE_HISTORY = Table(
    "score_history",
    METADATA,
    Column("lead_id", Text, primary_key=True),
    _tenant(primary_key=True),
    Column("model", Text, primary_key=True, server_default=""),
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("as_of", BigInteger, nullable=False),
    Column("probability", Double, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("grade", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Index("score_history_in_time", "hour"),
)
# Work that one worker of all machines does: who has it, and until when (epoch seconds) unless it is renewed.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)
# The outbox: messages to webhooks that are still to be delivered, and those that were given up. A message is
# written in the transaction of what it tells of, and deleted when the receiver has taken it.
#   subscription: the name of the receiver in the file of webhooks
#   message_id: the header webhook-id, the same for every attempt
#   due_since: since when the message is to be delivered (epoch seconds): its beginning, or when it was resent
#   next_at: the earliest moment of the next attempt (epoch seconds)
#   given_up: 1 for a dead letter
WEBHOOK_MESSAGES = Table(
    "webhook_messages",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("subscription", Text, nullable=False),
    _tenant(),
    Column("lead_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("due_since", BigInteger, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("given_up", SmallInteger, nullable=False),
    Column("error", Text),
    Index("webhook_messages_of_a_lead", "lead_id", "tenant", "subscription", "id"),
    _partial_index("webhook_messages_due", ("subscription", "next_at", "id"), "given_up = 0"),
    Index("webhook_messages_in_time", "created_at"),
    sqlite_autoincrement=True,
)
