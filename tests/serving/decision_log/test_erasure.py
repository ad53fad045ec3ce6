"""Who is erased does not come back by what was on its way, and is not left on disk."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from log_entries import in_transaction, log_decisions, make_decision, make_outcome
from sqlalchemy import insert, select, text, update

from features.clock import DAY
from models.handover_selection import HandoverRequest
from serving.decision_log import erasure, handovers, queries
from serving.decision_log.async_log import DecisionLog
from serving.decision_log.database import open_log, writing
from serving.decision_log.records import ErasedCounts, RequestInfo
from serving.decision_log.settings import LogSettings, LogUnavailable
from serving.decision_log.statements import add_decisions, add_outcomes, decision_rows, erase, forget
from serving.decision_log.tables import (
    ERASED_LEADS,
    IDEMPOTENT_ANSWER_LEADS,
    IDEMPOTENT_ANSWERS,
    LEAD_RANKS,
    METADATA,
)
from serving.decision_log.vacuum import rewrite_tables

NAME = "lead-of-nobody-else-4711"


def rows_with(log, lead_id):
    """The tables that have a row about a lead."""
    with log.connect() as connection:
        return [
            table.name
            for table in METADATA.sorted_tables
            if "lead_id" in table.c
            and connection.execute(select(table).where(table.c.lead_id == lead_id)).first()
        ]


def entries(*lead_ids, **request):
    made = [make_decision(lead_id) for lead_id in lead_ids]
    return decision_rows(made, RequestInfo("/v1/score", **request), 1_000)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_decision_of_a_request_from_before_is_not_written_after(log, shadow):
    queued = entries("ada", "bob", shadow=shadow)
    in_transaction(log, erase, "ada", 0)
    in_transaction(log, add_decisions, queued)
    assert rows_with(log, "ada") == []
    assert "decisions" in rows_with(log, "bob")


def test_a_lead_that_is_scored_again_after_its_erasure_is_logged(log):
    in_transaction(log, erase, "ada", 0)
    in_transaction(log, add_decisions, entries("ada"))
    assert rows_with(log, "ada") == ["decisions", "lead_ranks"]


def test_an_outcome_of_a_request_from_before_is_not_written_after(log):
    came = time.time()
    in_transaction(log, erase, "ada", 0)
    reports = [make_outcome("1", "ada"), make_outcome("2", "bob")]
    statuses = in_transaction(log, add_outcomes, reports, 1, received_at=came)
    assert statuses == ["recorded", "recorded"]
    assert (rows_with(log, "ada"), rows_with(log, "bob")) == ([], ["lead_ranks", "outcomes"])


def test_an_erasure_is_of_the_tenant_that_asks_for_it_and_without_one_of_all(log):
    for tenant in ("", "acme", "umbrella"):
        log_decisions(log, make_decision("ada"), tenant=tenant)
    queued = {tenant: entries("ada", tenant=tenant) for tenant in ("", "acme", "umbrella")}
    assert in_transaction(log, erase, "ada", 0, "acme") == ErasedCounts(1, 0)
    for late in queued.values():
        in_transaction(log, add_decisions, late)
    assert (
        sorted(each.tenant for each in queries.decisions_of_lead(log, "ada")) == [""] * 2 + ["umbrella"] * 2
    )
    assert in_transaction(log, erase, "ada", 0) == ErasedCounts(4, 0)
    assert rows_with(log, "ada") == []


def test_a_hand_over_that_is_being_written_leaves_out_who_was_erased_meanwhile(log):
    log_decisions(log, *[make_decision(lead_id) for lead_id in ("ada", "bob")])
    wish = HandoverRequest(7 * DAY, 5)
    selection = handovers.select_handover(log, wish)
    in_transaction(log, erase, "ada", 0)
    in_transaction(log, handovers.add_handover, wish, selection)
    assert rows_with(log, "ada") == []
    assert [lead.decision.lead_id for lead in handovers.find_handover(log, wish).leads] == ["bob"]


def test_an_answer_kept_for_its_key_goes_with_any_of_its_leads(log):
    columns = {"path": "/v1/score", "body_sha256": "0", "answered_at": int(time.time()), "answer": b"{}"}
    for number, leads, tenant in [(1, ["ada", "bob"], ""), (2, ["bob"], ""), (3, ["ada"], "acme")]:
        row = {"id": number, "caller": "crm", "idempotency_key": f"k{number}", "tenant": tenant}
        in_transaction(log, lambda c, row=row: c.execute(insert(IDEMPOTENT_ANSWERS), [row | columns]))
        pairs = [{"answer_id": number, "lead_id": lead_id} for lead_id in leads]
        in_transaction(log, lambda c, pairs=pairs: c.execute(insert(IDEMPOTENT_ANSWER_LEADS), pairs))

    def left():
        with log.connect() as connection:
            pairs = connection.execute(select(IDEMPOTENT_ANSWER_LEADS.c.answer_id)).scalars()
            return set(connection.execute(select(IDEMPOTENT_ANSWERS.c.id)).scalars()), set(pairs)

    in_transaction(log, erase, "ada", 0, "acme")
    assert left() == ({1, 2}, {1, 2})
    in_transaction(log, erase, "ada", 0)
    assert left() == ({2}, {2})


def test_an_erasure_is_remembered_for_an_hour_and_by_no_name(log):
    in_transaction(log, erase, "ada", 0)
    with log.connect() as connection:
        (row,) = connection.execute(select(ERASED_LEADS)).mappings()
    assert "ada" not in str(dict(row))
    in_transaction(log, forget)
    assert in_transaction(log, erasure.recent_erasures) is not None
    earlier = update(ERASED_LEADS).values(erased_at=time.time() - erasure.REMEMBERS - 1)
    in_transaction(log, lambda connection: connection.execute(earlier))
    in_transaction(log, forget)
    assert in_transaction(log, erasure.recent_erasures) is None


def test_what_came_before_erasures_are_remembered_is_not_written_any_more(log):
    with pytest.raises(LogUnavailable):
        in_transaction(log, add_decisions, entries("ada", received_at=time.time() - erasure.REMEMBERS - 1))
    assert rows_with(log, "ada") == []


def test_an_erasure_waits_for_a_worker_that_is_just_writing(place, log):
    """That worker has looked for erasures already, and has not committed."""
    other, writes, erased = writing(open_log(place)), Event(), Event()

    def write():
        with other.begin() as connection:
            add_decisions(connection, entries("ada"))
            writes.set()
            erased.wait(0.5)

    thread = Thread(target=write)
    thread.start()
    writes.wait(5)
    counts = in_transaction(log, erase, "ada", 0)
    erased.set()
    thread.join()
    other.dispose()
    assert counts == ErasedCounts(1, 0)
    assert rows_with(log, "ada") == []


def test_queues_of_two_workers_bring_nobody_back(place):
    with (
        closing(DecisionLog(LogSettings(place))) as first,
        closing(DecisionLog(LogSettings(place))) as second,
    ):

        async def race(turn):
            lead_id = f"lead {turn}"
            made = [make_decision(lead_id)]
            jobs = []
            for journal in (first, second):
                info = RequestInfo("/v1/score")
                jobs += [
                    journal.log_decisions(made, info),
                    journal.log_outcomes([make_outcome(f"{turn}", lead_id)], info.received_at),
                ]
                journal.log_shadow_decisions(made, RequestInfo("/v1/score", shadow=True))
            await asyncio.gather(*jobs, first.erase(lead_id))
            late = RequestInfo("/v1/score", shadow=True, received_at=info.received_at)
            second.log_shadow_decisions(made, late)
            await second.log_decisions([make_decision("end")], RequestInfo("/v1/score"))
            return rows_with(second.writer.log, lead_id)

        async def races():
            await first.log_decisions([make_decision("start")], RequestInfo("/v1/score"))
            await second.log_decisions([make_decision("start")], RequestInfo("/v1/score"))
            return [await race(turn) for turn in range(30)]

        assert asyncio.run(races()) == [[]] * 30


def content(file):
    return b"".join(path.read_bytes() for path in Path(file).parent.iterdir())


def fill(log, times=40):
    """Pages that split and merge: the lead among hundreds of others."""
    for turn in range(times):
        others = [make_decision(f"lead {turn} {n}", row={"a": "x" * 200}) for n in range(10)]
        log_decisions(log, *others, make_decision(NAME, row={"b": NAME * (1 + 20 * (turn % 3))}))
        in_transaction(log, add_outcomes, [make_outcome(f"{NAME} {turn}", NAME, reason=NAME)], turn)


def test_after_an_erasure_no_byte_of_the_lead_is_in_the_files(tmp_path):
    place = str(tmp_path / "decisions.db")
    with closing(DecisionLog(LogSettings(place))) as journal:
        log = writing(open_log(place))
        fill(log)
        in_transaction(log, handovers.add_handover, WISH, handovers.select_handover(log, WISH))
        assert NAME.encode() in content(place)
        answer = asyncio.run(journal.erase(NAME))
        assert (answer.decisions, answer.outcomes, answer.overwritten) == (40, 40, True)
        assert NAME.encode() not in content(place)
        log.dispose()


WISH = HandoverRequest(7 * DAY, 500)


def test_a_reader_delays_the_overwriting_and_the_answer_says_so(tmp_path, caplog):
    place = str(tmp_path / "decisions.db")
    with closing(DecisionLog(LogSettings(place))) as journal:
        log = writing(open_log(place))
        fill(log, 3)
        with open_log(place).connect() as reader:
            reader.execute(select(LEAD_RANKS)).all()
            answer = asyncio.run(journal.erase(NAME))
            assert (answer.decisions, answer.overwritten) == (3, False)
            assert "as soon as others have read the log" in caplog.text
            assert NAME.encode() in content(place)
        deadline = time.monotonic() + 20
        while NAME.encode() in content(place):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        log.dispose()


def files_of_tables(cluster, log):
    with log.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        database = connection.execute(
            text("SELECT oid FROM pg_database WHERE datname = current_database()")
        ).scalar_one()
    return b"".join(path.read_bytes() for path in (cluster.folder / "data/base" / str(database)).iterdir())


def test_postgresql_overwrites_when_the_tables_are_written_anew(cluster):
    place = cluster.database()
    with closing(DecisionLog(LogSettings(place))) as journal:
        log = writing(open_log(place))
        fill(log)
        with log.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("ANALYZE"))
        answer = asyncio.run(journal.erase(NAME))
        assert (answer.decisions, answer.overwritten) == (40, False)
        assert NAME.encode() in files_of_tables(cluster, log)
        assert "write-ahead log" in rewrite_tables(log)
        assert NAME.encode() not in files_of_tables(cluster, log)
        asyncio.run(journal.log_decisions([make_decision("after")], RequestInfo("/v1/score")))
        log.dispose()


def test_a_log_on_sqlite_can_be_written_anew_as_well(tmp_path):
    place = str(tmp_path / "decisions.db")
    log = writing(open_log(place))
    fill(log, 2)
    in_transaction(log, erase, NAME, 0)
    assert rewrite_tables(log) is None
    log.dispose()
    assert NAME.encode() not in content(place)
    log = open_log(place)
    assert len(list(queries.latest_decisions(log))) == 20
    log.dispose()
