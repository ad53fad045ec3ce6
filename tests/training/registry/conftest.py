"""Promotions of these tests are copied to a store of each test's own, never to the user's."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def bento_store(tmp_path):
    """A BentoML model store of the test's own."""
    from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: PLC0415  # slow, warns
    from bentoml._internal.models import ModelStore  # noqa: PLC0415

    folder = tmp_path / "bento"
    folder.mkdir()
    with BentoMLContainer.model_store.patch(ModelStore(str(folder))):
        yield folder
