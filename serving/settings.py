"""What a service is told when it starts: by the command line as options, by its environment as variables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serving.decision_log.settings import OFF, LogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAMPION, CHALLENGER = "champion", "challenger"
EXPLORE = "LEADLOOP_EXPLORE"


class SettingsError(ValueError):
    """A setting that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """One field an option; ``environment`` and ``of`` are each other's way back.

    ``model`` and ``shadow`` are a folder, or the name of a promotion that is followed; ``open_to_all``
    answers without keys wherever a request comes from; ``rate`` is in requests per key and minute. Who starts
    a service says whether there is to be a ``log``; an environment that says nothing has one. ``explore`` is
    the share of a hand-over that is drawn by lot where a request does not say.
    """

    model: str = CHAMPION
    shadow: str | None = None
    keys: Path | None = None
    open_to_all: bool = False
    rate: int | None = None
    log: LogSettings = field(default_factory=lambda: LogSettings(OFF))
    explore: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.explore <= 1:
            msg = f"explore is a share from 0 to 1, not {self.explore}"
            raise SettingsError(msg)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ServiceSettings:
        """The settings that an environment holds; a variable that is empty says nothing.

        >>> ServiceSettings.of({"LEADLOOP_RATE": "600"}).rate
        600
        """
        told = {name: value for name, value in environment.items() if value}
        return cls(
            model=told.get("LEADLOOP_MODEL", CHAMPION),
            shadow=told.get("LEADLOOP_SHADOW"),
            keys=Path(told["LEADLOOP_KEYS"]) if "LEADLOOP_KEYS" in told else None,
            open_to_all=told.get("LEADLOOP_NO_KEYS") == "1",
            rate=int(told["LEADLOOP_RATE"]) if "LEADLOOP_RATE" in told else None,
            log=LogSettings.of(told),
            explore=_share(told.get(EXPLORE, "0")),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The variables that say the same."""
        return {
            "LEADLOOP_MODEL": _place(self.model),
            "LEADLOOP_SHADOW": _place(self.shadow or ""),
            "LEADLOOP_KEYS": str(self.keys.absolute()) if self.keys else "",
            "LEADLOOP_NO_KEYS": "1" if self.open_to_all else "",
            "LEADLOOP_RATE": str(self.rate or ""),
            **self.log.environment,
            EXPLORE: str(self.explore or ""),
        }


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"{EXPLORE} is a share from 0 to 1, not {text[:40]!r}"
        raise SettingsError(msg) from None


def _place(model: str) -> str:
    return model if model in {"", CHAMPION, CHALLENGER} else str(Path(model).absolute())


def model_store_dir() -> Path:
    """Where promotions copy their models: ``LEADLOOP_STORE``, else BentoML's store."""
    home = os.environ.get("BENTOML_HOME") or Path.home() / "bentoml"
    return Path(os.environ.get("LEADLOOP_STORE") or Path(home) / "models")
