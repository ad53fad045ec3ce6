"""Counts that all workers of a service share, as a storage of the library ``limits``.

Its own storages are servers (Redis, memcached, MongoDB) or the memory of one process; an SQLite file would
cost ten times as much and make a worker sleep where two meet. This is a table of fixed size in a mapped file,
locked while it is read and changed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from contextlib import contextmanager
from hashlib import blake2b
from math import floor
from typing import TYPE_CHECKING, NamedTuple

from limits.storage import SlidingWindowCounterSupport, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The hash of a key, the number of the window that was counted last, its count and that of the window before.
_SLOT = struct.Struct("<16sQII")
_SLOTS = 8192
# A key is in one of so many slots from that of its hash on; where all are taken, the one at rest makes room.
_PROBES = 8
_SIZE = (_SLOTS + _PROBES) * _SLOT.size
_MOST, _INSTANT = 2**32 - 1, 1e-6
_FIXED = "only sliding windows are counted here"


class _Counts(NamedTuple):
    offset: int
    digest: bytes
    window: int
    current: int
    previous: int


class SharedCounts(Storage, SlidingWindowCounterSupport):
    """Counts of sliding windows, of all processes that name the same file.

    Args:
        file: Where the counts are kept. Default: in the memory of this process.
        clock: Seconds of a clock that never goes back and that all these processes share.
    """

    STORAGE_SCHEME = None

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._file = None if file is None else _open(file)
        self._table = mmap.mmap(-1 if self._file is None else self._file, _SIZE)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may go wrong with a mapped file."""
        return OSError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` for the key if its sliding window has room for it."""
        with self._locked():
            previous, left, current, _ = self._sliding_window(key, expiry)
            if floor(previous * left / expiry + current) + amount > limit:
                return False
            offset, digest, *_ = self._find(key)
            window = int(self._clock() // expiry)
            _SLOT.pack_into(self._table, offset, digest, window, min(current + amount, _MOST), previous)
            return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Count and seconds left of the window before, then of the current one, which counts in the next."""
        with self._locked():
            return self._sliding_window(key, expiry)

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002  # limits asks with both
        """Forget the counts of a key."""
        with self._locked():
            _SLOT.pack_into(self._table, self._find(key).offset, bytes(16), 0, 0, 0)

    def clear(self, key: str) -> None:
        """Forget the counts of a key."""
        self.clear_sliding_window(key, 0)

    def reset(self) -> None:
        """Forget all counts."""
        with self._locked():
            self._table[:] = bytes(_SIZE)

    def check(self) -> bool:
        """Whether the counts can be read; a mapped file always can."""
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Not counted here: fixed windows let twice the limit through around their ends."""
        raise NotImplementedError(_FIXED)

    def get(self, key: str) -> int:
        """Not counted here, as ``incr``."""
        raise NotImplementedError(_FIXED)

    def get_expiry(self, key: str) -> float:
        """Not counted here, as ``incr``."""
        raise NotImplementedError(_FIXED)

    def _sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = self._clock()
        # Never a whole window: `limits` takes what is left modulo its length.
        window, elapsed = int(now // expiry), max(now % expiry, _INSTANT)
        counts = self._find(key)
        current, previous = {
            window: (counts.current, counts.previous),
            window - 1: (0, counts.current),
        }.get(counts.window, (0, 0))
        left = expiry - elapsed
        return previous, left if previous else 0.0, current, left + expiry

    def _find(self, key: str) -> _Counts:
        """The counts of a key, or a slot for them: an empty one, else the one that was used least of late."""
        digest = blake2b(key.encode(), digest_size=16).digest()
        start = int.from_bytes(digest[:4], "big") % _SLOTS
        best: _Counts | None = None
        for number in range(start, start + _PROBES):
            counts = _Counts(number * _SLOT.size, *_SLOT.unpack_from(self._table, number * _SLOT.size))
            if counts.digest == digest:
                return counts
            if best is None or counts[2:] < best[2:]:
                best = counts
        assert best is not None  # noqa: S101  # there is more than one slot
        return _Counts(best.offset, digest, 0, 0, 0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file is None:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def _open(file: Path) -> int:
    """The file, with room for the table: a hole in it could not be filled where the disk is full."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    fcntl.flock(opened, fcntl.LOCK_EX)
    missing = _SIZE - os.fstat(opened).st_size
    if missing > 0:
        os.pwrite(opened, bytes(missing), _SIZE - missing)
    fcntl.flock(opened, fcntl.LOCK_UN)
    return opened
