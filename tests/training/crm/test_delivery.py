"""Whatever a CRM answers, each record ends as acknowledged or refused, and nobody is asked too often."""

from __future__ import annotations

from collections import Counter
from email.utils import formatdate
from time import time

import pytest

from training.crm.delivery import Delivery
from training.crm.dynamics import FIELDS as DYNAMICS_FIELDS
from training.crm.protocol import CrmRecord, PushStopped, Response
from training.crm.push import plan, push_scores
from training.crm.retry import RetryPolicy, retry_after
from training.crm.target import CrmTarget

URL = "https://crm.example"


class Sleeps(list):
    """Writes down how long it was asked to sleep, and wakes at once."""

    def patience(self, **settings):
        return RetryPolicy(sleep=self.append, draw=lambda: 1.0, **settings)


@pytest.fixture
def sleeps():
    return Sleeps()


@pytest.fixture
def planned(name, scores):
    """A push of ten leads that were not pushed before."""
    return plan(CrmTarget(name, URL), scores("abcdefghij"))


def _busy(**headers):
    return (
        429,
        {name.replace("_", "-"): value for name, value in headers.items()},
        b'{"message": "slow down"}',
    )


def test_the_crm_says_how_long_to_wait(planned, crm, sleeps):
    crm.faults += [_busy(retry_after="7"), _busy(retry_after="2")]
    assert push_scores(planned, crm.send, sleeps.patience()).acknowledged == 10
    assert sleeps == [7, 2]


def test_without_a_word_of_the_crm_the_delay_doubles_up_to_a_limit(planned, crm, sleeps):
    crm.faults += [(503, {}, b""), "lost", (504, {}, b""), _busy(), (524, {}, b"")]
    assert push_scores(planned, crm.send, sleeps.patience(longest=10)).acknowledged == 10
    assert sleeps == [2, 4, 8, 10, 10]


def test_the_delay_is_drawn_so_that_callers_do_not_come_back_together():
    waited = []
    for draw in (0.0, 0.25, 0.5):
        RetryPolicy(sleep=waited.append, draw=lambda draw=draw: draw).wait(3, None, "busy")
    assert waited == [0, 2, 4]


def test_a_crm_that_stays_away_stops_the_push_and_loses_nothing(planned, crm, sleeps):
    crm.faults += ["lost"] * 3
    pushed = push_scores(planned, crm.send, sleeps.patience(attempts=3))
    assert (pushed.acknowledged, pushed.exit_code) == (0, 1)
    assert "tried 3 times" in pushed.stopped
    assert push_scores(planned, crm.send, sleeps.patience()).acknowledged == 10


def test_a_very_long_wait_is_left_to_the_next_push(planned, crm, sleeps):
    crm.faults.append(_busy(retry_after="86400"))
    assert "asks to wait longer than 15 minutes" in push_scores(planned, crm.send, sleeps.patience()).stopped
    assert sleeps == []


def test_a_moment_in_retry_after_is_a_wait_from_now():
    moment = formatdate(time() + 100, usegmt=True)
    assert 90 < retry_after(Response(429, {"retry-after": moment}, b"")) <= 100
    assert retry_after(Response(429, {"retry-after": "soon"}, b"")) is None


def test_good_records_stay_and_the_bad_are_listed_with_the_crms_reason(planned, crm, sleeps):
    crm.refuses |= {"c": "the lead is merged", "j": 'owner is "gone"'}
    pushed = push_scores(planned, crm.send, sleeps.patience())
    assert pushed.acknowledged == 8
    assert {lead: why.partition(": ")[2] for lead, why in pushed.refused.items()} == crm.refuses
    assert set(crm.leads) == set("abdefghi")
    listed = planned.refused_file.read_text()
    assert listed.startswith("lead_id,reason\nc,")
    assert '"" is' not in listed
    assert len(crm.batches) == 1
    assert pushed.exit_code == 1


@pytest.mark.parametrize("name", ["dynamics", "salesforce"], indirect=True)
def test_only_what_was_busy_is_sent_again(planned, crm, sleeps):
    crm.busy += Counter({"b": 2, "e": 1})
    assert push_scores(planned, crm.send, sleeps.patience()).acknowledged == 10
    assert crm.batches[1:] == [["b", "e"], ["b"]]


@pytest.mark.parametrize("name", ["dynamics"], indirect=True)
def test_the_wait_that_a_part_of_a_batch_asks_for_is_honoured(planned, crm, sleeps):
    crm.busy["b"] = 1
    push_scores(planned, crm.send, sleeps.patience())
    assert sleeps == [3]


class Choosy:
    """A CRM that refuses a whole batch for one bad record, as some do for a value they cannot read."""

    def __init__(self, crm, bad):
        self.crm, self.bad, self.calls = crm, bad, 0

    def send(self, request):
        self.calls += 1
        if any(f'"id": "{lead}"'.encode() in request.body for lead in self.bad):
            return Response(400, {}, b'{"message": "cannot be read"}')
        return self.crm.send(request)


@pytest.mark.parametrize("name", ["hubspot"], indirect=True)
@pytest.mark.parametrize("bad", ["a", "j", "cd", "adj"])
def test_a_batch_refused_as_a_whole_is_halved_until_the_bad_stand_alone(planned, crm, sleeps, bad):
    choosy = Choosy(crm, bad)
    pushed = push_scores(planned, choosy.send, sleeps.patience())
    assert pushed.refused == dict.fromkeys(bad, "cannot be read")
    assert set(crm.leads) == set("abcdefghij") - set(bad)
    assert choosy.calls <= 2 * len(bad) * 4 + 1


@pytest.mark.parametrize("name", ["hubspot", "salesforce"], indirect=True)
def test_fields_that_the_crm_does_not_have_stop_the_push_at_the_first_batch(name, crm, scores, sleeps):
    wrong = CrmTarget(name, URL, mapped={"Nonsense": "grade"})
    pushed = push_scores(plan(wrong, scores(str(i) for i in range(450))), crm.send, sleeps.patience())
    assert pushed.acknowledged == 0
    assert "check the fields" in pushed.stopped
    assert "Nonsense" in next(iter(pushed.refused.values()))
    assert {lead for batch in crm.batches for lead in batch} == set(pushed.refused)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (401, {}, b'{"message": "expired"}'),
            "the token is not valid .any more.: the CRM answered 401: expired",
        ),
        (
            (403, {}, b'[{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "x"}]'),
            "quota is used up.*REQUEST_LIMIT",
        ),
        ((404, {}, b""), "look at --url and --key"),
        ((302, {"location": "https://elsewhere"}, b""), "points to https://elsewhere"),
    ],
)
def test_what_no_patience_helps_against_stops_the_push_at_once(planned, crm, sleeps, answer, message):
    crm.faults.append(answer)
    with pytest.raises(PushStopped, match=message):
        list(
            Delivery(planned.crm, crm.send, sleeps.patience())(
                [CrmRecord("a", dict.fromkeys(DYNAMICS_FIELDS, 1))]
            )
        )
    assert (sleeps, crm.batches) == ([], [])


@pytest.mark.parametrize("name", ["dynamics"], indirect=True)
def test_what_a_batch_did_not_come_to_is_sent_again(planned, crm, sleeps):
    part = b"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n"
    crm.faults.append((200, {"content-type": "multipart/mixed; boundary=b"}, 3 * part + b"--b--\r\n"))
    assert push_scores(planned, crm.send, sleeps.patience()).acknowledged == 10
    assert crm.batches == [list("defghij")]
