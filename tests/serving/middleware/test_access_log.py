"""What is written down of a request, what is not, and what goes along with its answer."""

from __future__ import annotations

import io
import json
import logging

import numpy as np
import polars as pl
import pytest
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from models import artifact
from models.drift import ReferenceDistribution, psi
from models.model_card import SCORE
from serving.monitoring import metrics, score_drift
from serving.monitoring.json_logging import JsonFormatter, configure_json_logging
from serving.service import Leadloop

SECRET = "ada@example.org"  # noqa: S105  # a person, not a password


@pytest.fixture(scope="module")
def client(by_hand):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "by-hand")
        patch.setenv("LEADLOOP_LOG", "off")
        patch.setattr(artifact, "load", lambda _: by_hand)
        with TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)) as client:
            yield client


@pytest.fixture
def lines(caplog):
    """What the service logged meanwhile, as it would be written."""

    def read():
        return [
            json.loads(JsonFormatter().format(record))
            for record in caplog.records
            if record.name == "leadloop"
        ]

    with caplog.at_level(logging.INFO, "leadloop"):
        yield read


def test_every_line_is_json_and_said_once(monkeypatch):
    out, ours, everybody = io.StringIO(), logging.getLogger("leadloop"), logging.getLogger()
    theirs = logging.getLogger("uvicorn.error")
    # As BentoML sets them up.
    monkeypatch.setattr(everybody, "handlers", [logging.StreamHandler(out)])
    monkeypatch.setattr(theirs, "handlers", [logging.StreamHandler(out)])
    monkeypatch.setattr(theirs, "propagate", True)
    monkeypatch.setattr(ours, "handlers", [])
    configure_json_logging()
    ours.info("request", extra={"fields": {"status": 200}})
    theirs.error("two\nlines \x1b[31m")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["message"], first["status"]) == ("request", 200)
    assert (second["message"], second["logger"]) == ("two\nlines \x1b[31m", "uvicorn.error")
    assert "\x1b" not in out.getvalue()


TRACE = "0af7651916cd43dd8448eb211c80319c"


def count(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0


def test_a_request_is_one_line_that_says_who_what_and_how_long(client, lines, lead, by_hand):
    answer = client.post("/v1/score", json={"leads": [lead]}, headers={"x-request-id": TRACE})
    (line,) = lines()
    assert answer.headers["x-request-id"] == TRACE
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "message": "request",
        "request_id": TRACE,
        "method": "POST",
        "endpoint": "/v1/score",
        "status": 200,
        "leads": 1,
        "model": by_hand.version,
    }


@pytest.mark.parametrize(
    "sent",
    ["", "a" * 65, "a" * 15, "two words", 'quote"', "ünï", "a;b", "crm-17", "ada@example.com", "4711", None],
)
def test_an_id_that_could_forge_a_line_or_name_a_person_is_replaced(client, lines, sent):
    headers = {} if sent is None else {"x-request-id": sent.encode()}
    request_id = client.get("/v1/model", headers=headers).headers["x-request-id"]
    assert request_id != sent
    assert len(request_id) == 32
    assert lines()[0]["request_id"] == request_id


@pytest.mark.parametrize("sent", [TRACE, TRACE[:16], "9F1B2C3D-0000-4A4B-8C8D-0123456789ab"])
def test_an_id_of_a_trace_stays(client, lines, sent):
    assert client.get("/v1/model", headers={"x-request-id": sent}).headers["x-request-id"] == sent
    assert lines()[0]["request_id"] == sent


@pytest.mark.parametrize("lead_id", ["0012", TRACE, "9f1b2c3d-0000-4a4b-8c8d-0123456789ab"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_id_of_a_lead_that_is_sent_as_that_of_the_request_is_in_no_line(client, lines, lead_id, method):
    end = "/decisions" if method == "GET" else ""
    client.request(method, f"/v1/leads/{lead_id}{end}", headers={"x-request-id": lead_id})
    assert lead_id not in json.dumps(lines())


def test_a_message_with_a_line_break_stays_on_its_line():
    record = logging.LogRecord("leadloop", logging.INFO, "", 1, 'one\n{"level": "critical"}', (), None)
    assert "\n" not in JsonFormatter().format(record)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/score", {"leads": [{"lead_id": SECRET}]}),
        ("/v1/score", {"leads": [{"lead_id": "a", "attributes": {"employees": SECRET, SECRET: 1}}]}),
        ("/v1/score", {SECRET: SECRET}),
        ("/v1/explain", {"leads": [{"lead_id": SECRET}], "lang": SECRET}),
        (f"/v1/leads/{SECRET}/decisions", {}),
        (f"/v1/leads/{SECRET}", {}),
        (f"/{SECRET}", {}),
    ],
)
def test_nothing_of_a_person_reaches_log_or_metrics(client, caplog, lines, path, body):
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.WARNING, "httpx"):
        client.post(path, json=body)
        client.get(path)
    assert SECRET not in caplog.text
    assert SECRET not in json.dumps(lines())
    assert SECRET not in client.get("/metrics").text


