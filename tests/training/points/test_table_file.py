"""Points tables in files: read as they are written, refused where they cannot be meant."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.clock import DAY
from features.spec import DisplayText, FeatureSet, attribute
from models.points_table import AttributeRule, PointsTable, PointsTableError, Thresholds, TouchpointRule
from training.config.toml_reader import ConfigError
from training.data.dataset import Dataset
from training.points.table_file import current_points, load_points_table

WRITTEN = """
[thresholds]
mql = 30
sql = 60

[[touchpoints]]
kind = "email_open"
points = 3
cap = 15
lifespan = "90d"

[[touchpoints]]
kind = "cart"
points = 20
where = {channel = "shop"}

[[attributes]]
column = "role"
value = "student"
points = -5
"""


@pytest.fixture
def write_table(tmp_path):
    def write(text=WRITTEN):
        path = tmp_path / "points.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_table_is_read_as_it_is_written(write_table):
    assert load_points_table(write_table()) == PointsTable(
        Thresholds(30, 60),
        (
            TouchpointRule("email_open", 3, 15, 90 * DAY),
            TouchpointRule("cart", 20, where={"channel": "shop"}),
        ),
        (AttributeRule("role", -5, value="student"),),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cap = 15", "kap = 15", r"line 9, \[touchpoints 1\] kap: there is no such key; did you mean 'cap'"),
        ('lifespan = "90d"', 'lifespan = "soon"', "line 10, .*'soon' is not a duration"),
        ("points = 20", 'points = "many"', r"line 14, \[touchpoints 2\] points: this should be a number"),
        ("channel =", "chanel =", "did you mean 'channel'"),
        ("sql = 60", "sql = 6", r"\[thresholds\]: the threshold of sql \(6\) lies below"),
        ("mql = 30", "", "the key 'mql' is missing"),
        ("[thresholds]", "[thresholds", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_place(write_table, old, new, message):
    with pytest.raises((ConfigError, PointsTableError), match=message):
        load_points_table(write_table(WRITTEN.replace(old, new)))


def test_a_file_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_points_table(tmp_path / "points.toml")


def test_the_rows_of_a_flat_export_get_points_for_their_columns():
    rows = pl.DataFrame({"lead_id": ["1", "2"], "as_of": [1, 1], "role": ["student", "director"]})
    features = FeatureSet((attribute("role", family="fit", says=DisplayText("{value}", "{value}")),))
    dataset = Dataset(features, rows, np.array([0, 1], dtype=np.int8), "won")
    table = PointsTable(Thresholds(1, 2), attributes=(AttributeRule("role", -5, value="student"),))
    assert current_points(table, dataset).tolist() == [-5, 0]
