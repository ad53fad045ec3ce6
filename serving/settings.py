"""The settings of the service, from command-line options or environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serving.decision_log.settings import OFF, PROJECT, LogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAMPION, CHALLENGER = "champion", "challenger"
EXPLORE, RATE, ALLOWED_HOSTS = "LEADLOOP_EXPLORE", "LEADLOOP_RATE", "LEADLOOP_ALLOWED_HOSTS"


class SettingsError(ValueError):
    """A setting that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings of the service; ``of`` reads back what ``environment`` writes.

    Attributes:
        model: A model folder, or "champion" to follow promotions.
        shadow: A model folder or "challenger", whose scores are logged and not answered. Default: none.
        keys: The file of API keys. Default: without keys, only this machine is answered.
        open_to_all: Whether requests without keys are answered from everywhere.
        rate: Requests per key (without keys, per address) and minute. Default: no limit.
        log: The decision log. Default: off here, on in ``of``.
        explore: The share of a hand-over drawn at random where a request does not say, 0 to 1.
        project: The project whose champion, keys and log these are. Default: none, and no project is checked.
        allowed_hosts: Names that the Host header may hold beside those of this machine. Default: none; then a
            service with keys, or one that is open to all, answers under any name.

    Raises:
        SettingsError: ``explore`` is not in ``[0, 1]``, or ``rate`` is below 1.
    """

    model: str = CHAMPION
    shadow: str | None = None
    keys: Path | None = None
    open_to_all: bool = False
    rate: int | None = None
    log: LogSettings = field(default_factory=lambda: LogSettings(OFF))
    explore: float = 0.0
    project: str = ""
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate < 1:
            raise SettingsError(_rate_message(str(self.rate)))
        if not 0 <= self.explore <= 1:
            msg = f"explore is a share from 0 to 1, not {self.explore}"
            raise SettingsError(msg)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ServiceSettings:
        """The settings in environment variables; an empty variable counts as not set.

        >>> ServiceSettings.of({"LEADLOOP_RATE": "600"}).rate
        600
        """
        values = {name: value for name, value in environment.items() if value}
        return cls(
            model=values.get("LEADLOOP_MODEL", CHAMPION),
            shadow=values.get("LEADLOOP_SHADOW"),
            keys=Path(values["LEADLOOP_KEYS"]) if "LEADLOOP_KEYS" in values else None,
            open_to_all=values.get("LEADLOOP_NO_KEYS") == "1",
            rate=_rate(values.get(RATE, "")),
            log=LogSettings.of(values),
            explore=_share(values.get(EXPLORE, "0")),
            project=values.get(PROJECT, ""),
            allowed_hosts=host_names(values.get(ALLOWED_HOSTS, "")),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of these settings."""
        return {
            "LEADLOOP_MODEL": _place(self.model),
            "LEADLOOP_SHADOW": _place(self.shadow or ""),
            "LEADLOOP_KEYS": str(self.keys.absolute()) if self.keys else "",
            "LEADLOOP_NO_KEYS": "1" if self.open_to_all else "",
            RATE: str(self.rate or ""),
            **self.log.environment,
            EXPLORE: str(self.explore or ""),
            PROJECT: self.project,
            ALLOWED_HOSTS: ",".join(self.allowed_hosts),
        }


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"{EXPLORE} is a share from 0 to 1, not {text[:40]!r}"
        raise SettingsError(msg) from None


def host_names(text: str) -> tuple[str, ...]:
    """The names in a list, as a Host header would be compared with them.

    >>> host_names("leads.example, LEADS.example.org")
    ('leads.example', 'leads.example.org')
    """
    return tuple(text.replace(",", " ").lower().split())


def _rate(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit()):
        raise SettingsError(_rate_message(text))
    return int(text) if text else None


def _rate_message(value: str) -> str:
    return (
        f"{RATE} is a whole number of requests a minute from 1 on, not {value[:40]!r}; leave it out for none"
    )


def _place(model: str) -> str:
    return model if model in {"", CHAMPION, CHALLENGER} else str(Path(model).absolute())


def model_store_dir() -> Path:
    """Where promotions copy their models: ``LEADLOOP_STORE``, else BentoML's store."""
    home = os.environ.get("BENTOML_HOME") or Path.home() / "bentoml"
    return Path(os.environ.get("LEADLOOP_STORE") or Path(home) / "models")
