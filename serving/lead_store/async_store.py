"""The lead store for the service's endpoints: asynchronous, beside the decision log in one database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from serving.lead_store.events import add_events
from serving.lead_store.stored_leads import (
    StoredRows,
    find_similar_ids,
    read_account_members,
    read_account_rows,
    read_stored_leads,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from serving.decision_log.async_log import DecisionLog
    from serving.lead_store.records import EventRow, EventStatus


@dataclass(frozen=True, slots=True)
class KnownLeads:
    """Some leads of the store, and for ids that are none the nearest that are."""

    rows: StoredRows
    similar: Mapping[str, str]


class LeadStore:
    """Asynchronous access to the lead store of a decision log.

    Every method raises LogUnavailable while the database cannot be reached. ``tenant`` is whose leads these
    are: a lead of one tenant is none of another, nor of a key without a tenant.
    """

    def __init__(self, journal: DecisionLog) -> None:
        self._journal = journal

    async def add(self, rows: Sequence[EventRow], tenant: str, received_at: float) -> list[EventStatus]:
        """Add events of a request that came at ``received_at``; the status of each, once committed."""
        return await self._journal.writer.write(
            partial(add_events, rows=rows, tenant=tenant, received_at=received_at)
        )

    async def leads(self, lead_ids: Sequence[str], tenant: str) -> KnownLeads:
        """Leads by their ids, with all that they are read out of."""

        def read() -> KnownLeads:
            with self._journal.writer.log.connect() as connection:
                rows = read_stored_leads(connection, lead_ids, tenant)
                unknown = [lead_id for lead_id in lead_ids if lead_id not in rows.versions]
                return KnownLeads(rows, find_similar_ids(connection, unknown, tenant) if unknown else {})

        return await self._journal.read(read)

    async def account(self, account_id: str, tenant: str, most: int) -> StoredRows:
        """An account with the leads that were ever of it, ``most`` of them, and all they are read out of."""

        def read() -> StoredRows:
            with self._journal.writer.log.connect() as connection:
                members = read_account_members(connection, account_id, tenant)
                rows = read_stored_leads(connection, members[:most], tenant)
                if account_id not in rows.accounts:
                    rows.add(read_account_rows(connection, [account_id], tenant))
                return rows

        return await self._journal.read(read)

    async def accounts(self, account_ids: Sequence[str], tenant: str) -> StoredRows:
        """What is known of accounts themselves, without their leads."""

        def read() -> StoredRows:
            with self._journal.writer.log.connect() as connection:
                rows = StoredRows()
                rows.add(read_account_rows(connection, account_ids, tenant))
                return rows

        return await self._journal.read(read)
