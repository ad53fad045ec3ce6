"""A large body, split at its leads: the same values and the same refusals as if it were parsed at once."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import from_json

from serving import body_splitter
from serving.body_splitter import InvalidJson, OversizedItem, TooManyValues, split_body

TEXTS = st.text(alphabet='a"\\[]{},: é\n', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {"leads": st.lists(VALUES, max_size=5)}, optional={"lang": TEXTS, "top": st.integers(), "more": VALUES}
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """Blocks and pieces of a few bytes, so that every escape and bracket is somewhere at an edge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_splitter, "_BLOCK", 7)
        patch.setattr(body_splitter, "_PIECE", 20)
        yield


def joined(body):
    """What a body says, put together from its pieces."""
    split = split_body(body, 1_000)
    envelope = from_json(split.envelope)
    for name, value in envelope.items():
        if isinstance(value, list):
            envelope[name] = list(split.arrays[value[0]]) if value else []
        elif value == {}:
            envelope[name] = from_json(body)[name]
    return envelope


@given(fields=FIELDS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
@example(fields={"leads": ["\\"], "lang": '"\\\\'}, indent=None, ascii_only=True)
def test_the_pieces_say_what_the_whole_says(fields, indent, ascii_only):
    body = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    assert joined(body) == from_json(body)


@given(body=st.text(alphabet='{}[]",:\\1 ', max_size=30).map('{{"leads":[{}]}}'.format).map(str.encode))
@example(body=b'{"leads":[1}}')
@example(body=b'{"leads":[[]"]}')
@example(body=b'{"leads":[{}"]}')
@example(body=b'{"leads":[[1,2]"')
@example(body=b'{"leads":[{"a":1]]}')
@example(body=b'{"leads":[1]}]')
@example(body=b'{"leads":[1,]}')
@example(body=b'{"leads":[],"leads":[1,[2]]}')
def test_what_is_no_json_is_none_in_pieces_either(body):
    try:
        whole = from_json(body)
    except ValueError:
        with pytest.raises(ValueError, match="at line"):
            list(joined(body))
    else:
        assert joined(body) == whole


def test_items_are_counted_before_they_are_parsed_and_read_as_often_as_needed():
    (items,) = split_body(b'{"leads": [1, "a,b", {"c": [2, 3]}]}', 1_000).arrays
    assert len(items) == 3
    assert list(items) == list(items) == [1, "a,b", {"c": [2, 3]}]
    assert (items[2], list(items[1:])) == ({"c": [2, 3]}, ["a,b", {"c": [2, 3]}])


def test_of_more_items_than_are_read_one_is_kept_to_refuse_them():
    (items,) = split_body(b'{"leads": [1, 2, 3, 4, 5]}', 2).arrays
    assert list(items) == [1, 2, 3]


def test_an_item_that_is_no_json_is_told_when_it_comes(monkeypatch):
    monkeypatch.setattr(body_splitter, "_PIECE", 1)
    (items,) = split_body(b'{"leads": [1, tru, 2]}', 1_000).arrays
    read = iter(items)
    assert next(read) == 1
    with pytest.raises(InvalidJson, match="begins at byte 13"):
        next(read)


def test_an_oversized_item_is_not_parsed_and_its_siblings_are(monkeypatch):
    monkeypatch.setattr(body_splitter, "MAX_ITEM_VALUES", 3)
    (items,) = split_body(b'{"leads": [{"a": 1}, {"lead_id": "x", "b": [1, 2, 3, 4]}, [5]]}', 1_000).arrays
    first, oversized, last = items
    assert (first, last) == ({"a": 1}, [5])
    assert oversized == OversizedItem(7, 36, {"lead_id": "x", "b": [1, 2, 3, 4]})


def test_an_envelope_of_very_many_fields_is_cut_off():
    body = json.dumps({"leads": [1]} | {f"field{i}": {} for i in range(1_000)}).encode()
    split = split_body(body, 1_000)
    assert not split.complete
    assert len(from_json(split.envelope)) == body_splitter.MAX_FIELDS


def test_more_values_than_are_read_of_any_body_are_not_even_counted(monkeypatch):
    monkeypatch.setattr(body_splitter, "MAX_BODY_VALUES", 10)
    assert split_body(b'{"leads": [1, 2, 3, 4, 5, 6, 7, 8]}', 1_000).arrays
    with pytest.raises(TooManyValues):
        split_body(b'{"leads": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}', 1_000)


@pytest.mark.parametrize("depth", [199, 200, 201, 1_000])
def test_it_goes_as_deep_as_the_parser_does(depth):
    body = b'{"leads":' + b"[" * depth + b"]" * depth + b"}"
    try:
        from_json(body)
    except ValueError:
        with pytest.raises(InvalidJson):
            split_body(body, 1_000)
    else:
        assert joined(body) == from_json(body)
