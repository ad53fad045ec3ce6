from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small file of text or bytes and gives its path."""

    def write_file(content: str | bytes, name: str = "leads.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture
def real() -> Callable[[str], Path]:
    """The path of one of the public data sets, which lie beside the repository on development machines."""

    def find_file(name: str) -> Path:
        path = REAL / name
        if not path.is_file():
            pytest.skip(f"{path} is not on this machine")
        return path

    return find_file
