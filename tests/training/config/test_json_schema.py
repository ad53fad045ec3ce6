"""The JSON schema that editors read agrees with the reader of the configuration."""

from __future__ import annotations

import tomllib
from datetime import date, datetime

import jsonschema
import pytest

from training.config.json_schema import config_json_schema
from training.config.settings import load_config
from training.config.toml_reader import ConfigError

SCHEMA = config_json_schema()
HISTORY = """\
observed_until = 2018-11-15
project = "acme"

[leads]
file = "mql.csv"
columns = { lead_id = "mql_id" }
where = { deleted = false, status = ["open", "won"] }
lookup = { stage_id = { table = "crm_stage" } }
gather = { tags = { table = "tag_rel", on = { id = "lead_id" }, value = "tag" } }

[[touchpoints]]
database = "crm.sqlite"
table = "calls"
constants = { kind = "contact_request" }
join = [{ table = "kinds", on = { kind_id = "id" }, as = "k" }]

[[transitions]]
file = "deals.csv"
max_share = 0.1

[funnel]
stages = ["mql", "won", "lost"]
target = "won"
closed = ["lost"]

[label]
horizon = "90d"

[cohort]
on = ["created"]
every = "30d"
from = 2018-01-01

[training]
capacity = "50 per week"
seed = 1

[report]
lang = "de"
costs = { social = 1200 }

[names]
source = { en = "Source", de = "Quelle" }
"""


def faults(text):
    """What the schema says about a TOML text, whose dates it sees as text."""

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value.isoformat() if isinstance(value, date | datetime) else value

    return list(jsonschema.Draft7Validator(SCHEMA).iter_errors(plain(tomllib.loads(text))))


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_what_the_reader_accepts_the_schema_accepts(tmp_path):
    file = tmp_path / "leadloop.toml"
    file.write_text(HISTORY)
    assert load_config(file)
    assert faults(HISTORY) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("horizon =", "horzion ="),
        ("[funnel]", "[funel]"),
        ('"90d"', "90"),
        ('"90d"', '"90 moons"'),
        ('["lost"]', '"lost"'),
        ('lang = "de"', 'lang = "fr"'),
        ("seed = 1", "seed = true"),
        ("seed = 1", 'seed = "1"'),
        ("seed = 1", 'weights = "all"'),
        ("social = 1200", 'social = "1200"'),
        ("max_share = 0.1", 'max_share = "0.1"'),
        ('target = "won"\n', ""),
        ('table = "kinds"', "table = 3"),
        ('value = "tag"', 'valeu = "tag"'),
        ('as = "k"', 'alias = "k"'),
        ("deleted = false", "deleted = 0.5"),
        ("capacity =", "capacity_of ="),
        ("source = { en", "source = { en = 3, xx"),
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(tmp_path, right, wrong):
    assert right in HISTORY
    text = HISTORY.replace(right, wrong, 1)
    file = tmp_path / "leadloop.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_config(file)
    assert faults(text)


def test_every_key_of_the_schema_says_what_it_means():
    def keys(schema, path=""):
        for key, value in schema.get("properties", {}).items():
            yield f"{path}.{key}", value
            yield from keys(value, f"{path}.{key}")

    parts = {"": SCHEMA, **SCHEMA["definitions"]}
    unclear = [
        key for name, part in parts.items() for key, value in keys(part, name) if not value.get("description")
    ]
    assert unclear == []
    assert not [
        key for name, part in parts.items() for key, value in keys(part, name) if "](" in value["description"]
    ]
