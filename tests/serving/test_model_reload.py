"""A service follows promotions, and no bad model stops it."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from prometheus_client import REGISTRY

from models import artifact
from models.active_model import POINTER, set_active
from models.artifact import SUMS
from models.project import mark_promoted_for
from models.trial import TrialResult
from serving import model_reload, model_trials
from serving.model_reload import ModelRejected, follow_model, load_and_warm_up


@pytest.fixture
def place(tmp_path, model_folder, monkeypatch):
    """Promotes: another copy of the small model, under the name given, is put in charge."""
    root = tmp_path / "models" / "leadloop.acme"
    monkeypatch.setenv("LEADLOOP_STORE", str(tmp_path / "models"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))

    def promote(name, *, spoil=None):
        folder = root / name
        shutil.copytree(model_folder, folder)
        if spoil:
            spoil(folder)
        set_active(folder)
        return folder

    return promote


def cut(folder):
    trees = folder / "model.lgb"
    trees.write_bytes(trees.read_bytes()[:200])


def emptied(folder):
    for file in folder.iterdir():
        file.unlink()


def of_tomorrow(folder):
    """Whole by its checksums, of a format that this release does not read."""
    (folder / "format.json").write_text('{"format": 99}')
    lines = [
        f"{artifact._digest((folder / name).read_bytes())}  {name}"
        for line in (folder / SUMS).read_text().splitlines()
        for name in [line.partition("  ")[2]]
    ]
    (folder / SUMS).write_text("\n".join(lines) + "\n")


@pytest.fixture
def tried(monkeypatch):
    """The folders that were tried, at no cost; those with ``abort`` in their name fail."""
    folders = []

    def attempt(folder):
        folders.append(folder.name)
        return TrialResult("", f"{folder}: it aborts" if "abort" in folder.name else "")

    monkeypatch.setattr(model_trials.ModelTrials, "__init__", _with(attempt))
    return folders


def _with(attempt):
    plain = model_trials.ModelTrials.__init__

    def init(self, parent, spare, run=None):
        plain(self, parent, spare, run, attempt)

    return init


@pytest.fixture
def followed(tried):  # noqa: ARG001
    return follow_model("champion", "acme")


def test_a_promotion_is_taken_over_at_the_next_look(place, followed):
    first = place("first")
    followed.reload()
    assert followed.current.folder == first
    before = followed.current
    followed.reload()
    assert followed.current is before
    second = place("second")
    followed.reload()
    assert followed.current.folder == second


def test_who_holds_the_model_before_goes_on_with_it(place, followed):
    place("first")
    followed.reload()
    held = followed.current.scorer
    results = held.score([{"lead_id": "a"}])
    place("second")
    followed.reload()
    assert followed.current.scorer is not held
    assert held.score([{"lead_id": "a"}]) == results


@pytest.mark.parametrize("spoil", [cut, emptied, of_tomorrow, shutil.rmtree])
def test_a_model_that_cannot_be_used_is_refused_and_the_old_one_stays(place, followed, spoil):
    place("first")
    followed.reload()
    good = followed.current
    refusals = REGISTRY.get_sample_value("leadloop_model_refused_total")
    bad = place("second", spoil=spoil)
    for _ in range(3):
        followed.reload()
    assert followed.current is good
    assert followed.refused.folder == bad
    assert str(bad) in followed.refused.reason
    # Refused once, not at every look.
    assert REGISTRY.get_sample_value("leadloop_model_refused_total") == refusals + 1


def test_the_next_good_promotion_is_picked_up_after_a_bad_one(place, followed):
    place("first")
    place("second", spoil=cut)
    followed.reload()
    third = place("third")
    followed.reload()
    assert (followed.current.folder, followed.refused) == (third, None)


def test_going_back_to_the_model_that_answers_ends_the_refusal(place, followed):
    first = place("first")
    followed.reload()
    place("second", spoil=cut)
    followed.reload()
    set_active(first)
    followed.reload()
    assert (followed.current.folder, followed.refused) == (first, None)


def test_a_refused_model_is_tried_again_when_its_folder_was_mended(place, followed, model_folder):
    place("first")
    bad = place("second", spoil=cut)
    followed.reload()
    assert followed.current.folder != bad
    shutil.copytree(model_folder, bad, dirs_exist_ok=True)
    followed.reload()
    assert (followed.current.folder, followed.refused) == (bad, None)


def test_a_worker_that_starts_on_a_bad_model_takes_the_one_before_and_says_so(place, followed):
    first = place("first")
    bad = place("second", spoil=cut)
    followed.reload()
    assert (followed.current.folder, followed.refused.folder) == (first, bad)


def test_without_any_model_nothing_answers_until_there_is_one(place, followed, monkeypatch):
    monkeypatch.setattr(model_reload, "_packed", lambda _: ())
    followed.reload()
    assert followed.current is None
    folder = place("first")
    followed.reload()
    assert followed.current.folder == folder


def test_a_folder_that_was_named_stays(place, model_folder):
    pinned = follow_model(str(model_folder))
    pinned.reload()
    place("first")
    pinned.reload()
    assert pinned.current.folder == model_folder


@pytest.mark.usefixtures("tried")
def test_a_challenger_has_a_pointer_of_its_own(place, tmp_path, model_folder):
    place("first")
    shutil.copytree(model_folder, tmp_path / "models" / "leadloop.acme.challenger" / "other")
    set_active(tmp_path / "models" / "leadloop.acme.challenger" / "other")
    challenger = follow_model("challenger", "acme", silent=True)
    challenger.reload()
    assert challenger.current.folder.name == "other"


def test_a_model_that_loads_and_cannot_answer_is_refused(model_folder, monkeypatch):
    def fail(*_):
        msg = "ada@example.org"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr("serving.scorer.Scorer.explain", fail)
    with pytest.raises(ModelRejected, match=r"cannot answer .ZeroDivisionError"):
        load_and_warm_up(model_folder)


def test_a_model_that_gives_no_probability_is_refused(model_folder, by_hand, monkeypatch):
    class Nan(type(by_hand)):
        def explain(self, row, lead_id, as_of, lang="en", **_):
            explanation = super().explain(row, lead_id, as_of, lang)
            object.__setattr__(explanation.score, "probability", float("nan"))
            return explanation

    monkeypatch.setattr(artifact, "load", lambda _: Nan())
    with pytest.raises(ModelRejected, match="no probability"):
        load_and_warm_up(model_folder)


def another(folder, **changes):
    """The model in a folder with another card, and so of another version."""
    model = artifact.load(folder)
    card = dataclasses.replace(model.card, **changes)
    return artifact.save(dataclasses.replace(model, card=card), folder).version


def test_one_worker_tries_a_model_and_the_others_and_a_restart_know_the_result(place, followed, tried):
    first = place("first")
    followed.reload()
    again = follow_model("champion", "acme")
    again.reload()
    assert (again.current.folder, tried) == (first, ["first"])


def test_a_model_that_failed_its_trial_is_not_tried_again_by_a_restart(place, followed, tried):
    first = place("first")
    followed.reload()
    bad = place("abort", spoil=lambda folder: another(folder, recipe="other"))
    followed.reload()
    assert (followed.current.folder, followed.refused.folder) == (first, bad)
    assert str(bad) in followed.refused.reason
    restarted = follow_model("champion", "acme")
    restarted.reload()
    assert (restarted.current.folder, restarted.refused.folder) == (first, bad)
    assert tried == ["first", "abort"]


def test_a_restart_after_several_bad_promotions_begins_with_the_last_good_one(place, followed, tried):
    place("older", spoil=lambda folder: another(folder, recipe="older"))
    followed.reload()
    good = place("good")
    followed.reload()
    for number in range(3):
        place(f"abort-{number}", spoil=lambda folder, number=number: another(folder, recipe=str(number)))
        followed.reload()
    restarted = follow_model("champion", "acme")
    restarted.reload()
    assert restarted.current.folder == good
    assert len(tried) == 5


def test_results_go_to_the_services_own_folder_where_the_store_is_read_only(
    place, followed, tried, tmp_path, monkeypatch
):
    place("first")
    monkeypatch.setattr("serving.model_trials.os.access", lambda *_: False)
    followed.reload()
    follow_model("champion", "acme").reload()
    assert tried == ["first"]
    assert list((tmp_path / "home" / "trials" / "leadloop.acme").glob(".trial-*.json"))
    assert not list((tmp_path / "models" / "leadloop.acme").glob(".trial-*"))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"first\x00", b"x" * 100_000, b""])
def test_a_pointer_with_foreign_bytes_is_a_refusal_and_a_restart_takes_the_last_good_model(
    place, followed, caplog, content
):
    first = place("first")
    followed.reload()
    (first.parent / POINTER).write_bytes(content)
    for _ in range(3):
        followed.reload()
    assert followed.current.folder == first
    assert POINTER in followed.refused.reason
    assert caplog.text.count("model refused") == 1
    restarted = follow_model("champion", "acme")
    restarted.reload()
    assert (restarted.current.folder, restarted.refused.folder.name) == (first, POINTER)
    second = place("second")
    restarted.reload()
    assert (restarted.current.folder, restarted.refused) == (second, None)


def test_a_link_in_place_of_a_promoted_folder_is_refused(place, followed, model_folder):
    first = place("first")
    followed.reload()
    link = first.with_name("link")
    link.symlink_to(model_folder)
    set_active(link)
    followed.reload()
    assert followed.current.folder == first
    assert "a link" in followed.refused.reason


def test_a_model_of_another_project_is_refused_even_at_the_start(place, followed):
    bad = place("foreign", spoil=lambda folder: another(folder, project="globex"))
    followed.reload()
    assert followed.current is None
    assert "project globex" in followed.refused.reason
    mark_promoted_for(bad, "acme")
    followed.reload()
    assert followed.current.folder == bad


def test_a_model_of_another_question_is_refused_until_the_service_starts_again(place, followed):
    first = place("first")
    followed.reload()
    second = place("second", spoil=lambda folder: another(folder, label="opportunity within 30 days"))
    followed.reload()
    assert followed.current.folder == first
    assert "predicts 'opportunity within 30 days'" in followed.refused.reason
    assert "restart it to take the new model" in followed.refused.reason
    restarted = follow_model("champion", "acme")
    restarted.reload()
    assert (restarted.current.folder, restarted.refused) == (second, None)


def test_a_model_that_would_refuse_the_crms_requests_is_refused(place, followed, monkeypatch):
    first = place("first")
    followed.reload()
    monkeypatch.setattr(model_reload, "contract_breaches", lambda *_: "the attribute 'x' is not accepted")
    second = place("second", spoil=lambda folder: another(folder, recipe="other"))
    followed.reload()
    assert followed.current.folder == first
    assert "the attribute 'x' is not accepted" in followed.refused.reason
    restarted = follow_model("champion", "acme")
    restarted.reload()
    assert restarted.current.folder == second


def test_a_worker_that_starts_again_answers_as_the_others_do(place, followed, tmp_path, monkeypatch):
    monkeypatch.setenv("LEADLOOP_ENDING", str(tmp_path / "ending"))
    worker = follow_model("champion", "acme")
    first = place("first")
    worker.reload()
    place("second", spoil=lambda folder: another(folder, label="opportunity within 30 days"))
    worker.reload()
    replaced = follow_model("champion", "acme")
    replaced.reload()
    assert replaced.current.folder == worker.current.folder == first
    assert "restart" in replaced.refused.reason
    # Another run of the service is a restart.
    followed.reload()
    assert followed.current.folder.name == "second"
