"""A push that is interrupted, refused or half heard, and goes on: no lead is lost, none is told twice."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_entries import log_decisions, make_decision
from typer.testing import CliRunner

from leadloop import app
from models.uncertainty import InsufficientEvidence
from serving.decision_log.database import open_log
from training.crm.http_client import TOKEN as TOKEN_NAME
from training.crm.http_client import http_session, token_from_environment
from training.crm.protocol import PushError
from training.crm.push import plan, push_scores
from training.crm.retry import RetryPolicy
from training.crm.target import CrmTarget

URL = "https://crm.example"
AT_ONCE = RetryPolicy(attempts=3, sleep=lambda _: None)
FAULTS = [None, "lost", "unheard", (429, {}, b"{}"), (503, {}, b""), (401, {}, b"{}"), KeyboardInterrupt()]


def _journaled(planned):
    _, *lines = planned.journal_file.read_text().splitlines()
    return [lead for line in lines for lead in json.loads(line)["acknowledged"]]


@settings(max_examples=60)
@given(data=st.data(), count=st.integers(1, 30), limit=st.integers(1, 7))
def test_whatever_fails_when_each_lead_is_acknowledged_once(stand_ins, rows, data, count, limit):
    crm = stand_ins[data.draw(st.sampled_from(sorted(stand_ins)))]()
    ids = [f"lead {i}" for i in range(count)]
    crm.refuses = dict.fromkeys(data.draw(st.sets(st.sampled_from(ids))), "no")
    crm.busy = Counter(
        {} if crm.name == "hubspot" else data.draw(st.dictionaries(st.sampled_from(ids), st.just(1)))
    )
    good = set(ids) - set(crm.refuses)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scores.csv"
        rows(ids).write_csv(file)
        whole = plan(CrmTarget(crm.name, URL), file)
        planned = replace(whole, crm=replace(whole.crm, limit=limit))

        def send(request):
            crm.batches.clear()
            told_before = set(_journaled(planned))
            try:
                return crm.send(request)
            finally:
                assert told_before.isdisjoint(chain(*crm.batches))

        for faults in [
            *data.draw(st.lists(st.lists(st.sampled_from(FAULTS), max_size=5), max_size=4)),
            [],
            [],
        ]:
            crm.faults = deque(faults)
            with suppress(KeyboardInterrupt):
                pushed = push_scores(planned, send, AT_ONCE)
        assert Counter(_journaled(planned)) == Counter(good)
        assert set(crm.leads) == good
        assert pushed.before + pushed.acknowledged == len(good)
        assert planned.refused_file.exists() == bool(pushed.refused)


def test_a_server_that_dies_in_the_middle_costs_nothing(name, crm, scores, over_http):
    ids = [str(i) for i in range(450)]
    planned = plan(CrmTarget(name, over_http(crm)), scores(ids))
    crm.faults += [None, "unheard", "lost", None, (502, {}, b"<html>"), "slow"]
    with http_session(crm.token, timeouts=(5, 1)) as send:
        pushed = push_scores(planned, send, AT_ONCE)
    assert (pushed.acknowledged, pushed.stopped) == (450, None)
    assert set(crm.leads) == set(ids)
    assert Counter(_journaled(planned)) == Counter(ids)


def test_after_an_interruption_only_the_rest_is_sent(name, crm, scores):
    planned = plan(CrmTarget(name, URL), scores(str(i) for i in range(450)))
    crm.faults += [None, KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        push_scores(planned, crm.send, AT_ONCE)
    acknowledged = set(_journaled(planned))
    assert acknowledged == set(crm.batches[0])
    del crm.batches[:]
    pushed = push_scores(planned, crm.send, AT_ONCE)
    assert (pushed.before, pushed.acknowledged) == (len(acknowledged), 450 - len(acknowledged))
    assert acknowledged.isdisjoint(chain(*crm.batches))


@pytest.mark.parametrize("leads", [3, 450])
def test_what_was_torn_off_the_end_of_a_journal_does_not_count(name, crm, scores, leads):
    planned = plan(CrmTarget(name, URL), scores(str(i) for i in range(leads)))
    push_scores(planned, crm.send)
    content = planned.journal_file.read_bytes()
    planned.journal_file.write_bytes(content[:-4])
    assert push_scores(planned, crm.send).acknowledged == len(crm.batches[-1])
    assert planned.journal_file.read_bytes() == content


def test_a_second_push_has_nothing_to_do(name, crm, scores):
    planned = plan(CrmTarget(name, URL), scores("abc"))
    push_scores(planned, crm.send)
    pushed = push_scores(planned, crm.send)
    assert (pushed.before, pushed.acknowledged, pushed.exit_code, len(crm.batches)) == (3, 0, 0, 1)
    assert "leads to send: 0" in next(planned.in_words())


@pytest.mark.parametrize("changed", ["scores", "fields", "url", "earlier"])
def test_another_push_starts_anew(scores, stand_ins, changed):
    crm, file = stand_ins["hubspot"](), scores("abc")
    push_scores(plan(CrmTarget("hubspot", URL), file), crm.send)
    if changed == "scores":
        scores("abcd")
    target = CrmTarget(
        "hubspot",
        f"{URL}:444" if changed == "url" else URL,
        mapped={"why": "grade"} if changed == "fields" else {},
    )
    earlier = scores("abc", "earlier.csv") if changed == "earlier" else None
    pushed = push_scores(
        plan(target, file, earlier),
        lambda request: crm.send(replace(request, url=request.url.replace(":444", ""))),
    )
    assert (pushed.before, pushed.acknowledged) == (0, 4 if changed == "scores" else 3)


def test_two_pushes_of_the_same_scores_do_not_run_at_once(name, crm, scores):
    planned = plan(CrmTarget(name, URL), scores("abc"))
    with planned.journal_file.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(PushError, match="another push"):
            push_scores(planned, crm.send)
    assert crm.batches == []


def test_a_damaged_journal_is_not_guessed_at(name, crm, scores):
    planned = plan(CrmTarget(name, URL), scores("abc"))
    push_scores(planned, crm.send)
    planned.journal_file.write_bytes(planned.journal_file.read_bytes() + b"{x\n")
    with pytest.raises(PushError, match="damaged"):
        push_scores(planned, crm.send)


def test_refused_leads_are_tried_again_and_leave_no_list_when_taken(name, crm, scores):
    planned = plan(CrmTarget(name, URL), scores("abc"))
    crm.refuses["b"] = "no"
    assert set(push_scores(planned, crm.send).refused) == {"b"}
    assert planned.refused_file.read_text().splitlines()[1].startswith("b,")
    crm.refuses.clear()
    assert push_scores(planned, crm.send).exit_code == 0
    assert not planned.refused_file.exists()
    assert crm.batches[-1] == ["b"]


def _command(*words):
    return CliRunner().invoke(app, ["push", *map(str, words)])


def test_the_command_sends_nothing_until_it_is_told_to(name, crm, scores, over_http, monkeypatch):
    monkeypatch.setenv(TOKEN_NAME, f"{crm.token}\n")
    words = [name, "--scores", scores("abcd"), "--url", over_http(crm), "--json", "-"]
    dry = _command(*words)
    assert (dry.exit_code, crm.requests) == (0, [])
    result = json.loads(dry.stdout)
    assert (result["leads"], result["requests"]) == (4, 1)
    assert [record["lead_id"] for record in result["first"]] == ["a", "b", "c"]
    assert "the CRM must have them, or name others with --map" in dry.stderr
    assert "nothing was sent; to send, add --go" in dry.stderr
    crm.refuses["d"] = "no"
    sent = _command(*words, "--go")
    assert sent.exit_code == 1
    assert json.loads(sent.stdout)["acknowledged"] == 3
    crm.refuses.clear()
    assert _command(*words, "--go").exit_code == 0
    assert set(crm.leads) == set("abcd")


def test_what_would_be_sent_is_shown_as_it_is_sent(crm, name, scores):
    planned = plan(CrmTarget(name, URL), scores("ab"))
    _, call, body, *_ = planned.in_words()
    push_scores(planned, crm.send)
    [(method, path, _, sent)] = crm.requests
    assert call == f"{method} {URL}{path}, the first 2 of them:"
    if name != "dynamics":
        assert body.encode() == sent


def test_the_token_is_in_no_output(name, crm, scores, over_http, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(TOKEN_NAME, crm.token)
    url = over_http(crm)
    crm.faults += [(401, {}, b'{"message": "expired"}')]
    result = _command(name, "--scores", scores("ab"), "--url", url, "--go", "--json", "-")
    assert "the token is not valid" in result.stderr
    files = "".join(path.read_text() for path in Path(scores("ab")).parent.iterdir())
    assert crm.token not in result.output + caplog.text + files


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "\u00fc"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(monkeypatch, token):
    monkeypatch.setenv(TOKEN_NAME, token)
    with pytest.raises(PushError, match=TOKEN_NAME) as refused:
        token_from_environment()
    assert not token.strip() or token not in str(refused.value)


def test_a_redirect_does_not_get_the_token(scores, stand_ins, over_http):
    crm, elsewhere = stand_ins["hubspot"](), stand_ins["hubspot"]()
    crm.faults.append((307, {"Location": over_http(elsewhere)}, b""))
    with http_session(crm.token) as send:
        pushed = push_scores(plan(CrmTarget("hubspot", over_http(crm)), scores("a")), send)
    assert "is --url right?" in pushed.stopped
    assert elsewhere.requests == []


def test_a_line_that_is_not_safe_is_not_used(scores, stand_ins, over_http):
    crm = stand_ins["hubspot"]()
    url = over_http(crm).replace("http://", "https://")
    with http_session(crm.token) as send:
        pushed = push_scores(plan(CrmTarget("hubspot", url), scores("a")), send, AT_ONCE)
    assert "certificate is not valid" in pushed.stopped
    assert crm.requests == []


def test_the_netrc_of_the_user_does_not_replace_the_token(
    tmp_path, scores, stand_ins, over_http, monkeypatch
):
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    crm = stand_ins["hubspot"]()
    with http_session(crm.token) as send:
        assert push_scores(plan(CrmTarget("hubspot", over_http(crm)), scores("a")), send).acknowledged == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hubspot"], indirect=True)
def test_a_push_that_is_killed_goes_on_where_it_was(name, crm, scores, over_http):
    file = scores(str(i) for i in range(450))
    command = [sys.executable, "-m", "leadloop", "push", name, "--scores", str(file), "--url", over_http(crm)]
    environment = os.environ | {TOKEN_NAME: crm.token}
    with subprocess.Popen([*command, "--go"], env=environment, stderr=subprocess.PIPE) as process:
        crm.faults += [None, None, process.kill]
    assert process.returncode == -signal.SIGKILL
    acknowledged = {lead for batch in crm.batches[:2] for lead in batch}
    del crm.batches[:]
    result = subprocess.run([*command, "--go"], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "250 acknowledged, 200 before, 0 refused" in result.stderr
    assert acknowledged.isdisjoint(chain(*crm.batches))
    assert set(crm.leads) == {str(i) for i in range(450)}


def test_the_command_makes_missing_fields_only_with_go_and_then_sends(
    scores, over_http, monkeypatch, stand_ins
):
    """From the first look to the first score: fields first, then the leads."""

    class WithProperties(stand_ins["hubspot"]):
        made: tuple = ()

        def handle(self, method, path, headers, body):
            if not path.startswith("/crm/properties/"):
                assert self.made
                return super().handle(method, path, headers, body)
            if method == "GET":
                results = [{"name": "leadloop"}] if path.endswith("/groups") else []
                return 200, {}, json.dumps({"results": results}).encode()
            self.made = tuple(each["name"] for each in json.loads(body)["inputs"])
            return 201, {}, b"{}"

    crm = WithProperties()
    url = over_http(crm)
    monkeypatch.setenv(TOKEN_NAME, crm.token)
    command = ["push", "hubspot", "--scores", str(scores(["a", "b"])), "--url", url, "--create-fields"]
    looked = CliRunner().invoke(app, command)
    assert looked.exit_code == 0
    assert "fields that --go would make at the CRM: leadloop_probability (number)" in looked.stderr
    assert (crm.made, crm.leads) == ((), {})
    sent = CliRunner().invoke(app, [*command, "--go"])
    assert (sent.exit_code, set(crm.leads)) == (0, {"a", "b"}), sent.stderr
    assert crm.made == ("leadloop_probability", "leadloop_points", "leadloop_grade")


def test_salesforce_gets_its_fields_and_no_score_before_an_administrator_gives_access(
    scores, over_http, monkeypatch, stand_ins
):
    """The fields are made once, the push stops with what is to be done, and the next one sends."""

    class WithSetup(stand_ins["salesforce"]):
        made: tuple = ()
        may_edit = False

        def handle(self, method, path, headers, body):
            if path.endswith("/describe"):
                fields = [{"name": name, "updateable": True} for name in self.made if self.may_edit]
                return 200, {}, json.dumps({"fields": fields}).encode()
            if "/tooling/query?" in path:
                records = [
                    {"DeveloperName": name.removesuffix("__c"), "NamespacePrefix": None} for name in self.made
                ]
                return 200, {}, json.dumps({"records": records}).encode()
            if path.endswith("/tooling/sobjects/CustomField"):
                self.made += (json.loads(body)["FullName"].removeprefix("Lead."),)
                return 201, {}, b'{"success": true}'
            return super().handle(method, path, headers, body)

    crm = WithSetup()
    monkeypatch.setenv(TOKEN_NAME, crm.token)
    command = ["push", "salesforce", "--scores", str(scores(["a", "b"])), "--url", over_http(crm)]
    for _ in range(2):
        stopped = CliRunner().invoke(app, [*command, "--create-fields", "--go"])
        assert stopped.exit_code != 0, stopped.stderr
        assert "permission set" in str(stopped.exception)
        assert (len(crm.made), crm.leads) == (3, {})
    crm.may_edit = True
    sent = CliRunner().invoke(app, [*command, "--create-fields", "--go"])
    assert (sent.exit_code, set(crm.leads)) == (0, {"a", "b"}), sent.stderr


@pytest.fixture
def decision_log(tmp_path, monkeypatch):
    """A log in which the default model and one called renewal answered."""
    monkeypatch.chdir(tmp_path)
    log = open_log("decisions.db")
    log_decisions(log, make_decision("ada", probability=0.25, points=100))
    log_decisions(log, make_decision("ada", probability=0.75, points=300))
    few = InsufficientEvidence("too_few_outcomes", None, "Too few conversions.")
    log_decisions(log, make_decision("bob", insufficient=few))
    log_decisions(log, make_decision("cem", probability=0.5), model="renewal")
    log.dispose()
    return "decisions.db"


def test_a_push_reads_the_newest_decisions_of_a_log_itself(decision_log):
    pushed = _command("hubspot", "--from-log", decision_log, "--json", "-")
    assert (pushed.exit_code, "1 decisions" in pushed.stderr) == (0, True), pushed.stderr
    [first] = json.loads(pushed.stdout)["first"]
    assert (first["lead_id"], first["leadloop_points"]) == ("ada", 300)


def test_a_further_model_is_pushed_to_fields_of_its_own_only(decision_log):
    words = ["hubspot", "--from-log", decision_log, "--model", "renewal", "--json", "-"]
    refused = _command(*words)
    assert (refused.exit_code, "--map renewal_probability=probability" in refused.stderr) == (2, True)
    pushed = _command(*words, "--map", "renewal_probability=probability")
    assert json.loads(pushed.stdout)["first"] == [{"lead_id": "cem", "renewal_probability": 0.5}]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "--scores, or a decision log with --from-log"),
        (("--scores", "scores.csv", "--from-log", "decisions.db"), "--scores, or a decision log"),
        (("--scores", "scores.csv", "--model", "renewal"), "--model goes with --from-log"),
        (("--from-log", "nowhere.db"), "nowhere.db"),
    ],
)
@pytest.mark.usefixtures("decision_log")
def test_a_push_has_one_source_of_scores(words, why):
    Path("scores.csv").write_text("lead_id,probability,points,grade\nada,.5,1,A\n")
    refused = _command("hubspot", *words)
    assert (refused.exit_code, why in refused.stderr) == (2, True)
