"""What a CRM is sent is what its vendor documents, whatever the leads are called."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.crm.dynamics import Dynamics
from training.crm.hubspot import HubSpot
from training.crm.protocol import (
    Accepted,
    CrmRecord,
    PushError,
    PushStopped,
    Rejected,
    Response,
    reason_in,
    validate_base_url,
)
from training.crm.push import plan, push_scores
from training.crm.salesforce import Salesforce
from training.crm.target import CrmTarget, parse_field_mapping

URL = "https://crm.example"
HOSTILE = [
    "0012",
    "O'Neill",
    "a/b",
    "x\ny",
    "x\r\n\r\nDELETE /",
    "%27",
    "')",
    "ü ß 名",
    "--batch_1--",
    'q"',
    "a\\b",
    " ",
    ".",
    "..",
]
RECORD = CrmRecord("00aa", {"msdyn_score": 95, "msdyn_scoretrend": "improving", "msdyn_grade": "A"})


def _pushed(name, crm, file, **more):
    target = CrmTarget(name, URL, **more)
    return push_scores(plan(target, file), crm.send)


def test_every_lead_arrives_as_documented(name, crm, scores):
    pushed = _pushed(name, crm, scores(str(i) for i in range(450)))
    assert (pushed.acknowledged, pushed.refused, pushed.stopped) == (450, {}, None)
    assert set(crm.leads) == {str(i) for i in range(450)}


def test_the_values_are_those_of_the_file(name, crm, scores):
    _pushed(name, crm, scores(["a", "b", "c"]))
    assert (
        crm.leads["c"]
        == {
            "dynamics": {"msdyn_score": 14, "msdyn_scoretrend": 3, "msdyn_grade": 2},
            "hubspot": {"leadloop_probability": "0.14", "leadloop_points": "202", "leadloop_grade": "C"},
            "salesforce": {
                "Leadloop_Probability__c": 0.14,
                "Leadloop_Points__c": 202,
                "Leadloop_Grade__c": "C",
            },
        }[name]
    )


@pytest.mark.parametrize("file", ["scores.csv", "scores.parquet"])
def test_no_id_breaks_out_of_its_place(name, crm, scores, file):
    pushed = _pushed(name, crm, scores(HOSTILE, file))
    assert pushed.acknowledged == len(HOSTILE)
    assert set(crm.leads) == set(HOSTILE)


@given(lead_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_the_key_of_a_score_is_the_id_whatever_is_in_it(lead_id):
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415

    request = Dynamics(URL).request([CrmRecord(lead_id, RECORD.fields)])
    line = next(line for line in request.body.decode().split("\r\n") if line.startswith("PATCH "))
    _, url, _ = line.split(" ")
    *_, segment = urlsplit(url).path.split("/")
    literal = unquote(segment).removeprefix("msdyn_predictivescores(msdyn_entityid=")
    inside = literal.removesuffix(",msdyn_entitytype='lead')")
    assert inside == "'" + lead_id.replace("'", "''") + "'"


def test_dynamics_gets_the_codes_of_the_documented_example():
    body = Dynamics(URL).request([RECORD]).body.decode()
    assert "(msdyn_entityid=%2700aa%27,msdyn_entitytype=%27lead%27)" in body
    sent = next(line for line in body.split("\r\n") if line.startswith("{"))
    assert json.loads(sent) == {"msdyn_score": 95, "msdyn_scoretrend": 0, "msdyn_grade": 0}


def test_dynamics_answers_that_it_documents_are_understood():
    # Shortened from the page on batch operations: line ends are bare, as they are printed there.
    body = (
        "--batchresponse_f44b\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
        "HTTP/1.1 400 Bad Request\nREQ_ID: de4c\nContent-Type: application/json; odata.metadata=minimal\n\n"
        '{"error":{"code":"0x80044331","message":"A validation error occurred."}}\n'
        "--batchresponse_f44b\nContent-Type: application/http\nContent-Transfer-Encoding: binary\n\n"
        "HTTP/1.1 204 No Content\nOData-Version: 4.0\nLocation: x\n\n\n--batchresponse_f44b--\n"
    )
    headers = {"content-type": "multipart/mixed; boundary=batchresponse_f44b"}
    answers = Dynamics(URL).answers([RECORD, RECORD], Response(200, headers, body.encode()))
    assert answers == [Rejected("0x80044331: A validation error occurred."), Accepted()]


def test_fields_are_mapped_as_asked(scores):
    from_columns = parse_field_mapping(["why=reason_1", "leadloop_grade=grade"])
    planned = plan(CrmTarget("hubspot", URL, mapped=from_columns), scores(["a"]))
    [batch] = planned.batches()
    assert batch == [CrmRecord("a", {"why": "+0 because", "leadloop_grade": "A"})]


def test_a_key_finds_leads_by_our_ids():
    records = [CrmRecord("a", {"F": 1})]
    assert json.loads(HubSpot(URL, "our_id").request(records).body)["inputs"][0]["idProperty"] == "our_id"
    upsert = Salesforce(URL, "Key__c").request(records)
    assert upsert.url.endswith("/composite/sobjects/Lead/Key__c")
    assert json.loads(upsert.body)["records"] == [{"attributes": {"type": "Lead"}, "Key__c": "a", "F": 1}]


def test_hubspot_must_name_a_contact_before_it_counts():
    payload = {
        "results": [{"id": "1"}],
        "errors": [{"category": "OBJECT_NOT_FOUND", "message": "gone", "context": {"ids": ["2"]}}],
    }
    records = [CrmRecord(str(i), {}) for i in (1, 2, 3)]
    answers = HubSpot().answers(records, Response(207, {}, json.dumps(payload).encode()))
    assert answers[:2] == [Accepted(), Rejected("OBJECT_NOT_FOUND: gone")]
    assert isinstance(answers[2], Rejected)


def test_an_id_of_hubspots_own_is_not_taken_for_a_key_of_ours():
    payload = json.dumps({"results": [{"id": "2", "objectWriteTraceId": "0"}], "errors": []}).encode()
    records = [CrmRecord("1", {}), CrmRecord("2", {})]
    acknowledged, unheard = HubSpot(key="our_id").answers(records, Response(207, {}, payload))
    assert (type(acknowledged), type(unheard)) == (Accepted, Rejected)


def test_salesforce_must_answer_for_every_record():
    with pytest.raises(PushStopped, match="2 records"):
        Salesforce(URL).answers([RECORD, RECORD], Response(200, {}, b'[{"success": true}]'))


@pytest.mark.parametrize("crm", [Dynamics(URL), HubSpot(), Salesforce(URL)])
def test_a_page_of_a_login_is_no_acknowledgement(crm):
    with pytest.raises(PushStopped, match="--url"):
        crm.answers([RECORD], Response(207, {"content-type": "text/html"}, b"<html>Sign in</html>"))


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example",
        "crm.example",
        "https://",
        "https://me:pw@crm.example",
        "https://crm.example/?a=b",
        "file:///x",
    ],
)
def test_a_token_goes_only_to_a_plain_https_address(url):
    with pytest.raises(PushError, match="https://HOST"):
        validate_base_url(url)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (CrmTarget("dynamics"), "--url is missing"),
        (CrmTarget("salesforce"), "--url is missing"),
        (CrmTarget("dynamics", URL, key="x"), "--key is for"),
        (CrmTarget("salesforce", URL, key="a/../b"), "not the name of a field"),
    ],
)
def test_a_target_says_what_it_lacks(target, message):
    with pytest.raises(PushError, match=message):
        target.crm()


@pytest.mark.parametrize("pair", ["Score__c", "Score__c=", "a-b=score", "=score"])
def test_a_map_without_two_sides_is_refused(pair):
    with pytest.raises(PushError):
        parse_field_mapping([pair])


def test_an_error_that_is_not_json_is_told_as_it_is():
    assert reason_in(b"Bad Gateway") == "Bad Gateway"
    assert reason_in(b"") == "no reason given"
    assert reason_in(b'{"odd": 1}') == '{"odd": 1}'
