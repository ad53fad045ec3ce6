"""Hashes are found among sorted ones where a search by halves finds them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.ingest.known_leads import SortedHashes

_HASHES = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 100), st.integers(2**64 - 100, 2**64 - 1), st.just(2**63)
)
_LISTS = st.lists(_HASHES, max_size=200).map(lambda each: np.array(each, dtype=np.uint64))


@given(known=_LISTS, looked_for=_LISTS)
def test_hashes_are_found_where_they_stand(known, looked_for):
    known, looked_for = np.sort(known), np.concatenate([looked_for, known])
    places, is_known = SortedHashes(known).find(looked_for)
    assert is_known.tolist() == np.isin(looked_for, known).tolist()
    if len(known):
        expected = np.minimum(np.searchsorted(known, looked_for), len(known) - 1)
        assert places.tolist() == expected.tolist()


def test_hashes_that_are_close_to_each_other_are_found_as_well():
    known = np.arange(1_000, dtype=np.uint64)
    looked_for = np.array([0, 500, 999, 1_000, 2**64 - 1], dtype=np.uint64)
    places, is_known = SortedHashes(known).find(looked_for)
    assert places.tolist() == [0, 500, 999, 999, 999]
    assert is_known.tolist() == [True, True, True, False, False]
