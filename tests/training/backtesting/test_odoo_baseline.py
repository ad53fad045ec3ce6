"""The frequency model of Odoo's CRM: by hand, against a slow definition, and on a history."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.cohort import Snapshots
from features.history import TRANSITION_SCHEMA, LeadHistory
from training.backtesting.odoo_baseline import (
    FrequencyModel,
    LeadCase,
    OdooFields,
    UnknownFieldError,
    UnknownStageError,
    WinLossCounts,
    cases_from_rows,
    learn_frequencies,
    open_cases,
)

STAGES = ("new", "qualified", "proposal")
BELGIUM, FRANCE = {"country": "BE"}, {"country": "FR"}
CLOSED = [
    (LeadCase("proposal", BELGIUM), True),
    (LeadCase("new", BELGIUM), True),
    (LeadCase("qualified", FRANCE), True),
    (LeadCase("qualified", FRANCE), False),
    (LeadCase("new", FRANCE), False),
]


def tally(won, lost):
    return WinLossCounts(pytest.approx(won), pytest.approx(lost))


def test_a_won_lead_counts_in_every_stage_and_a_lost_one_up_to_its_own():
    counts = FrequencyModel.of(CLOSED, STAGES).counts[None]
    assert counts["stage_id", "new"] == tally(3.1, 2.1)
    assert counts["stage_id", "qualified"] == tally(3.1, 1.1)
    assert counts["stage_id", "proposal"] == tally(3.1, 0.1)
    assert counts["country", "BE"] == tally(2.1, 0.1)
    assert counts["country", "FR"] == tally(1.1, 2.1)


def test_the_probability_is_what_a_pencil_makes_of_it():
    # W = 3.1, L = 2.1, N = 5.2; a lead in "qualified" from France:
    # won  3.1/5.2 * 3.1/3.1 * 1.1/3.2 = 0.204928
    # lost 2.1/5.2 * 1.1/2.1 * 2.1/2.2 = 0.201923
    # 0.204928 / 0.406851 = 50.37 %
    table = FrequencyModel.of(CLOSED, STAGES)
    assert table.probability(LeadCase("qualified", FRANCE)) == 50.37
    # In "new" the stage says nothing: 3.1 * 1.1/3.2 against 2.1 * 2.1/2.2, which is 1.065625 to 2.004545.
    assert table.probability(LeadCase("new", FRANCE)) == 34.71


def test_a_value_without_a_row_is_skipped():
    table = FrequencyModel.of(CLOSED, STAGES)
    known = table.probability(LeadCase("new"))
    assert known == round(100 * 3.1 / 5.2, 2)
    assert table.probability(LeadCase("new", {"country": "IT", "language": "it"})) == known


def test_certainty_is_never_claimed():
    table = FrequencyModel("new", {None: {("stage_id", "new"): WinLossCounts(1e9, 0.1)}})
    assert table.probability(LeadCase("new")) == 99.99
    table = FrequencyModel("new", {None: {("stage_id", "new"): WinLossCounts(0.1, 1e9)}})
    assert table.probability(LeadCase("new")) == 0.01


def test_hundreds_of_fields_leave_a_probability():
    values = {f"field {i}": "x" for i in range(500)}
    rows = {(name, value): WinLossCounts(1.1, 0.1) for name in values for value in ("x", "y")}
    table = FrequencyModel("new", {None: {("stage_id", "new"): WinLossCounts(0.1, 1e6), **rows}})
    assert table.probability(LeadCase("new", values)) == 0.01


def test_a_tag_counts_from_fifty_leads_on():
    rows = {("stage_id", "new"): WinLossCounts(50.1, 50.1), ("tag_id", "vip"): WinLossCounts(40.1, 9.8)}
    rare = FrequencyModel("new", {None: rows})
    common = FrequencyModel(
        "new",
        {
            None: rows
            | {("tag_id", "vip"): WinLossCounts(40.1, 10.1), ("tag_id", "b"): WinLossCounts(10.1, 40.1)}
        },
    )
    assert rare.probability(LeadCase("new", tags=("vip",))) == 50.0
    assert common.probability(LeadCase("new", tags=("vip",))) == round(100 * 40.1 / 50.2, 2)


def test_a_rare_tag_is_left_out_of_the_totals_too():
    rows = {
        ("stage_id", "new"): WinLossCounts(50.1, 50.1),
        ("tag_id", "a"): WinLossCounts(30.1, 30.1),
        ("tag_id", "b"): WinLossCounts(0.1, 40.1),
    }
    assert FrequencyModel("new", {None: rows}).probability(LeadCase("new", tags=("a",))) == 50.0


def test_a_lead_is_scored_by_its_own_team_where_that_has_counts():
    north, south = (
        {("stage_id", "new"): WinLossCounts(9.1, 1.1)},
        {("stage_id", "new"): WinLossCounts(1.1, 9.1)},
    )
    table = FrequencyModel("new", {"north": north, "south": south})
    assert table.probability(LeadCase("new", team="north")) == round(100 * 9.1 / 10.2, 2)
    assert table.probability(LeadCase("new", team="west")) == table.probability(LeadCase("new")) == 50.0


def test_leads_without_a_team_count_among_all_teams_only():
    table = FrequencyModel(
        "new",
        {
            None: {("stage_id", "new"): WinLossCounts(8.1, 0.1)},
            "a": {("stage_id", "new"): WinLossCounts(0.1, 8.1)},
        },
    )
    assert table.probability(LeadCase("new", team="a")) == round(100 * 0.1 / 8.2, 2)
    assert table.probability(LeadCase("new")) == 50.0


def test_before_any_lead_is_closed_there_is_no_probability():
    table = FrequencyModel.of([], STAGES)
    assert table.probability(LeadCase("new")) is None
    assert np.isnan(table.probabilities([LeadCase("new")])).all()


def test_a_stage_that_the_funnel_does_not_have_is_refused():
    with pytest.raises(
        UnknownStageError, match=r"'propsal' is none of the stages; did you mean 'proposal'\?"
    ):
        FrequencyModel.of([(LeadCase("propsal"), True)], STAGES)


def slow(closed, case):
    """The definition, in exact fractions, counting every lead anew for every number."""
    teams = {other.team for other, _ in closed if other.team is not None}
    pool = [
        [r for r in closed if r[0].team == t] for t in ({case.team} & teams or {r[0].team for r in closed})
    ]

    def count(variable, value):
        total = [Fraction(0), Fraction(0)]
        for rows in pool:
            row = [Fraction(0), Fraction(0)]
            for other, won in rows:
                reached = STAGES if won else STAGES[: STAGES.index(other.stage) + 1]
                values = [
                    *other.values.items(),
                    *(("tag", t) for t in other.tags),
                    *(("stage", s) for s in reached),
                ]
                row[0 if won else 1] += (variable, value) in values
            if sum(row) and (variable != "tag" or sum(row) + Fraction(2, 10) >= 50):
                total = [t + r + Fraction(1, 10) for t, r in zip(total, row, strict=True)]
        return total

    known = {
        (k, v)
        for rows in pool
        for o, _ in rows
        for k, v in [*o.values.items(), *(("tag", t) for t in o.tags)]
    }
    everyone = count("stage", STAGES[0])
    score = [side / sum(everyone) for side in everyone]
    for variable, value in [("stage", case.stage), *case.values.items(), *(("tag", t) for t in case.tags)]:
        own = count(variable, value)
        of = (
            everyone
            if variable == "stage"
            else [sum(c) for c in zip(*(count(*k) for k in known if k[0] == variable), strict=True)]
        )
        if sum(own):
            score = [s * o / t for s, o, t in zip(score, own, of, strict=True)]
    return min(max(round(float(100 * score[0] / sum(score)), 2), 0.01), 99.99)


leads = st.builds(
    LeadCase,
    stage=st.sampled_from(STAGES),
    values=st.fixed_dictionaries(
        {}, optional={"country": st.sampled_from("ABC"), "source": st.sampled_from("xy")}
    ),
    tags=st.lists(st.sampled_from(["vip", "old"]), unique=True).map(tuple),
    team=st.sampled_from([None, "north", "south"]),
)


@given(
    closed=st.lists(st.tuples(leads, st.booleans()), min_size=1, max_size=30),
    case=leads,
    often=st.sampled_from([1, 20]),
)
def test_it_is_the_slow_definition(closed, case, often):
    table = FrequencyModel.of(closed * often, STAGES)
    assert table.probability(case) == pytest.approx(slow(closed * often, case), abs=0.0101)


@given(
    closed=st.lists(st.tuples(leads, st.booleans()), min_size=2, max_size=20),
    case=leads,
    seed=st.integers(0, 99),
)
def test_the_order_of_leads_is_irrelevant(closed, case, seed):
    shuffled = [closed[i] for i in np.random.default_rng(seed).permutation(len(closed))]
    again = FrequencyModel.of(shuffled, STAGES).probability(case)
    assert again == pytest.approx(FrequencyModel.of(closed, STAGES).probability(case), abs=0.0101)


FIELDS = OdooFields(("country",), STAGES, target="won", closed=("lost",), team="team")


def history(*transitions, until=100):
    return LeadHistory(
        leads=pl.DataFrame(
            {
                "lead_id": ["a", "b", "c"],
                "created_at": [0, 0, 0],
                "account_id": pl.Series([None] * 3, dtype=pl.String),
                "country": ["BE", "FR", None],
                "team": ["north", None, None],
            }
        ),
        touchpoints=LeadHistory.from_leads(pl.DataFrame({"lead_id": ["a"]}), 1).touchpoints,
        transitions=pl.DataFrame(
            [
                dict(zip(("lead_id", "occurred_at", "known_at", "stage"), row, strict=True))
                for row in transitions
            ],
            schema=TRANSITION_SCHEMA,
        ),
        observed_until=until,
    )


def at(*pairs):
    return Snapshots(pl.DataFrame(pairs, schema={"lead_id": pl.String, "as_of": pl.Int64}, orient="row"))


def test_a_history_is_counted_as_its_leads_stood_when_they_closed():
    events = history(
        ("a", 5, 5, "qualified"), ("a", 9, 9, "won"), ("b", 5, 5, "qualified"), ("b", 7, 7, "lost")
    )
    by_hand = FrequencyModel.of(
        [(LeadCase("qualified", BELGIUM, team="north"), True), (LeadCase("qualified", FRANCE), False)], STAGES
    )
    assert learn_frequencies(events, FIELDS).counts == by_hand.counts


def test_what_happens_after_a_snapshot_is_not_seen_in_it():
    before = history(("a", 5, 5, "qualified"))
    after = history(("a", 5, 5, "qualified"), ("a", 20, 20, "proposal"), ("a", 8, 20, "proposal"))
    cases = open_cases(after, at(("a", 20), ("a", 5), ("c", 3), ("a", 21)), FIELDS)
    assert (
        cases[0]
        == open_cases(before, at(("a", 20)), FIELDS)[0]
        == LeadCase("qualified", BELGIUM, team="north")
    )
    assert cases[1].stage == cases[2].stage == "new"
    assert cases[2].values == {}
    assert cases[3].stage == "proposal"


def test_what_closes_after_the_end_of_a_history_is_not_counted():
    events = history(("a", 9, 9, "won"), ("b", 200, 200, "lost"))
    assert learn_frequencies(events, FIELDS).counts["north"]["stage_id", "new"] == tally(1.1, 0.1)
    assert None not in learn_frequencies(events, FIELDS).counts


def test_a_lead_is_closed_once_by_the_first_news():
    events = history(("a", 9, 9, "lost"), ("a", 12, 12, "won"))
    assert learn_frequencies(events, FIELDS).counts["north"]["stage_id", "new"] == tally(0.1, 1.1)


def test_of_stages_entered_in_one_second_the_later_one_holds():
    events = history(("a", 5, 5, "proposal"), ("a", 5, 5, "new"), ("a", 5, 5, "qualified"))
    assert open_cases(events, at(("a", 9)), FIELDS)[0].stage == "proposal"


def test_tags_are_the_words_of_a_column():
    rows = pl.DataFrame({"tags": ["vip, old,vip ,", None]})
    assert [case.tags for case in cases_from_rows(rows, OdooFields((), tags="tags"))] == [("vip", "old"), ()]


def test_a_field_that_no_lead_has_is_named():
    with pytest.raises(UnknownFieldError, match=r"'contry'; did you mean 'country'\?"):
        open_cases(history(), at(("a", 5)), OdooFields(("contry",)))
    with pytest.raises(UnknownFieldError, match="'stage_id' cannot be a field"):
        OdooFields(("stage_id",))
