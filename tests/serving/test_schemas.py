"""The contract: what a request may say, and how each thing it may not say is named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from serving.problems import invalid_lead, invalid_request
from serving.schemas import MAX_EVENTS, MAX_NAME, MAX_TEXT, ExplainRequest, Lead, ScoreRequest, parse_time


def _refusal(**fields):
    with pytest.raises(ValidationError) as caught:
        Lead.model_validate({"lead_id": "a"} | fields)
    return invalid_lead(caught.value).error


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:01.999Z", 1),
        ("19700102T00Z", 86_400),
        (86_400, 86_400),
        (-1, -1),
    ],
)
def test_a_time_is_iso_text_with_an_offset_or_epoch_seconds(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-05-01T10:00:00", "no offset"),
        ("2026-05-01", "no offset"),
        ("yesterday", "not an ISO 8601 time"),
        ("9" * 1_000_000, "not an ISO 8601 time"),
        (1_777_000_000_000, "milliseconds"),
        (1.5, "whole seconds"),
        (True, "whole seconds"),
        (None, "whole seconds"),
        ("0001-01-01T00:00:00+14:00", "1900 and 2200"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31 stand for none"),
        ("1900-01-01T00:00:00Z", "1900-01-01 and"),
        (-2_208_988_800, "1900-01-01 and"),
        ("0000-00-00T00:00:00Z", "no date, leave the field out"),
        (10**400, "1900 and 2200"),
    ],
)
def test_any_other_time_is_refused_with_a_reason(text, says):
    with pytest.raises(ValueError, match=says):
        parse_time(text)


def test_a_misspelt_field_is_named_with_the_right_one():
    error = _refusal(touchpoint=[])
    assert (error.code, error.field) == ("unknown_field", "touchpoint")
    assert "did you mean 'touchpoints'" in error.message


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"touchpoints": [{"occured_at": 1}]}, "occurred_at"),
        ({"transitions": [{"stag": 1}]}, "stage"),
        ({"attribute_history": [{"valu": 1}]}, "value"),
        ({"account": {"attribute": {}}}, "attributes"),
        ({"account": {"touchpoints": [{"chanel": "ads"}]}}, "channel"),
    ],
)
def test_the_hint_knows_where_it_is(fields, hint):
    error = _refusal(**fields)
    assert error.code == "unknown_field"
    assert f"did you mean {hint!r}" in error.message


def test_a_missing_field_is_named_by_its_path():
    error = _refusal(touchpoints=[{"occurred_at": 1, "kind": "a"}, {"kind": "visit"}])
    assert (error.code, error.field) == ("missing_field", "touchpoints.1.occurred_at")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"lead_id": 12}, "lead_id"),
        ({"lead_id": ""}, "lead_id"),
        ({"lead_id": "x" * (MAX_NAME + 1)}, "lead_id"),
        ({"attributes": {"a": float("nan")}}, "attributes.a"),
        ({"attributes": {"a": float("inf")}}, "attributes.a"),
        ({"attributes": {"a": 10**400}}, "attributes.a"),
        ({"attributes": {"a": [[1]]}}, "attributes.a"),
        ({"attributes": {"a": ["x"] * 1_001}}, "attributes.a"),
        ({"attributes": {"a": "x" * (MAX_TEXT + 1)}}, "attributes.a"),
        ({"attributes": {"": 1}}, "attributes."),
        ({"attributes": []}, "attributes"),
        ({"touchpoints": [{"occurred_at": 1, "kind": "a", "amount": 1.5}]}, "touchpoints.0.amount"),
        ({"touchpoints": [{"occurred_at": 1, "kind": "a", "amount": 10**20}]}, "touchpoints.0.amount"),
        ({"touchpoints": [{"occurred_at": 1, "kind": "a", "seconds": -1}]}, "touchpoints.0.seconds"),
        ({"touchpoints": [{"occurred_at": 1, "kind": "a", "channel": 3}]}, "touchpoints.0.channel"),
        ({"touchpoints": [{"occurred_at": 1, "kind": "a"}] * (MAX_EVENTS + 1)}, "touchpoints"),
        (
            {"account": {"touchpoints": [{"occurred_at": "1", "kind": "a", "lead_id": "b"}]}},
            "account.touchpoints.0.occurred_at",
        ),
        ({"created_at": "2026-05-01"}, "created_at"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_named_by_its_path(fields, field):
    error = _refusal(**fields)
    assert (error.code, error.field) == ("invalid_value", field)
    assert len(error.message) < 200


@pytest.mark.parametrize(("sent", "read"), [("", None), ("NA", None), (" ads ", "ads"), (None, None)])
def test_words_are_read_as_they_are_from_a_file(sent, read):
    lead = Lead.model_validate(
        {"lead_id": "a", "touchpoints": [{"occurred_at": 1, "kind": " visit", "channel": sent}]}
    )
    assert lead.touchpoints[0] == {"occurred_at": 1, "kind": "visit", "channel": read}


def test_the_envelope_lets_bad_leads_through_to_fail_alone():
    request = ScoreRequest.model_validate_json('{"leads": [NaN, {"lead_id": 1}, [[]]]}')
    assert len(request.leads) == 3


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"leads": ' + "[" * 100_000, "invalid_json", None),
        ('{"leads": [{"lead_id": "\\ud800"}]}', "invalid_json", None),
        ("[]", "invalid_value", None),
        ("{}", "missing_field", "leads"),
        ('{"leads": []}', "invalid_value", "leads"),
        ('{"leads": {}}', "invalid_value", "leads"),
        ('{"leads": [1], "lead": 1}', "unknown_field", "lead"),
        ('{"leads": [1], "lang": "fr"}', "invalid_value", "lang"),
        ('{"leads": [1], "top": 0}', "invalid_value", "top"),
    ],
)
def test_a_request_that_makes_no_sense_as_a_whole_is_one_problem(body, code, field):
    with pytest.raises(ValidationError) as caught:
        ExplainRequest.model_validate_json(body)
    problem = invalid_request(caught.value)
    assert (problem.status, problem.code, problem.field) == (400, code, field)


def test_the_examples_of_the_api_page_are_valid():
    for request in (ScoreRequest, ExplainRequest):
        example = request.model_config["json_schema_extra"]["example"]
        for lead in request.model_validate(example).leads:
            Lead.model_validate(lead)
