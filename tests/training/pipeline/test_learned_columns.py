"""What a run says of the columns: which whole numbers are codes, and which columns tell more together."""

from __future__ import annotations

from features.display_names import DisplayNames
from features.spec import DisplayText
from models.encoding import CombinationEncoding, FeatureEncoder
from training.pipeline.messages import code_column_messages, combination_messages

NAMES = DisplayNames(texts={"emp_no": DisplayText("Employee", "Mitarbeiter")})


def test_codes_are_named_as_people_call_them():
    (line,) = code_column_messages(["emp_no", "branch"], NAMES)
    assert line.startswith("whole numbers that are codes: Employee and branch.")


def test_combinations_are_named_with_how_many_values_they_know():
    pair = CombinationEncoding(("emp_no", "branch"), ("1\x1f2", "1\x1f3"), (0.1, -0.1))
    (line,) = combination_messages(FeatureEncoder((), (pair,)), NAMES)
    assert line.startswith("Employee and branch tell more together than each alone: ")
    assert line.endswith("the model knows 2 combinations of their values")


def test_nothing_is_said_where_there_is_nothing():
    assert not [*code_column_messages([], NAMES), *combination_messages(FeatureEncoder(()), NAMES)]
