"""Work goes on in a thread, and nothing else is different from working on one item after the other."""

from __future__ import annotations

import threading

import pytest

from features.ingest.work_ahead import map_ahead

SOON = 30


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_results_come_in_the_order_of_the_items(count):
    assert list(map_ahead(lambda item: item + 1, iter(range(count)))) == list(range(1, count + 1))


def test_the_next_item_is_worked_on_while_a_result_is_used():
    begun = [threading.Event() for _ in range(3)]

    def work(item):
        begun[item].set()
        return item

    for item in map_ahead(work, range(3)):
        assert all(event.wait(SOON) for event in begun[item : item + 2])


def test_items_are_walked_one_ahead_by_the_thread_that_uses_the_results():
    walked = []

    def items():
        for item in range(5):
            walked.append(threading.current_thread())
            yield item

    for item in map_ahead(str, items()):
        assert len(walked) <= int(item) + 2
    assert set(walked) == {threading.current_thread()}


def test_an_error_comes_where_its_result_would_be():
    results = map_ahead(lambda item: 1 / item, [1, 0, 2])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
