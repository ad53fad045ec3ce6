"""From a request to a record: defaults of time, and attributes in the model's own types."""

from __future__ import annotations

import pytest

from features.number_marks import NumberMarks
from features.online import OnlineFeatures
from serving.lead_store.stored_leads import StoredLead
from serving.problems import InvalidLead
from serving.request_parsing import CLOCK_SKEW, LeadParser

DAY = 86_400


@pytest.fixture
def read(by_hand):
    return LeadParser(by_hand.features, by_hand.card.ignored)


def _visit(occurred_at, **more):
    return {"occurred_at": occurred_at, "kind": "visit"} | more


def _refusal(read, **fields):
    with pytest.raises(InvalidLead) as caught:
        read({"lead_id": "a"} | fields)
    return caught.value.error


def test_newest_is_one_second_after_the_newest_event(read):
    lead = {
        "lead_id": "a",
        "as_of": "newest",
        "touchpoints": [_visit(100), _visit(300, known_at=400), _visit(200)],
    }
    assert read(lead).as_of == 401


def test_news_of_colleagues_move_newest_too(read):
    account = {"transitions": [{"lead_id": "b", "occurred_at": 500, "stage": "sql"}]}
    lead = {"lead_id": "a", "as_of": "newest", "touchpoints": [_visit(100)], "account": account}
    assert read(lead).as_of == 501


def test_without_as_of_all_leads_of_a_request_are_scored_just_after_it_came(read):
    of_request = read.for_one_request(1000.7)
    assert [of_request({"lead_id": "a", "touchpoints": [_visit(time)]}).as_of for time in (1, 999, 1000)] == [
        1001
    ] * 3


def test_an_event_of_a_clock_that_runs_a_little_ahead_counts_and_a_planned_call_does_not(read):
    of_request = read.for_one_request(1000.7)
    ahead, planned = (
        of_request({"lead_id": "a", "touchpoints": [_visit(100), _visit(1000 + seconds)]})
        for seconds in (CLOCK_SKEW, CLOCK_SKEW + 1)
    )
    assert (ahead.as_of, ahead.known_until) == (1001 + CLOCK_SKEW, 1000 + CLOCK_SKEW)
    assert (planned.as_of, planned.known_until) == (1001, 100)


def test_a_lead_created_in_the_future_is_refused_with_the_clock_that_says_so(read):
    with pytest.raises(InvalidLead) as caught:
        read.for_one_request(1000.0)({"lead_id": "a", "created_at": 5000})
    assert "by the clock of this service" in caught.value.error.message


@pytest.mark.parametrize("as_of", ["latest", "Newest", "", 1.5, True, [], {}])
def test_another_word_for_as_of_is_refused_in_its_own_field(read, as_of):
    assert _refusal(read, as_of=as_of).field == "as_of"


def test_a_lead_is_as_old_as_its_earliest_event(read):
    history = [{"name": "Budget", "known_at": 50, "value": 1}]
    request = read({"lead_id": "a", "touchpoints": [_visit(100)], "attribute_history": history})
    assert request.record.created_at == 50


def test_a_lead_without_times_was_created_just_now(read):
    request = read.for_one_request(1000.0)({"lead_id": "a"})
    assert (request.record.created_at, request.as_of, request.known_until) == (1000, 1001, None)


def test_a_lead_whose_events_all_lie_ahead_existed_just_before_it_is_asked_about(read):
    request = read({"lead_id": "a", "as_of": 50, "touchpoints": [_visit(100)]})
    assert (request.record.created_at, request.as_of) == (49, 50)


def test_a_lead_created_after_as_of_is_refused(read):
    assert _refusal(read, created_at=100, as_of=100).field == "created_at"


def test_an_event_is_known_when_it_occurred_unless_it_says_otherwise(read):
    request = read({"lead_id": "a", "touchpoints": [_visit(1), _visit(2, known_at=9)]})
    assert [event["known_at"] for event in request.record.events["touchpoints"]] == [1, 9]


def test_attributes_are_read_as_the_types_of_the_model(read):
    attributes = {"industry": 7, "employees": " 1,234.5 ", "business_email": "yes"}
    record = read({"lead_id": "a", "attributes": attributes}).record
    assert record.attributes["industry"] == "7"
    assert record.attributes["employees"] == 1234.5
    assert record.attributes["business_email"] == 1.0


def test_an_attribute_left_out_is_missing(read):
    assert not read({"lead_id": "a"}).record.attributes


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"employees": "many"}, "attributes.employees"),
        ({"business_email": "perhaps"}, "attributes.business_email"),
        ({"Budget": "x" * 9_000}, "attributes.Budget"),
    ],
)
def test_a_value_that_is_not_of_the_type_is_refused_by_name(read, attributes, field):
    error = _refusal(read, attributes=attributes)
    assert (error.code, error.field) == ("invalid_value", field)
    assert len(error.message) <= 200


