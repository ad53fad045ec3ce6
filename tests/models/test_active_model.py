"""Which folder is in charge, told by one small file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.active_model import POINTER, PointerError, active_folders, set_active


@pytest.fixture
def folders(tmp_path):
    built = [tmp_path / name for name in ("first", "second" * 20)]
    for folder in built:
        folder.mkdir()
    return built


def test_nothing_is_in_charge_until_something_was_put_there(tmp_path):
    assert active_folders(tmp_path / "nowhere") == ()
    assert active_folders(tmp_path) == ()


def test_the_last_one_put_in_charge_is_and_the_one_before_is_remembered(folders, tmp_path):
    first, second = folders
    for folder, expected in ((first, (first,)), (second, (second, first)), (first, (first, second))):
        set_active(folder)
        assert active_folders(tmp_path) == expected
    set_active(first)
    assert active_folders(tmp_path) == (first, second)


def test_a_reader_sees_the_old_or_the_new_and_never_half_of_either(folders, tmp_path):
    set_active(folders[0])

    def read(_):
        return {active_folders(tmp_path)[0] for _ in range(500)}

    with ThreadPoolExecutor(3) as pool:
        visible = pool.map(read, range(2))
        for i in range(200):
            set_active(folders[i % 2])
    assert set().union(*visible) <= set(folders)


def test_a_failed_change_leaves_the_one_before(folders, tmp_path, monkeypatch):
    set_active(folders[0])

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        set_active(folders[1])
    assert active_folders(tmp_path) == (folders[0],)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"first\x00", b"x" * 10_000, b"", b"\n\n", b"../elsewhere", b"first\rsecond", b"a b"],
    ids=["no text", "NUL", "huge", "empty", "no names", "a way out", "a return", "words"],
)
def test_a_pointer_with_foreign_bytes_names_nothing_and_is_put_right_by_the_next(folders, tmp_path, content):
    (tmp_path / POINTER).write_bytes(content)
    with pytest.raises(PointerError, match="leadloop promote"):
        active_folders(tmp_path)
    set_active(folders[0])
    assert active_folders(tmp_path) == (folders[0],)


def test_a_pointer_that_is_a_link_a_pipe_or_a_folder_names_nothing(folders, tmp_path):
    pointer = tmp_path / POINTER
    (tmp_path / "other").write_text("first")
    for make in (lambda: pointer.symlink_to(tmp_path / "other"), lambda: os.mkfifo(pointer)):
        make()
        with pytest.raises(PointerError):
            active_folders(tmp_path)
        set_active(folders[0])
        assert active_folders(tmp_path) == (folders[0],)
        pointer.unlink()
    pointer.mkdir()
    with pytest.raises(PointerError):
        active_folders(tmp_path)
