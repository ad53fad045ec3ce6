"""A service follows promotions, and no bad model stops it."""

from __future__ import annotations

import shutil

import pytest
from prometheus_client import REGISTRY

from models import artifact
from models.active_model import set_active
from models.artifact import SUMS
from serving import model_reload
from serving.model_reload import ModelRejected, ReloadingModel, load_and_warm_up, model_source


@pytest.fixture
def place(tmp_path, model_folder, monkeypatch):
    """Promotes: another copy of the small model, under the name given, is put in charge."""
    root = tmp_path / "models" / "leadloop"
    monkeypatch.setenv("LEADLOOP_STORE", str(tmp_path / "models"))

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
def followed():
    return ReloadingModel(model_source("champion"))


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
    pinned = ReloadingModel(model_source(str(model_folder)))
    pinned.reload()
    place("first")
    pinned.reload()
    assert pinned.current.folder == model_folder


def test_a_challenger_has_a_pointer_of_its_own(place, tmp_path, model_folder):
    place("first")
    shutil.copytree(model_folder, tmp_path / "models" / "leadloop-challenger" / "other")
    set_active(tmp_path / "models" / "leadloop-challenger" / "other")
    challenger = ReloadingModel(model_source("challenger"), silent=True)
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
        def explain(self, row, lead_id, as_of, lang="en"):
            explanation = super().explain(row, lead_id, as_of, lang)
            object.__setattr__(explanation.score, "probability", float("nan"))
            return explanation

    monkeypatch.setattr(artifact, "load", lambda _: Nan())
    with pytest.raises(ModelRejected, match="no probability"):
        load_and_warm_up(model_folder)