def test_a_word_for_nothing_in_the_training_data_is_one_in_a_request(by_hand):
    read = LeadParser(by_hand.features, missing=("", "Select"))
    selected, na = (
        read({"lead_id": "a", "attributes": {"industry": word}}).record for word in ("Select", "NA")
    )
    assert selected.attributes["industry"] is None
    assert na.attributes["industry"] == "NA"


def test_an_unknown_attribute_is_refused_with_the_nearest_name(read):
    error = _refusal(read, attributes={"Industry ": "x"})
    assert (error.code, error.field) == ("unknown_attribute", "attributes.Industry ")
    assert "did you mean 'industry'" in error.message


def test_a_column_that_the_model_ignores_may_be_sent(read):
    record = read({"lead_id": "a", "attributes": {"Prospect ID": "p"}}).record
    assert "Prospect ID" not in record.attributes


def test_an_account_has_attributes_of_its_own(read):
    record = read({"lead_id": "a", "account": {"attributes": {"region": "north"}}}).record
    assert record.attributes["account.region"] == "north"
    error = _refusal(read, account={"attributes": {"regio": "north"}})
    assert error.field == "account.attributes.regio"


def test_an_overwritten_attribute_sent_as_a_plain_one_was_known_since_creation(read):
    record = read({"lead_id": "a", "created_at": 7, "attributes": {"Budget": "20"}}).record
    assert record.events["attributes"] == [{"name": "Budget", "known_at": 7, "number": 20.0}]


def test_a_plain_attribute_has_no_history(read):
    error = _refusal(read, attribute_history=[{"name": "industry", "known_at": 1, "value": "x"}])
    assert error.field == "attribute_history.0.name"
    assert "send it in attributes" in error.message


def test_a_change_to_nothing_takes_the_value_back(read, by_hand):
    changes = [{"name": "Need", "known_at": 1, "value": "x"}, {"name": "Need", "known_at": 2, "value": None}]
    request = read({"lead_id": "a", "attribute_history": changes})
    assert OnlineFeatures(by_hand.features)(request.record, request.as_of)["Need"] is None


@pytest.mark.parametrize(
    ("value", "number"), [("12.5", 12.5), (3, 3.0), ("yes", 1.0), (False, 0.0), ("N/A", None)]
)
def test_an_overwritten_number_is_read_as_a_file_reads_it(read, value, number):
    request = read({"lead_id": "a", "attribute_history": [{"name": "Budget", "known_at": 1, "value": value}]})
    assert request.record.events["attributes"][0]["number"] == number


def test_an_overwritten_number_that_is_a_word_is_refused(read):
    error = _refusal(read, attribute_history=[{"name": "Budget", "known_at": 1, "value": "plenty"}])
    assert (error.field, error.message) == (
        "attribute_history.0.value",
        "'plenty' is not a number; send one such as 1234.5",
    )


def test_a_touchpoint_that_was_sent_twice_counts_once(read):
    timed, dated = _visit(5 * DAY + 60, channel="mail"), _visit(5 * DAY)
    other = timed | {"channel": "web"}
    lead = {"lead_id": "a", "touchpoints": [timed, dated, other, dict(timed), dict(dated)]}
    times = [event["occurred_at"] for event in read(lead).record.events["touchpoints"]]
    assert times == [5 * DAY + 60, 5 * DAY, 5 * DAY + 60, 5 * DAY]
    of_account = {"touchpoints": [timed | {"lead_id": "b"}, timed | {"lead_id": "c"}] * 2}
    events = read({"lead_id": "a", "account": of_account}).record.events["account_touchpoints"]
    assert sorted(event["colleague"] for event in events) == ["b", "c"]


def test_an_amount_printed_for_people_is_read_as_in_training(by_hand):
    number = next(spec for spec in by_hand.features.specs if spec.source == "leads" and spec.unit == "number")
    read_marked = LeadParser(by_hand.features, marks={number.of: NumberMarks(thousands=".")})
    lead = {"lead_id": "a", "attributes": {number.of: "1.234,50 EUR"}}
    assert read_marked(lead).record.attributes[number.of] == 1234.5
    refusal = _refusal(LeadParser(by_hand.features), attributes={number.of: "about 1 million"})
    assert (refusal.field, "send one such as" in refusal.message) == (f"attributes.{number.of}", True)


def test_what_a_stored_value_reads_as_depends_on_its_type_and_its_column_alone(read):
    def values(value):
        attributes = dict.fromkeys(("industry", "employees", "business_email"), value)
        stored = StoredLead("a", 100, None, [(100, attributes)], {}, {"attribute": ()}, {})
        return read.read_attributes(stored)[0]

    for _ in range(2):
        assert values("1") == {"industry": "1", "employees": 1.0, "business_email": 1.0}
        assert values(1) == {"industry": "1", "employees": 1.0, "business_email": 1.0}
        assert values(value=True) == {"industry": "true", "employees": 1.0, "business_email": 1.0}
        assert values("many") == {"industry": "many", "employees": None, "business_email": None}
        assert values(["1"]) == dict.fromkeys(("industry", "employees", "business_email"))
        assert values(None) == dict.fromkeys(("industry", "employees", "business_email"))
