"""LightGBM without the packages that it looks for and that scoring does not need."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from models.plugin_part import PART as LEARNER

if TYPE_CHECKING:
    from pathlib import Path

_UNNEEDED = ("pandas", "sklearn")


def import_lightgbm_alone(folder: Path) -> None:
    """Import LightGBM for the model in a folder without pandas and scikit-learn, whose import costs seconds.

    For processes that score and do nothing else: LightGBM looks for both only once. With a plug-in's learner
    nothing is done, since it may need them.

    Args:
        folder: The folder of the model.
    """
    if (folder / LEARNER).exists():
        return
    unneeded = dict.fromkeys(name for name in _UNNEEDED if name not in sys.modules)
    sys.modules.update(unneeded)  # type: ignore[arg-type]  # None stands for a package that is not installed
    try:
        import lightgbm  # noqa: F401, PLC0415
    finally:
        for name in unneeded:
            del sys.modules[name]
