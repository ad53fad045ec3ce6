"""Which offers leads took next, against counting by hand."""

from __future__ import annotations

import polars as pl
from small_crm import history

from features.clock import DAY
from features.labels import LabelSpec
from models.next_offers import NextOffers
from training.analysis.inputs import ReportSettings
from training.analysis.next_offers import FEWEST_TAKERS, count_next_offers
from training.stats.intervals import wilson_interval

COMPANY = ReportSettings(LabelSpec("sql", 30 * DAY), ("lead", "sql", "disqualified"))


def crm(takes, transitions=(), leads=None, until=400):
    """A history whose takes are (lead, offer, day) or (lead, offer, day, stage)."""
    leads = leads or {lead: 0 for lead, *_ in takes}
    frame = history(
        leads, transitions, [(lead, "download", when) for lead, _, when, *_ in takes], until=until
    )
    columns = {
        "offer": [offer for _, offer, *_ in takes],
        "offer_stage": [rest[0] if rest else None for _, _, _, *rest in takes],
    }
    touchpoints = frame.touchpoints.with_columns(
        pl.Series(name, values, pl.String) for name, values in columns.items()
    )
    return type(frame)(
        leads=frame.leads,
        touchpoints=touchpoints,
        transitions=frame.transitions,
        observed_until=frame.observed_until,
    )


def many(build, n=FEWEST_TAKERS):
    return [row for i in range(n) for row in build(f"L{i}")]


def test_what_leads_took_next_and_how_many_converted_is_counted_by_hand():
    takes = many(lambda lead: [(lead, "guide", 1), (lead, "webinar", 5)], 15)
    takes += many(lambda lead: [(f"other {lead}", "guide", 1), (f"other {lead}", "demo", 5)], 12)
    moves = [(f"L{i}", "sql", 20) for i in range(6)] + [("L7", "sql", 60)]
    counted = count_next_offers(crm(takes, moves), COMPANY)
    after = counted.after("guide", None)
    assert (after.by, after.name, after.history.leads) == ("offer", "guide", 27)
    webinar, demo = after.history.offers
    assert (webinar.offer, webinar.leads, webinar.settled, webinar.converted) == ("webinar", 15, 15, 6)
    rate = wilson_interval(6, 15)
    assert (webinar.rate, webinar.low, webinar.high) == (rate.value, rate.low, rate.high)
    assert (demo.offer, demo.leads, demo.converted) == ("demo", 12, 0)
    first = counted.after(None, None)
    assert (first.by, first.history.leads, first.history.offers[0].offer) == ("no_offer", 27, "guide")


def test_offers_of_few_leads_are_not_told():
    takes = many(lambda lead: [(lead, "guide", 1), (lead, "webinar", 5)], FEWEST_TAKERS - 1)
    takes += many(lambda lead: [(f"other {lead}", "guide", 1)], 30)
    counted = count_next_offers(crm(takes, [("L0", "sql", 9)]), COMPANY)
    assert counted.after("guide", None) is None


def test_an_offer_taken_after_the_lead_was_closed_or_won_is_no_next_one():
    takes = many(lambda lead: [(lead, "guide", 1), (lead, "webinar", 50)], 20)
    moves = [(f"L{i}", "sql", 40) for i in range(20)]
    counted = count_next_offers(crm(takes, moves), COMPANY)
    assert counted.after("guide", None) is None
    assert counted.after(None, None).history.offers[0].offer == "guide"


def test_an_offer_taken_again_is_no_further_one_and_a_lead_counts_once_for_a_pair():
    takes = many(
        lambda lead: [(lead, offer, n) for n, offer in enumerate(["a", "a", "b", "b", "a", "b"], 1)], 11
    )
    counted = count_next_offers(crm(takes, [("L0", "sql", 30)]), COMPANY)
    (after_a,) = counted.after("a", None).history.offers
    (after_b,) = counted.after("b", None).history.offers
    assert (after_a.offer, after_a.leads, after_b.offer, after_b.leads) == ("b", 11, "a", 11)


def test_a_take_whose_window_is_not_over_tells_nothing_of_its_outcome():
    takes = many(lambda lead: [(lead, "guide", 1), (lead, "webinar", 380)], 20)
    takes += many(lambda lead: [(f"early {lead}", "guide", 1), (f"early {lead}", "webinar", 10)], 10)
    counted = count_next_offers(crm(takes, [("early L0", "sql", 20), ("L0", "sql", 385)]), COMPANY)
    (webinar,) = counted.after("guide", None).history.offers
    assert (webinar.leads, webinar.settled, webinar.converted) == (30, 10, 1)


def test_an_unknown_offer_is_answered_by_its_stage():
    takes = many(lambda lead: [(lead, "guide", 1, "awareness"), (lead, "demo", 5, "decision")], 12)
    counted = count_next_offers(crm(takes, [("L0", "sql", 9)]), COMPANY)
    after = counted.after("a new guide", "awareness")
    assert (after.by, after.name, after.history.offers[0].offer) == ("offer_stage", "awareness", "demo")
    assert after.history.offers[0].offer_stage == "decision"
    assert counted.after("a new guide", "consideration") is None
    assert counted.after("a new guide", None) is None


def test_the_counts_are_read_back_as_they_were():
    takes = many(lambda lead: [(lead, "guide", 1, "awareness"), (lead, "demo", 5, "decision")], 12)
    counted = count_next_offers(crm(takes, [("L0", "sql", 9)]), COMPANY)
    assert NextOffers.from_json(counted.to_json()) == counted


def test_without_offers_there_is_nothing_to_count():
    assert count_next_offers(history({"a": 0}, [("a", "sql", 3)], [("a", "visit", 1)]), COMPANY) is None
    assert count_next_offers(None, COMPANY) is None
