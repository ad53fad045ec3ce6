"""A tracking store that costs nothing to start from, and a model folder that stands for any other."""

from __future__ import annotations

import hashlib
import shutil
from types import SimpleNamespace

import pytest

from models import artifact
from training.registry import overview, registry
from training.registry.tracking import Tracking, mlflow_client


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An SQLite store with its tables made: that takes seconds, so tests copy this one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with mlflow_client(Tracking(f"sqlite:///{path}")) as client:
        client.search_experiments()
    return path


@pytest.fixture
def tracked(empty_store, tmp_path, monkeypatch):
    """A tracking store of the test's own, and a BentoML store beside it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    files = (tmp_path / "mlflow-files").as_uri()
    return Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", files, project="acme")


@pytest.fixture
def make_folder(tmp_path):
    """Makes model folders: files with checksums, whose content spells their version."""

    def make(name, content="trees"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.lgb").write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        (folder / artifact.SUMS).write_text(f"{digest}  model.lgb\n")
        return folder

    return make


@pytest.fixture
def loadable(monkeypatch):
    """Lets those folders be loaded: checksums are verified as always, the content means nothing."""

    def load(folder):
        artifact._verify_checksums(folder)
        return SimpleNamespace(version=version_of(folder))

    def read_card(folder):
        card = folder / "card"
        return load(folder).version, SimpleNamespace(
            project=card.read_text() if card.is_file() else "", label="sql", created_at="2026-01-01T00:00:00"
        )

    monkeypatch.setattr(artifact, "load", load)
    monkeypatch.setattr(artifact, "read_card", read_card)
    monkeypatch.setattr(overview, "read_card", read_card)
    monkeypatch.setattr(registry, "require_trial", load)


def version_of(folder):
    return hashlib.sha256((folder / artifact.SUMS).read_bytes()).hexdigest()[:12]
