"""The API page as a CRM's developer uses it: what is copied from it works, and it says what can go wrong."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from models import artifact
from serving.openapi import example_lead
from serving.schemas import ExplainRequest
from serving.scorer import Scorer
from serving.service import Leadloop


@pytest.fixture(scope="module")
def client(by_hand):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "by-hand")
        patch.setattr(artifact, "load", lambda _: by_hand)
        with TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)) as client:
            yield client


@pytest.fixture(scope="module")
def page(client):
    return client.get("/docs.json").json()


def operations(page):
    return [
        (path, method, operation)
        for path, item in page["paths"].items()
        for method, operation in item.items()
    ]


def body(operation):
    content = operation["requestBody"]["content"]["application/json"]
    return content.get("example") or content["schema"]["example"]


def test_an_example_is_scored_as_it_is_and_names_every_attribute(model, flat_model):
    for each in (model, flat_model):
        (scored,) = Scorer(each).score([example_lead(each)])
        assert scored.probability
    lead = example_lead(model)
    assert lead["attributes"].keys() == {"industry", "employees", "business_email"}
    assert {change["name"] for change in lead["attribute_history"]} == {"Budget", "Need"}
    assert lead["account"]["attributes"].keys() == {"region"}
    assert set(example_lead(flat_model)) == {"lead_id", "attributes", "account"}


def test_what_the_contract_shows_can_be_scored_by_any_model(model, flat_model):
    leads = ExplainRequest.model_config["json_schema_extra"]["example"]["leads"]
    for each in (model, flat_model):
        assert all(scored.probability for scored in Scorer(each).score(leads))


@pytest.mark.parametrize("path", ["/v1/score", "/v1/explain"])
def test_what_is_copied_from_the_page_is_answered_as_the_page_shows(client, page, path):
    operation = page["paths"][path]["post"]
    answer = client.post(path, json=body(operation))
    assert answer.status_code == 200
    assert all("error" not in result for result in answer.json()["results"])
    assert answer.json() == operation["responses"]["200"]["content"]["application/json"]["example"]


def test_every_operation_says_what_it_is_for_and_how_it_refuses(page):
    for path, _, operation in operations(page):
        assert operation["summary"]
        if path.startswith("/v1/"):
            assert {"401", "403", "429"} <= operation["responses"].keys()
    names = [operation["operationId"] for _, _, operation in operations(page) if "operationId" in operation]
    assert len(set(names)) == len(names)


def test_no_description_is_about_python(page):
    """Docstrings have sections for who writes Python; a CRM's developer reads sentences."""
    described = {name: it.get("description", "") for name, it in page["components"]["schemas"].items()}
    assert [name for name, text in described.items() if "Attributes:" in text or "Args:" in text] == []
    published = {"Scored", "Explained", "Failed", "Change", "Earlier", "Evidence", "Insufficient", "Shift"}
    assert published <= described.keys()


def test_each_refusal_is_shown_as_what_it_is(page):
    refusals = [
        (status, problem["example"])
        for _, _, operation in operations(page)
        for status, response in operation["responses"].items()
        for problem in [response.get("content", {}).get("application/problem+json")]
        if problem
    ]
    assert refusals
    assert all(example["status"] == int(status) for status, example in refusals)


def test_every_address_on_the_page_is_there(client, page):
    for path, method, _ in operations(page):
        response = client.request(method, path.replace("{lead_id}", "1"), json={})
        assert response.status_code == 404 if path == "/report" else response.status_code not in {404, 405}


def test_the_model_is_introduced_feature_by_feature_and_with_a_lead_to_start_from(client, by_hand):
    page = client.get("/v1/model").json()
    assert [feature["name"] for feature in page["features"]] == list(by_hand.features.names)
    assert page["features"][0] == {
        "name": "industry",
        "family": "fit",
        "unit": "category",
        "en": "Industry: {value}",
        "de": "Branche: {value}",
    }
    (scored,) = client.post("/v1/score", json={"leads": [page["example"]]}).json()["results"]
    assert scored["probability"]


def test_no_address_is_longer_than_a_server_reads(page):
    """What a parameter may be, each character four bytes in percent signs, is less than the 64 KiB of h11."""
    for path, method, operation in operations(page):
        longest = 0
        for parameter in operation.get("parameters", ()):
            if parameter["in"] in {"path", "query"}:
                schemas = parameter["schema"].get("anyOf", [parameter["schema"]])
                texts = [schema for schema in schemas if schema.get("type") == "string"]
                longest += max(
                    (12 * schema["maxLength"] for schema in texts if "enum" not in schema), default=40
                )
        assert longest < 60_000, (path, method, longest)
