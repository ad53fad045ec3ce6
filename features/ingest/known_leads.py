"""Which leads and accounts there are, and in which part of a history, while its other tables are read.

A history that fits into memory is known by a frame of its leads. Of one that does not, each lead is
remembered by a hash of its id, some 20 bytes: two of ten million ids have the same hash once in 400,000
histories, and then the events of the one are looked for in the part of the other, and are lost.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from features.merges import PART

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from features.merges import Merges

ACCOUNT = "leadloop.account"
CREATED = "leadloop.created"
BUCKETS = 2**16
"""So many groups of accounts there are; a part of a history is one of them, or several in a row."""


class KnownIds(Protocol):
    """The ids of a table."""

    def contains(self, ids: pl.Series) -> pl.Series:
        """Whether each of the ids is one of the table; null for null."""

    @property
    def texts(self) -> pl.Series:
        """All ids."""


class LeadDirectory(Protocol):
    """The leads of a history."""

    def locate(self, rows: pl.DataFrame, *, dated: bool) -> pl.DataFrame:
        """The rows with the ``PART`` of their lead, null without one, and, if ``dated``, its ``CREATED``."""

    def select(self, ids: pl.Series) -> pl.DataFrame:
        """``lead_id`` and ``PART`` of those of the ids that are leads."""

    @property
    def frame(self) -> pl.DataFrame:
        """``lead_id``, ``PART``, ``CREATED`` and ``ACCOUNT`` of all leads."""


class ListedIds:
    """Ids of which each is in memory."""

    def __init__(self, ids: pl.Series) -> None:
        self.texts = ids
        self._known = ids.implode()

    def contains(self, ids: pl.Series) -> pl.Series:
        """As in ``KnownIds``."""
        return ids.is_in(self._known)


class ListedLeads:
    """Leads of which each is in memory, as a row of a frame."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def locate(self, rows: pl.DataFrame, *, dated: bool) -> pl.DataFrame:
        """As in ``LeadDirectory``."""
        leads = self.frame.select("lead_id", PART, *([CREATED] if dated else []))
        return rows.join(leads, on="lead_id", how="left", maintain_order="left")

    def select(self, ids: pl.Series) -> pl.DataFrame:
        """As in ``LeadDirectory``."""
        return self.frame.select("lead_id", PART).filter(pl.col("lead_id").is_in(ids.implode()))


class HashedIds:
    """Ids of which the hashes are in memory; the ids themselves are on disk."""

    def __init__(self, hashes: NDArray[np.uint64], read: Callable[[], pl.Series]) -> None:
        self._hashes = SortedHashes(np.sort(hashes))
        self._read = read

    @cached_property
    def texts(self) -> pl.Series:
        """As in ``KnownIds``."""
        return self._read()

    def contains(self, ids: pl.Series) -> pl.Series:
        """As in ``KnownIds``."""
        _, is_known = self._hashes.find(hash_words(ids))
        return pl.Series(is_known).set(ids.is_null(), None)


class HashedLeads:
    """Leads of which hash, part and creation are in memory; ids and accounts are on disk."""

    def __init__(
        self,
        hashes: NDArray[np.uint64],
        parts: NDArray[np.int32],
        created: NDArray[np.int64],
        read: Callable[[], pl.DataFrame],
    ) -> None:
        order = np.argsort(hashes)
        self._hashes, self._parts, self.created = SortedHashes(hashes[order]), parts[order], created[order]
        self._read = read

    def add_vanished(self, merges: Merges) -> HashedLeads:
        """With the leads that are no rows any more since they were merged, in the part -1."""
        if not merges:
            return self
        merged = hash_words(merges.merged_ids)
        gone = merged[~self._hashes.find(merged)[1]]
        return HashedLeads(
            np.concatenate([self._hashes.hashes, gone]),
            np.concatenate([self._parts, np.full(len(gone), -1, np.int32)]),
            np.concatenate([self.created, np.full(len(gone), -1, np.int64)]),
            lambda: merges.add_vanished(self._read()),
        )

    @cached_property
    def frame(self) -> pl.DataFrame:
        """As in ``LeadDirectory``."""
        return self._read()

    def locate(self, rows: pl.DataFrame, *, dated: bool) -> pl.DataFrame:
        """As in ``LeadDirectory``."""
        places, is_known = self._hashes.find(hash_words(rows["lead_id"]))
        columns = {PART: self._parts} | ({CREATED: self.created} if dated else {})
        unknown = pl.Series(~is_known)
        return rows.with_columns(
            pl.Series(name, values[places].astype(np.int64)).set(unknown, None)
            for name, values in columns.items()
        )

    def select(self, ids: pl.Series) -> pl.DataFrame:
        """As in ``LeadDirectory``."""
        return self.locate(pl.DataFrame({"lead_id": ids}), dated=False).drop_nulls(PART)