def test_a_failure_is_logged_by_type_and_place_and_not_by_what_it_says(client, lines, lead, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(SECRET)

    monkeypatch.setattr("serving.scorer.Scorer.score", fail)
    client.post("/v1/score", json={"leads": [lead]}, headers={"x-request-id": TRACE})
    failed, request = lines()
    assert (failed["error"], failed["request_id"], request["status"]) == ("RuntimeError", TRACE, 500)
    assert any("fail" in place for place in failed["at"])
    assert SECRET not in json.dumps(failed)


def test_probes_that_are_answered_leave_no_line(client, lines):
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        client.get(path)
    assert lines() == []


@pytest.mark.parametrize(
    "path", ["/", "/docs.json", "/v1/model", "/v1/nothing", "/livez", "/metrics", "/nothing"]
)
def test_every_answer_is_safe_in_a_browser_and_tells_nothing_of_the_server(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    assert "default-src 'none'" in headers["content-security-policy"] or path == "/"


def test_answers_about_leads_are_kept_by_nobody(client, lead):
    for answer in (client.post("/v1/score", json={"leads": [lead]}), client.get("/v1/model")):
        assert answer.headers["cache-control"] == "no-store"


def test_refusals_are_counted_by_code_and_lead_refusals_apart(client, lead):
    before = count("leadloop_refused_total", code="missing_field")
    leads_before = count("leadloop_leads_refused_total", code="unknown_attribute")
    client.post("/v1/score", json={})
    client.post("/v1/score", json={"leads": [lead, {"lead_id": "b", "attributes": {"Budgett": 1}}]})
    assert count("leadloop_refused_total", code="missing_field") == before + 1
    assert count("leadloop_leads_refused_total", code="unknown_attribute") == leads_before + 1


def test_scores_are_counted_by_grade_and_time_by_stage(client, lead):
    (scored,) = client.post("/v1/score", json={"leads": [lead]}).json()["results"]
    before = count("leadloop_scores_total", grade=scored["grade"])
    stages = {
        stage: count("leadloop_stage_seconds_count", endpoint="/v1/score", stage=stage)
        for stage in ("read", "score")
    }
    client.post("/v1/score", json={"leads": [lead] * 3})
    assert count("leadloop_scores_total", grade=scored["grade"]) == before + 3
    for stage, counted in stages.items():
        assert count("leadloop_stage_seconds_count", endpoint="/v1/score", stage=stage) == counted + 1


class Said:
    """A score as far as counting needs one."""

    def __init__(self, log_odds):
        self.probability = float(1 / (1 + np.exp(-log_odds)))
        self.grade = "A"


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_drift_that_is_told_is_the_index_of_all_scores(by_hand, shift):
    random = np.random.default_rng(3)
    reference, served = random.normal(-2, 1, 2_000), random.normal(-2 + shift, 1, 1_000)
    profile = ReferenceDistribution.of(pl.Series(reference))
    model = type(by_hand)(version=f"drift{shift}")
    object.__setattr__(
        model, "card", type(by_hand.card)(**{**vars(by_hand.card), "profiles": {SCORE: profile}})
    )
    assert score_drift.score_drift(model, REGISTRY) is None
    for i in range(0, 1_000, 100):
        metrics.count_results(model, [Said(value) for value in served[i : i + 100]])
    # By numpy's histogram, independent of how the service counts: (edge before, edge], as searchsorted left.
    edges = np.array([-np.inf, *profile.edges, np.inf])
    shares = [np.histogram(-values, -edges[::-1])[0][::-1] / len(values) for values in (reference, served)]
    drift = score_drift.score_drift(model, REGISTRY)
    assert drift.psi == pytest.approx(psi(*shares), abs=2e-3)
    assert (drift.psi > drift.chance) is (shift > 0)
    assert (
        f'leadloop_score_drift_psi{{version="drift{shift}"}}'
        in score_drift.prometheus_exposition(model).decode()
    )


def test_scores_that_are_all_one_edge_have_not_drifted(by_hand):
    reference = pl.Series([-2.302585092994046] * 500)
    model = type(by_hand)(version="constant")
    profiles = {SCORE: ReferenceDistribution.of(reference)}
    object.__setattr__(model, "card", type(by_hand.card)(**{**vars(by_hand.card), "profiles": profiles}))
    metrics.count_results(model, [Said(reference[0])] * 400)
    assert score_drift.score_drift(model, REGISTRY).psi == pytest.approx(0, abs=1e-6)


def test_each_kind_of_page_has_its_own_policy_through_all_layers(client):
    """The report runs its own script in a sandbox, the console its own files, and data nothing at all."""
    policies = {
        path: client.get(path).headers["content-security-policy"]
        for path in (
            "/report",
            "/console/report",
            "/console/model",
            "/console/static/console.css",
            "/v1/model",
        )
    }
    assert policies["/report"] == policies["/console/report"]
    assert "sandbox allow-scripts" in policies["/report"]
    assert policies["/console/model"] == policies["/console/static/console.css"]
    assert "unsafe-inline" not in policies["/console/model"]
    assert policies["/v1/model"] == "default-src 'none'; frame-ancestors 'none'"
