"""How leads with a value converted, against counting by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observed_rates import FEWEST, ObservedRate, ObservedRates

VALUES = st.one_of(st.none(), st.integers(0, 6).map(float), st.sampled_from([float("nan"), 1e9]))
WORDS = st.one_of(st.none(), st.sampled_from(["Ads", "Fair", "Web", "Once"]))
ROWS = st.lists(st.tuples(st.integers(0, 40), VALUES, WORDS, st.booleans()), min_size=1, max_size=150)


def record(rows):
    lead, number, word, won = zip(*rows, strict=True)
    frame = pl.DataFrame(
        {"number": number, "word": word}, schema={"number": pl.Float64, "word": pl.String}, strict=False
    )
    return ObservedRates.of(frame, pl.Series([f"L{n}" for n in lead]), np.array(won, dtype=np.int8))


def counted(rows, place, belongs):
    """The leads, and the converted ones, among the rows whose value belongs: by hand."""
    there = [row for row in rows if belongs(row[place])]
    return len({row[0] for row in there}), len({row[0] for row in there if row[3]})


@given(ROWS)
def test_a_word_is_told_with_the_leads_that_had_it(rows):
    built = record(rows)
    for word in {row[2] for row in rows} - {None}:
        result = built.evidence("word", word)
        n, converted = counted(rows, 2, lambda value, word=word: value == word)
        if n >= FEWEST:
            assert (result.n, result.converted) == (n, converted)
            assert result.rate == converted / n


@given(ROWS)
def test_a_number_is_told_with_the_leads_between_the_bounds(rows):
    built = record(rows)
    for number in {row[1] for row in rows if row[1] is not None and row[1] == row[1]}:
        result = built.evidence("number", number)
        if result is None:
            continue
        low = -np.inf if result.above is None else result.above
        high = np.inf if result.up_to is None else result.up_to
        assert low < number <= high
        expected = counted(
            rows, 1, lambda value, low=low, high=high: value is not None and low < value <= high
        )
        assert (result.n, result.converted) == expected


@given(ROWS)
def test_nobody_is_told_of_fewer_than_ten_leads(rows):
    built = record(rows)
    requested = [("number", row[1]) for row in rows] + [("word", row[2]) for row in rows]
    result = [
        built.evidence(*first_score) for first_score in [*requested, ("number", None), ("word", "never seen")]
    ]
    assert all(first_score is None or first_score.n >= FEWEST for first_score in result)


@given(ROWS)
def test_a_record_comes_back_from_json(rows):
    built = record(rows)
    assert ObservedRates.from_json(built.to_json()) == built


def test_a_lead_seen_many_times_counts_once():
    rows = [(lead, 1.0, "Ads", lead < 3) for lead in range(12) for _ in range(5)]
    assert record(rows).evidence("word", "Ads") == ObservedRate(12, 3, 0.25, 0.25)


def test_rare_words_are_told_together_and_missing_values_apart():
    rows = [(n, 1.0, f"word {n}", n < 5) for n in range(10)] + [(n, 1.0, None, False) for n in range(10, 22)]
    built = record(rows)
    assert built.evidence("word", "word 3") == built.evidence("word", "unheard of")
    assert built.evidence("word", "word 3").n == 10
    assert built.evidence("word", None).n == 12


@pytest.mark.parametrize("rates", [ObservedRates(), record([(1, 1.0, "Ads", True)])])
def test_what_was_not_counted_has_no_evidence(rates):
    assert rates.evidence("another", 1.0) is None
    assert rates.evidence("word", "Ads") is None
