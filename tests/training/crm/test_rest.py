"""Any REST API, and Odoo: one lead a call, no value out of its place, and a missing lead costs no other."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.crm.odoo import Odoo
from training.crm.protocol import CrmRecord, PushError, PushStopped, Response
from training.crm.push import plan, push_scores
from training.crm.rest import Rest, parse_body
from training.crm.target import CrmTarget

URL = "https://crm.example/leads/{lead_id}?notify=no"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUES = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS


@given(lead_id=TEXTS.filter(lambda text: text not in {".", ".."}), why=VALUES)
def test_whatever_a_value_holds_it_stays_in_its_place(lead_id, why):
    body = {"lead": "{lead_id}", "text": "why: {why}!", "list": [{"value": "{why}"}], "fixed": 1}
    request = Rest(URL, body=body).request([CrmRecord(lead_id, {"why": why})])
    parts = urlsplit(request.url)
    assert (parts.netloc, parts.query, parts.fragment) == ("crm.example", "notify=no", "")
    *_, folder, last = parts.path.split("/")
    assert (folder, unquote(last)) == ("leads", lead_id)
    sent = json.loads(request.body)
    assert sent == {
        "lead": lead_id,
        "text": f"why: {'' if why is None else why}!",
        "list": [{"value": why}],
        "fixed": 1,
    }


class Api:
    """Leads by address; 404 for one that is not there, 422 for a bad value."""

    def __init__(self, leads):
        self.leads, self.written = set(leads), {}

    def send(self, request):
        lead = unquote(urlsplit(request.url).path.rpartition("/")[2])
        if lead not in self.leads:
            return Response(404, {}, b'{"message": "no such lead"}')
        if lead == "bad":
            return Response(422, {}, b'{"message": "not this one"}')
        self.written[lead] = (request.method, json.loads(request.body))
        return Response(204, {}, b"")


def test_leads_that_are_not_there_are_listed_and_the_others_written(scores):
    api = Api(["a", "b", "bad", ".."])
    result = push_scores(plan(CrmTarget("rest", URL), scores(["a", "gone", "bad", "..", "b"])), api.send)
    assert set(api.written) == {"a", "b"}
    assert result.refused.keys() == {"gone", "bad", ".."}
    assert result.refused["gone"] == "no such lead"
    assert "name it in --body" in result.refused[".."]
    assert api.written["b"] == ("PATCH", {"probability": 0.28, "points": 204, "grade": "A"})


def test_a_page_of_a_login_is_no_acknowledgement(scores):
    def send(_):
        return Response(200, {"content-type": "text/html; charset=utf-8"}, b"<html>log in</html>")

    result = push_scores(plan(CrmTarget("rest", URL), scores(["a"])), send)
    assert (result.acknowledged, "is a page" in result.stopped) == (0, True)


def test_the_columns_of_a_template_are_those_that_are_sent(scores):
    body = parse_body('{"id": "{lead_id}", "score": "{points}", "note": "{grade}: {reason_1}"}', "body.json")
    target = CrmTarget("rest", "https://crm.example/hook", method="POST", body=body)
    assert set(target.fields) == {"points", "grade", "reason_1"}
    [batch, _] = plan(target, scores(["a", "b"])).batches()
    request = target.crm().request(batch)
    assert (request.method, request.url) == ("POST", "https://crm.example/hook")
    assert json.loads(request.body) == {"id": "a", "score": 200, "note": "A: +0 because"}
    with pytest.raises(PushError, match="no column 'point'"):
        plan(CrmTarget("rest", URL, body={"x": "{point}"}), scores(["a"]))


@pytest.mark.parametrize("text", ["not json", '{"fixed": 1}', '{"lead": "{lead_id}"}'])
def test_a_template_that_writes_no_score_is_refused_with_its_file(text):
    with pytest.raises(PushError, match=r"body\.json"):
        parse_body(text, "body.json")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (CrmTarget("rest"), "--url is missing"),
        (CrmTarget("rest", "https://crm.example/leads"), "names no lead"),
        (CrmTarget("rest", "http://crm.example/{lead_id}"), "https://HOST"),
        (CrmTarget("rest", URL, key="x"), "--key is for"),
        (CrmTarget("rest", URL, mapped={"a": "grade"}, body={"x": "{grade}"}), "give one of them"),
        (CrmTarget("hubspot", body={"x": "{grade}"}), "--body is for rest"),
        (CrmTarget("odoo"), "--url is missing"),
        (CrmTarget("odoo", "https://o.example", object="crm lead"), "is not the name of a field"),
        (CrmTarget("rest", URL, database="x"), "--database is for odoo"),
    ],
)
def test_a_target_says_what_it_lacks(target, message):
    with pytest.raises(PushError, match=message):
        target.crm()


class OdooStandIn:
    """As documented: POST /json/2/model/write with ids and vals, true, and errors by their names."""

    def __init__(self, leads):
        self.leads = dict.fromkeys(leads)

    def send(self, request):
        assert request.method == "POST"
        assert urlsplit(request.url).path == "/json/2/crm.lead/write"
        assert request.headers["X-Odoo-Database"] == "acme"
        order = json.loads(request.body)
        (number,) = order["ids"]
        if not isinstance(number, int):
            return Response(422, {}, b'{"name": "builtins.TypeError", "message": "ids are numbers"}')
        if number not in self.leads:
            return Response(404, {}, b'{"name": "odoo.exceptions.MissingError", "message": "deleted"}')
        self.leads[number] = order["vals"]
        return Response(200, {"content-type": "application/json"}, b"true")


def test_odoo_gets_each_lead_by_its_number(scores):
    crm = OdooStandIn([1, 2, 3])
    target = CrmTarget("odoo", "https://odoo.example", database="acme", mapped={"x_score": "points"})
    result = push_scores(plan(target, scores(["1", "2", "9", "x"])), crm.send)
    assert crm.leads == {1: {"x_score": 200}, 2: {"x_score": 201}, 3: None}
    assert result.refused == {"9": "deleted", "x": "ids are numbers"}


def test_an_address_that_is_not_odoos_stops_the_push(scores):
    def send(_):
        return Response(404, {}, b"<html>not found</html>")

    result = push_scores(plan(CrmTarget("odoo", "https://odoo.example"), scores(["1"])), send)
    assert "no such address" in result.stopped
    with pytest.raises(PushStopped):
        Odoo("https://odoo.example").answers([CrmRecord("1", {})], Response(200, {}, b"<html>"))
