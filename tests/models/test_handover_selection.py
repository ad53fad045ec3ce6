"""Whom to hand over: held to brute force, closed forms, and draws over many days."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import product

import pytest
from scipy.stats import binom

from features.clock import DAY
from models.handover_selection import (
    HandoverCandidate,
    HandoverRequest,
    StreamedSelection,
    control_limit,
    control_number,
    conversion_interval,
    lead_lot,
    select_leads,
)

WEEKS = [week * 7 * DAY for week in range(400)]


def leads(*worths):
    return [HandoverCandidate(f"lead {number}", number, worth) for number, worth in enumerate(worths, 1)]


def names(choice):
    return [lead.candidate.lead_id for lead in choice.leads]


def test_the_best_are_chosen_best_first():
    choice = select_leads(leads(0.1, 0.9, 0.5, 0.7), HandoverRequest(0, 3))
    assert names(choice) == ["lead 2", "lead 4", "lead 3"]
    assert (choice.open, choice.tied, choice.tied_taken) == (4, 1, 1)
    assert [lead.propensity for lead in choice.leads] == [1, 1, 1]


def test_of_equal_leads_at_the_cut_it_is_told_how_many_there_are_and_how_many_were_taken():
    choice = select_leads(leads(0.9, 0.5, 0.5, 0.5, 0.1), HandoverRequest(0, 3))
    assert (choice.tied, choice.tied_taken) == (3, 2)
    assert [lead.propensity for lead in choice.leads] == pytest.approx([1, 2 / 3, 2 / 3])


def test_the_order_of_the_candidates_makes_no_difference():
    some = leads(*[0.5] * 20, *[0.2] * 20)
    assert select_leads(some, HandoverRequest(DAY, 8, 0.5)) == select_leads(
        some[::-1], HandoverRequest(DAY, 8, 0.5)
    )


def test_another_day_draws_another_lot():
    some = leads(*[0.5] * 20)
    assert len({tuple(sorted(names(select_leads(some, HandoverRequest(day, 5))))) for day in WEEKS[:20]}) > 15


@pytest.mark.parametrize(("capacity", "explore"), [(3, 0.0), (3, 0.34), (4, 0.5), (2, 1.0), (6, 0.3)])
def test_each_lead_is_handed_over_as_often_as_its_propensity_says(capacity, explore):
    some, days = leads(0.9, 0.5, 0.5, 0.5, 0.3, 0.1, 0.1, 0.05), range(0, 6000 * DAY, DAY)
    times, propensities = Counter(), {}
    for day in days:
        for selected in select_leads(some, HandoverRequest(day, capacity, explore)).leads:
            times[selected.candidate.lead_id] += 1
            propensities[selected.candidate.lead_id] = selected.propensity
    for lead, chance in propensities.items():
        spread = math.sqrt(len(days) * chance * (1 - chance))
        assert abs(times[lead] - len(days) * chance) <= 4 * spread + 1e-6
    # Horvitz and Thompson: who can be handed over at all is counted once, on average.
    assert sum(times[lead] / chance for lead, chance in propensities.items()) / len(days) == pytest.approx(
        len(propensities), rel=0.05
    )


def test_the_share_by_lot_comes_from_below_the_cut_and_is_marked():
    some = leads(*[0.9 - number / 100 for number in range(80)])
    for day in WEEKS[:50]:
        choice = select_leads(some, HandoverRequest(day, 20, 0.1))
        by_lot = [lead for lead in choice.leads if lead.explored]
        assert names(choice)[:18] == [f"lead {number}" for number in range(1, 19)]
        assert len(by_lot) == 2
        assert {lead.propensity for lead in by_lot} == {2 / 62}
        assert not any(lead.explored for lead in choice.leads[:18])


def test_where_all_are_handed_over_nobody_is_drawn():
    choice = select_leads(leads(0.9, 0.5), HandoverRequest(0, 2, 0.5))
    assert [(lead.explored, lead.propensity) for lead in choice.leads] == [(False, 1.0)] * 2


def test_a_small_share_draws_at_least_one():
    assert (
        sum(lead.explored for lead in select_leads(leads(*[0.5] * 9), HandoverRequest(0, 5, 0.01)).leads) == 1
    )


def in_control_group(lead_id, share):
    return control_number(lead_lot(lead_id)) < control_limit(share)


@pytest.mark.parametrize(
    ("capacity", "explore"), [(5, 0.0), (9, 0.4), (6, 1.0), (25, 0.2), (39, 0.1), (60, 0.5)]
)
def test_a_lead_of_the_control_group_is_named_exactly_if_it_alone_would_be_selected(capacity, explore):
    some = leads(*[round(0.9 - number / 50, 1) for number in range(40)])
    for day in WEEKS[:12]:
        choice = select_leads(some, HandoverRequest(day, capacity, explore, control_share=0.3))
        group = [each for each in some if in_control_group(each.lead_id, 0.3)]
        others = [each for each in some if each not in group]
        assert 4 < len(group) < 20
        assert not {each.lead_id for each in group} & set(names(choice))
        expected = {}
        for each in group:
            if len(others) == capacity:  # one more, and somebody would be drawn
                continue
            alone = select_leads([*others, each], HandoverRequest(day, capacity, explore))
            expected |= {
                lead.candidate.lead_id: lead.explored for lead in alone.leads if lead.candidate == each
            }
        if len(others) != capacity:
            assert {lead.candidate.lead_id: lead.explored for lead in choice.control} == expected


def test_whoever_would_be_selected_is_handed_over_by_the_chance_of_the_control_group():
    """Whoever is drawn has the same chance as whoever is above the cut, on every day."""
    chances = Counter()
    for day in WEEKS[:200]:
        some = [HandoverCandidate(f"{day} {n}", n, 0.9 - n / 1_000) for n in range(300)]
        choice = select_leads(some, HandoverRequest(day, 100, 0.5, control_share=0.2))
        for kind, selected in (("handed over", choice.leads), ("control", choice.control)):
            chances.update((kind, lead.explored) for lead in selected)
        assert {round(lead.propensity, 9) for lead in choice.leads[:50]} == {0.8}
    for explored in (False, True):
        handed, control = chances["handed over", explored], chances["control", explored]
        spread = math.sqrt(0.2 * 0.8 * (handed + control))
        assert abs(control - 0.2 * (handed + control)) < 4 * spread


def test_the_control_group_is_the_same_leads_on_every_day():
    some = leads(*[0.5] * 50)
    handed = {
        name
        for day in WEEKS
        for name in names(select_leads(some, HandoverRequest(day, 20, 0.5, control_share=0.2)))
    }
    assert handed == {each.lead_id for each in some if not in_control_group(each.lead_id, 0.2)}


def test_without_a_share_nobody_is_in_the_control_group():
    some = leads(*[0.5] * 50)
    choice = select_leads(some, HandoverRequest(DAY, 50))
    assert (len(choice.leads), choice.control) == (50, ())


def test_the_number_of_conversions_is_distributed_as_brute_force_counts():
    chances = [0.05, 0.1, 0.3, 0.5, 0.5, 0.8, 0.95]
    mass = Counter()
    for outcomes in product([0, 1], repeat=len(chances)):
        mass[sum(outcomes)] += math.prod(p if c else 1 - p for p, c in zip(chances, outcomes, strict=True))
    reached, ends = 0.0, []
    for number in range(len(chances) + 1):
        reached += mass[number]
        ends += [number] * (reached >= (0.05, 0.95, 2)[len(ends)])
    assert conversion_interval(chances) == tuple(ends)


@pytest.mark.parametrize(("n", "p"), [(1, 0.01), (50, 0.2), (400, 0.03), (3000, 0.5)])
def test_equal_chances_are_binomial(n, p):
    assert conversion_interval([p] * n) == (binom.ppf(0.05, n, p), binom.ppf(0.95, n, p))


def test_nobody_converts_of_nobody():
    assert conversion_interval([]) == (0, 0)


def streamed(candidates, request):
    selection = StreamedSelection(request)
    for candidate in candidates:
        selection.add(lambda candidate=candidate: candidate, candidate.worth, lead_lot(candidate.lead_id))
    return selection.finish()


@pytest.mark.parametrize("seed", range(60))
def test_leads_that_come_one_by_one_are_selected_as_the_definition_says(seed):
    numbers = random.Random(seed)  # noqa: S311
    worths = numbers.choice([[0.5], [0.1, 0.5, 0.9], [n / 97 for n in range(97)]])
    tenants = numbers.choice([[""], ["", "acme"]])
    some = [
        HandoverCandidate(f"lead {n % 70}", n, numbers.choice(worths), tenant=tenants[n // 70 % len(tenants)])
        for n in range(numbers.randrange(1, 70 * len(tenants)))
    ]
    numbers.shuffle(some)
    wish = HandoverRequest(
        numbers.randrange(400) * DAY,
        numbers.choice([1, 3, 10, 40, 200]),
        numbers.choice([0.0, 0.1, 0.5, 1.0]),
        control_share=numbers.choice([0.0, 0.3, 0.9]),
        reserve=numbers.choice([0, 1, 7]),
    )
    assert streamed(some, wish) == select_leads(some, wish)


def test_the_reserve_are_the_next_best_that_are_not_drawn():
    some = leads(*[0.9 - number / 100 for number in range(40)])
    for day in WEEKS[:40]:
        choice = select_leads(some, HandoverRequest(day, 10, 0.5, reserve=6))
        waiting = [each for each in some if each.lead_id not in names(choice)]
        assert list(choice.reserve) == waiting[:6]