def hash_words(ids: pl.Series) -> NDArray[np.uint64]:
    """(n,) hashes of ids."""
    hashes: NDArray[np.uint64] = ids.cast(pl.String).hash(0).to_numpy()
    return hashes


# Up to so many bits a place is a number of 32 bits.
_BITS_OF_PLACES = 31
_MOST_STEPS = 32


class SortedHashes:
    """Hashes to find others among: each is looked for from where those stand that begin with the same bits.

    Attributes:
        hashes: (n,) all of them, sorted.
    """

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self.hashes = hashes
        # About as many ranges as hashes, so that few have several.
        bits = len(hashes).bit_length()
        self._shift = np.uint64(64 - bits)
        first_of_range = np.arange(1 << bits if len(hashes) else 0, dtype=np.uint64) << self._shift
        begins = np.searchsorted(hashes, first_of_range)
        self._begins = begins if bits > _BITS_OF_PLACES else begins.astype(np.int32)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """(m,) place of the first hash that is no smaller, or else of the last, and (m,) whether it is it."""
        if not len(self.hashes):
            return np.zeros(len(hashes), np.intp), np.zeros(len(hashes), np.bool_)
        last = len(self.hashes) - 1
        places = np.minimum(self._begins[hashes >> self._shift], last).astype(np.intp)
        waiting = np.flatnonzero(self.hashes[places] < hashes)
        for _ in range(_MOST_STEPS):
            waiting = waiting[places[waiting] < last]
            if not len(waiting):
                break
            places[waiting] += 1
            waiting = waiting[self.hashes[places[waiting]] < hashes[waiting]]
        else:  # hashes that are not spread evenly
            places[waiting] = np.minimum(np.searchsorted(self.hashes, hashes[waiting]), last)
        return places, self.hashes[places] == hashes


class HistoryCut:
    """Cuts a history into parts by a hash of the account, or of the lead where it has none."""

    def __init__(self, size: int, when_counted: Callable[[int], None] | None = None) -> None:
        """Cut into parts of about ``size`` leads; ``when_counted`` gets their number once it is known."""
        self._size, self._when_counted = size, when_counted
        self._counts = np.zeros(BUCKETS, np.int64)

    def add_leads(self, leads: pl.DataFrame) -> NDArray[np.int64]:
        """(n,) the bucket of each lead; they count for the sizes of parts."""
        buckets = find_buckets(leads.select(pl.coalesce("account_id", "lead_id")).to_series())
        self._counts += np.bincount(buckets, minlength=BUCKETS)
        return buckets

    def forget_leads(self) -> None:
        """Count the leads anew."""
        self._counts[:] = 0

    @cached_property
    def parts(self) -> NDArray[np.int32]:
        """(BUCKETS,) the part of each bucket, from 0, once all leads are counted."""
        begins = np.minimum(np.cumsum(self._counts) - self._counts, max(self._counts.sum() - 1, 0))
        parts: NDArray[np.int32] = np.unique(begins // self._size, return_inverse=True)[1].astype(np.int32)
        if self._when_counted is not None:
            self._when_counted(int(parts[-1]) + 1)
        return parts

    @property
    def last_buckets(self) -> NDArray[np.intp]:
        """(parts,) the last bucket of each part."""
        return np.flatnonzero(np.diff(self.parts, append=-1))


def find_buckets(keys: pl.Series) -> NDArray[np.int64]:
    """(n,) the bucket of each account or lead without one."""
    buckets: NDArray[np.int64] = (hash_words(keys) % np.uint64(BUCKETS)).astype(np.int64)
    return buckets
