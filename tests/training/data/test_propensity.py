"""Chances over all lists of a log are the shares of leads that lots would take."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.clock import DAY
from training.data.propensity import cumulative_propensities, truncate_weights

DAYS, LEADS, LOTS, DRAWS = 12, 40, 2, 4_000


def lots_of_a_company(random):
    """Days of arrival, and by draw the day on which lots took each lead; all are below the cut."""
    arrival = np.arange(LEADS) % 3
    taken = np.full((DRAWS, LEADS), DAYS)
    for day in range(DAYS):
        for drawn in taken:
            waiting = np.flatnonzero((drawn == DAYS) & (arrival <= day))
            drawn[random.permutation(waiting)[:LOTS]] = day
    return arrival, taken


def test_a_cumulative_chance_is_the_share_of_draws_that_reach_the_lead():
    random = np.random.default_rng(0)
    arrival, taken = lots_of_a_company(random)
    waiting = [int((arrival <= day).sum()) - LOTS * day for day in range(DAYS)]
    lists = pl.DataFrame(
        {"handover_id": range(1, DAYS + 1), "day": np.arange(DAYS) * DAY, "tenant": "", "cut": 0.9}
        | {"by_lot": [LOTS / count for count in waiting], "at_cut": 1.0}
    )
    # One lead of each day of arrival, as it would stand in the log had it been drawn on its fifth day.
    rows = pl.DataFrame(
        {
            "tenant": "",
            "handover_id": [day + 5 for day in range(3)],
            "propensity": [LOTS / waiting[day + 4] for day in range(3)],
            "worth": 0.1,
            "first_decided_at": [day * DAY for day in range(3)],
        }
    )
    found = cumulative_propensities(rows, lists, DAYS * DAY)
    shares = [(taken[:, arrival == day] < DAYS).mean() for day in range(3)]
    assert found.handed_over == pytest.approx(shares, abs=0.01)
    assert found.weights == pytest.approx([1, 1, 1])


def lists(**changed):
    table = {"handover_id": [1, 2, 3], "day": [0, DAY, 2 * DAY], "tenant": "", "by_lot": 0.5, "cut": 0.9}
    return pl.DataFrame(table | {"at_cut": 1.0} | changed)


def lead(**changed):
    row = {"tenant": "a", "handover_id": 1, "propensity": 0.5, "worth": 0.1, "first_decided_at": 0}
    return pl.DataFrame([row | changed])


@pytest.mark.parametrize(
    ("row", "table", "until", "chance"),
    [
        ({}, {}, 9 * DAY, 1 - 0.5**3),
        ({}, {}, DAY, 1 - 0.5**2),  # later lists are too young for an outcome
        ({"handover_id": 3, "first_decided_at": DAY}, {}, 9 * DAY, 1 - 0.5**2),  # not there on the first day
        ({"first_decided_at": 1}, {}, 0, 0.5),  # first scored during the day of its own list
        (
            {},
            {"tenant": ["", "b", "a"]},
            9 * DAY,
            1 - 0.5**2,
        ),  # lists of other tenants take no lead of this one
        ({}, {"cut": [0.9, 0.05, 0.9]}, 9 * DAY, 1.0),  # it would have been above the next day's cut
        (
            {},
            {"cut": [0.9, 0.1, 0.9], "at_cut": 0.5},
            9 * DAY,
            1 - 0.5 * 0.25 * 0.5,
        ),  # tied with the last one
        ({"handover_id": 3}, {"cut": [0.05, 0.9, 0.9]}, 9 * DAY, 1 - 0.5**3),  # it was not above: it waited
        ({"handover_id": 7, "propensity": 0.2}, {}, 9 * DAY, 0.2),  # its list was removed
        # Lists of other owners take no lead of this one's; a list of all leads does.
        ({"owner": "anna"}, {"owner": ["anna", "ben", "anna"]}, 9 * DAY, 1 - 0.5**2),
        ({"owner": "anna"}, {"owner": ["anna", "", "ben"]}, 9 * DAY, 1 - 0.5**2),
    ],
)
def test_each_list_that_could_have_taken_a_lead_counts(row, table, until, chance):
    found = cumulative_propensities(lead(**row), lists(**table), until)
    assert found.handed_over.tolist() == pytest.approx([chance])


def test_a_cumulative_chance_among_several_owners_is_the_share_of_draws_that_reach_the_lead():
    """Each owner's list is a draw of its own, of its own length; both are logged on the same days."""
    leads, lots = {"anna": 30, "ben": 12}, {"anna": 3, "ben": 1}
    random, rows, tables, shares = np.random.default_rng(3), [], [], []
    for number, owner in enumerate(leads):
        taken = np.full((DRAWS, leads[owner]), DAYS)
        for drawn in taken:
            order = random.permutation(leads[owner])[: DAYS // 2 * lots[owner]]
            drawn[order] = np.arange(len(order)) // lots[owner]
        shares.append((taken < DAYS).mean())
        waiting = [leads[owner] - lots[owner] * day for day in range(DAYS // 2)]
        tables += [
            {
                "handover_id": 100 * number + day,
                "day": day * DAY,
                "by_lot": lots[owner] / left,
                "owner": owner,
            }
            for day, left in enumerate(waiting)
        ]
        rows.append({"handover_id": 100 * number + 2, "propensity": lots[owner] / waiting[2], "owner": owner})
    found = cumulative_propensities(
        pl.DataFrame(rows).with_columns(tenant=pl.lit(""), worth=0.1, first_decided_at=0),
        pl.DataFrame(tables).with_columns(tenant=pl.lit(""), cut=0.9, at_cut=1.0),
        DAYS * DAY,
    )
    assert found.handed_over == pytest.approx(shares, abs=0.01)
    assert found.handed_over[0] != pytest.approx(found.handed_over[1], abs=0.05)


def test_a_lead_above_the_cut_weighs_the_chance_that_lots_would_have_given_it():
    found = cumulative_propensities(lead(propensity=1.0), lists(), 9 * DAY)
    assert found.weights.tolist() == pytest.approx([1 - 0.5**3])


def test_without_lots_leads_count_alike():
    found = cumulative_propensities(lead(propensity=1.0), lists(by_lot=0.0), 9 * DAY)
    assert found.weights.tolist() == [1.0]


def test_a_truncation_says_what_it_takes():
    even = truncate_weights(np.ones(9))
    assert (even.truncated, even.share_before, even.share_after) == (0, 0.0, 0.0)
    uneven = truncate_weights(np.array([1.0] * 99 + [1000.0]))
    assert uneven.truncated == 1
    assert uneven.weights.max() == uneven.limit < 1000.0
    assert uneven.share_after < uneven.share_before
