"""GET /report: the page that lies beside the model in charge, and nothing that the page could misuse."""

from __future__ import annotations

import os
from types import SimpleNamespace

import bentoml
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from models.artifact import REPORT
from serving import routes


@pytest.fixture
def get_report(monkeypatch, tmp_path):
    """Asks for the report of the model in ``tmp_path``, or of none."""

    def ask(*, loaded=True):
        current = SimpleNamespace(folder=tmp_path) if loaded else None
        service = SimpleNamespace(served=SimpleNamespace(champion=SimpleNamespace(current=current)))
        monkeypatch.setattr(bentoml, "get_current_service", lambda: service)
        return TestClient(Starlette(routes=[routes.report_route])).get("/report")

    return ask


def test_the_report_of_the_model_in_charge_is_answered(get_report, tmp_path):
    (tmp_path / REPORT).write_text("<!doctype html><p>für alle", encoding="utf-8")
    answer = get_report()
    assert answer.status_code == 200
    assert answer.text == "<!doctype html><p>für alle"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_report_can_load_nothing_and_is_nobody_on_this_origin(get_report, tmp_path):
    (tmp_path / REPORT).write_text("", encoding="utf-8")
    policy = get_report().headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "sandbox allow-scripts allow-downloads" in policy
    assert "allow-same-origin" not in policy


@pytest.mark.parametrize("loaded", [True, False])
def test_without_model_or_report_there_is_a_problem(get_report, loaded):
    answer = get_report(loaded=loaded)
    assert answer.status_code == 404
    assert answer.json()["code"] == "no_report"
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_report_that_is_a_link_or_no_file_is_not_served(get_report, tmp_path):
    (tmp_path / "secret").write_text("precious")
    report = tmp_path / "report.html"
    report.symlink_to(tmp_path / "secret")
    linked = get_report()
    report.unlink()
    os.mkfifo(report)
    piped = get_report()
    for answer in (linked, piped):
        assert (answer.status_code, answer.json()["code"]) == (404, "no_report")
        assert "precious" not in answer.text
