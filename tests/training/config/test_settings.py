"""A configuration says what it means; a mistake in it is answered with its line and the nearest word."""

from __future__ import annotations

import pytest

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from training.config.settings import Capacity, load_config
from training.config.toml_reader import ConfigError

HISTORY = """\
observed_until = 2018-11-15

[leads]
file = "mql.csv"
columns = { lead_id = "mql_id", created_at = "first_contact_date" }

[[touchpoints]]
file = "a.csv"

[[touchpoints]]
database = "crm.sqlite"
table = "calls"
constants = { kind = "contact_request" }

[[transitions]]
database = "postgresql://host/crm"
query = "SELECT * FROM deals"
time_zone = "Europe/Berlin"
values = { stage = { "Closed Won" = "won" } }

[[attributes.history]]
file = "changes.csv"

[attributes]
exclude = ["Tags"]
roles = { zip = "category" }

[funnel]
stages = ["mql", "won", "lost"]
target = "won"
closed = ["lost"]

[label]
horizon = "90d"
settle = "3d"

[cohort]
on = ["created", "mql"]
every = "30d"
from = 2018-01-01

[training]
capacity = "50 per week"
"""
FLAT = '[flat]\nleads = "Leads.csv"\nid = "Prospect ID"\nlabel = "Converted"\nexclude = ["Tags"]\n'


@pytest.fixture
def config(tmp_path):
    def loaded(text):
        (tmp_path / "leadloop.toml").write_text(text)
        return load_config(tmp_path / "leadloop.toml")

    return loaded


def test_a_history_is_described_in_full(config, tmp_path):
    settings = config(HISTORY)
    mapping = settings.history_mapping
    assert mapping.leads.file == tmp_path / "mql.csv"
    assert mapping.touchpoints[1].database == str(tmp_path / "crm.sqlite")
    assert mapping.transitions[0].database == "postgresql://host/crm"
    assert mapping.transitions[0].values == {"stage": {"Closed Won": "won"}}
    assert (mapping.attributes[0].file, mapping.plain.exclude) == (tmp_path / "changes.csv", ("Tags",))
    assert (mapping.stages, mapping.observed_until) == (("mql", "won", "lost"), 17850 * DAY)
    assert settings.label_spec == LabelSpec("won", 90 * DAY, 0, ("lost",), 3 * DAY)
    assert settings.cohort_rule == CohortRule(
        on=("created", "mql"), every=30 * DAY, closed=("won", "lost"), start=17532 * DAY
    )
    assert settings.training.capacity == Capacity(50, 7 * DAY)


def test_a_flat_export_needs_little(config, tmp_path):
    settings = config(FLAT)
    assert settings.flat.leads == tmp_path / "Leads.csv"
    assert settings.flat_mapping.named == ("Prospect ID", "Converted", "Tags")
    assert (settings.training.seed, settings.training.weights, settings.quarantine.max_share) == (
        42,
        "matured",
        0.05,
    )
    with pytest.raises(ConfigError, match=r"no \[leads\]"):
        _ = settings.history_mapping


def test_capacity_is_a_share_of_what_arrives():
    assert Capacity(50, 7 * DAY).share(leads=1000, seconds=70 * DAY) == 0.5
    assert Capacity(50, 7 * DAY).share(leads=10, seconds=70 * DAY) == 1.0


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("settle", "setle", "line 35, .label. setle: there is no such key; did you mean 'settle'"),
        ("[funnel]", "[funel]", "line 28, .funel.: there is no such key; did you mean 'funnel'"),
        ('table = "calls"', 'tabel = "calls"', "line 12, .touchpoints 2. tabel: .*did you mean 'table'"),
        ('"90d"', "90", "line 34, .label. horizon: this should be a duration such as 90d, not 90"),
        ('"90d"', '"90 moons"', "line 34, .* is not a duration"),
        ('"50 per week"', '"often"', "line 43, .training. capacity: 'often' is not a capacity"),
        ("2018-01-01", '"yesterday"', "line 40, .cohort. from: 'yesterday' is no time"),
        ('["Tags"]', '"Tags"', "line 25, .attributes. exclude: this should be a list, not 'Tags'"),
        (
            '"category"',
            '"word"',
            "line 26, .attributes. roles.zip: 'word' is none of 'number', 'flag', 'category'",
        ),
        ('closed = ["lost"]', 'closed = ["lst"]', "line 28, .funnel.: 'lst' is none of the stages; .*'lost'"),
        ('closed = ["lost"]', 'closed = ["won"]', "cannot also be a closed end"),
        ('"created", "mql"', '"created", "mqls"', "'mqls' is none of the stages of the funnel; .*'mql'"),
        ("constants = { kind", "constants = { knd", "contract of touchpoints has no column 'knd'; .*'kind'"),
        ('file = "mql.csv"', 'database = "x"', "line 3, .leads.: .*a table or a query"),
        ('zone = "Europe/Berlin"', 'zone = "Berlin"', "line 15, .transitions 1.: 'Berlin' is no time zone"),
        ('horizon = "90d"\n', "", "line 33, .label.: the key 'horizon' is missing"),
        ('capacity = "50 per week"', "capacity = 50", "line 43, .* this should be text, not 50"),
        ('capacity = "50 per week"', 'weights = "all"', "'all' is none of 'matured', 'ipcw'"),
        ('capacity = "50 per week"', "seed = true", "line 43, .training. seed: .* a whole number, not true"),
        ('capacity = "50 per week"', "capacity_share = 2", "above 0 and at most 1"),
        ('[label]\nhorizon = "90d"\nsettle = "3d"\n', "", "a history needs .funnel., .label."),
        ("[leads]", '[flat]\nleads = "x"\nlabel = "y"\n[leads]', "either a flat export"),
        ("[funnel]", "[funnel", "is not valid TOML"),
    ],
)
def test_a_mistake_is_answered_with_its_place_and_what_would_be_right(config, right, wrong, message):
    assert right in HISTORY
    with pytest.raises(ConfigError, match=f"leadloop.toml.*{message}"):
        config(HISTORY.replace(right, wrong, 1))


def test_a_configuration_that_is_not_there_points_to_init(tmp_path):
    with pytest.raises(ConfigError, match="leadloop init"):
        load_config(tmp_path / "none.toml")


def test_names_for_people_are_read_and_a_wrong_one_is_answered_with_its_section(tmp_path):
    file = tmp_path / "leadloop.toml"
    file.write_text(FLAT + '[names]\nTags = { en = "Labels", de = "Etiketten" }\nTags.x = "X"\n')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(file)
    file.write_text(FLAT + '[names]\nTags = { en = "Labels", de = "Etiketten" }\n"Tags.x" = "X"\n')
    names = load_config(file).names
    assert (names.column("Tags").de, names.value("Tags", "x").en) == ("Etiketten", "X")
    file.write_text(FLAT + "[names]\nTags = 3\n")
    with pytest.raises(ConfigError, match=r"line 6, \[names\]: 'Tags' should get a name such as"):
        load_config(file)
