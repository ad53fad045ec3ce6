from __future__ import annotations

from threadpoolctl import ThreadpoolController, threadpool_limits

from training.learner.blas_threads import one_blas_thread


def blas_threads():
    return {
        library["filepath"]: library["num_threads"]
        for library in ThreadpoolController().select(user_api="blas").info()
    }


def test_both_libraries_have_one_thread_within_and_what_they_had_after_it():
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        for _ in range(2):
            with one_blas_thread():
                assert set(blas_threads().values()) == {1}
            assert blas_threads() == before
    assert len(before) >= 2
    assert set(before.values()) == {2}
