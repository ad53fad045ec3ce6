"""Work on the next batch of rows in a thread while the one before is written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What ``map`` gives, but the work on an item goes on in a thread while its forerunner's result is used.

    Frames release Python's lock, so two cores are at work. One thread works on one item after the other, so
    ``work`` may keep what it learns.

    Args:
        work: What is to be done with an item.
        items: The items; they are walked by the caller's thread, at most one ahead.

    Yields:
        The results, in the order of the items. An error of ``work`` is raised where its result would be.

    >>> list(map_ahead(str.upper, ["a", "b"]))
    ['A', 'B']
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Result] | None = None
        for item in items:
            last, waiting = waiting, thread.submit(work, item)
            if last is not None:
                yield last.result()
        if waiting is not None:
            yield waiting.result()
