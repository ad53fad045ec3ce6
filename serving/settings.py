"""The settings of the service, from command-line options or environment variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.project import ProjectError, bentoml_store, check_project_name, read_project, store_entries
from serving.decision_log.settings import OFF, PROJECT, LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHAMPION, CHALLENGER = "champion", "challenger"
OUT = Path("leadloop-out")
EXPLORE, RATE, ALLOWED_HOSTS = "LEADLOOP_EXPLORE", "LEADLOOP_RATE", "LEADLOOP_ALLOWED_HOSTS"
MODELS = "LEADLOOP_MODELS"
# The name of the model that answers where a request names none.
DEFAULT_MODEL = "default"
_MODEL_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_WITH_SHADOW = ":shadow"
HANDOVER, WEBHOOKS = "LEADLOOP_HANDOVER", "LEADLOOP_WEBHOOKS"
CONTROL, RESCORE, CONSOLE = "LEADLOOP_CONTROL", "LEADLOOP_RESCORE", "LEADLOOP_CONSOLE"


def logged_name(model: str) -> str:
    """The name of a model as the log and the service have it, in which the default one has none.

    >>> logged_name("default"), logged_name("renewal")
    ('', 'renewal')
    """
    return "" if model == DEFAULT_MODEL else model


class SettingsError(ValueError):
    """A setting that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A further model of a service, which requests ask for by its name.

    Attributes:
        name: 1 to 40 lower-case letters, digits and hyphens.
        model: "champion" to follow the promotions of ``project``, or a model folder that stays.
        project: The project whose champion it is; "" of a folder.
        shadow: "challenger" where the project's challenger scores along; None where nobody does.

    Raises:
        SettingsError: The name cannot be one.
    """

    name: str
    model: str = CHAMPION
    project: str = ""
    shadow: str | None = None

    def __post_init__(self) -> None:
        if not _MODEL_NAME.fullmatch(self.name) or self.name == DEFAULT_MODEL:
            msg = (
                f"{self.name[:40]!r} cannot name a model; take 1 to 40 lower-case letters, digits and "
                f"hyphens, a letter first, and another word than {DEFAULT_MODEL}"
            )
            raise SettingsError(msg)

    @classmethod
    def of(cls, text: str) -> NamedModel:
        """The model of ``NAME=PROJECT``, ``NAME=PROJECT:shadow`` or ``NAME=FOLDER``; a folder has a slash.

        >>> NamedModel.of("renewal=acme-renewals:shadow")
        NamedModel(name='renewal', model='champion', project='acme-renewals', shadow='challenger')
        """
        name, equals, place = text.partition("=")
        if not equals or not place:
            msg = (
                f"{text[:60]!r} names no further model; write NAME=PROJECT to follow a project's champion, "
                "or NAME=FOLDER with a slash in it"
            )
            raise SettingsError(msg)
        if "/" in place:
            return cls(name, place)
        project, shadow = place.removesuffix(_WITH_SHADOW), place.endswith(_WITH_SHADOW)
        try:
            return cls(name, project=check_project_name(project), shadow=CHALLENGER if shadow else None)
        except ProjectError as error:
            raise SettingsError(str(error)) from error

    @property
    def text(self) -> str:
        """The model as ``of`` reads it."""
        place = f"{self.project}{_WITH_SHADOW if self.shadow else ''}" if self.project else _place(self.model)
        return f"{self.name}={place}"


def named_models(texts: Iterable[str]) -> tuple[NamedModel, ...]:
    """The further models of a service, as ``NamedModel.of`` reads each.

    Raises:
        SettingsError: One cannot be read, or two have the same name.
    """
    models = tuple(map(NamedModel.of, texts))
    names = [model.name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"two models are called {twice[0]!r}; give each a name of its own"
        raise SettingsError(msg)
    return models


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
        control: The share of leads that no hand-over ever has, to measure what calls do. Default: none.
        handover: The file that says who takes which leads. Default: none.
        also: Further models, which requests ask for by name. Default: none.
        console: Whether there are pages for people at /console, where what renders them is installed.
        rescore: Whether leads of the store are scored in the background. Default: they are, where there is a
            decision log.
        webhooks: The file of webhooks. Default: none, and nobody is told of anything.

    Raises:
        SettingsError: ``explore`` or ``control`` is not in ``[0, 1]``, ``rate`` is below 1, or ``project`` is
            no name.
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
    control: float = 0.0
    handover: Path | None = None
    also: tuple[NamedModel, ...] = ()
    console: bool = True
    rescore: bool = True
    webhooks: Path | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate < 1:
            raise SettingsError(_rate_message(str(self.rate)))
        for name in ("explore", "control"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                msg = f"{name} is a share from 0 to 1, not {share}"
                raise SettingsError(msg)
        if self.project:
            try:
                check_project_name(self.project)
            except ProjectError as error:
                raise SettingsError(str(error)) from error

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
            explore=_share(EXPLORE, values.get(EXPLORE, "0")),
            project=values.get(PROJECT, ""),
            allowed_hosts=host_names(values.get(ALLOWED_HOSTS, "")),
            control=_share(CONTROL, values.get(CONTROL, "0")),
            handover=Path(values[HANDOVER]) if HANDOVER in values else None,
            also=named_models(values.get(MODELS, "").replace(",", " ").split()),
            console=_flag(CONSOLE, values.get(CONSOLE, "on")),
            rescore=_flag(RESCORE, values.get(RESCORE, "on")),
            webhooks=Path(values[WEBHOOKS]) if WEBHOOKS in values else None,
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
            CONTROL: str(self.control or ""),
            RESCORE: "" if self.rescore else OFF,
            PROJECT: self.project,
            ALLOWED_HOSTS: ",".join(self.allowed_hosts),
            HANDOVER: str(self.handover.absolute()) if self.handover else "",
            MODELS: " ".join(model.text for model in self.also),
            CONSOLE: "" if self.console else OFF,
            WEBHOOKS: str(self.webhooks.absolute()) if self.webhooks else "",
        }


def with_project(settings: ServiceSettings, folder: Path = OUT) -> ServiceSettings:
    """The settings with the project whose promotions are followed, where none is named.

    Args:
        settings: The settings; a project that they name stays.
        folder: The output of the project's commands, which holds the project's name.

    Returns:
        The settings. Without a project only where no promotions are followed.

    Raises:
        SettingsError: Nothing names a project, and the model store has those of none or of several.
    """
    if settings.project or not {settings.model, settings.shadow} & {CHAMPION, CHALLENGER}:
        return settings
    return replace(settings, project=read_project(folder) or _only_project())


def _only_project() -> str:
    store = model_store_dir()
    entries = store_entries(store)
    projects = sorted({entry.project for entry in entries if entry.project and not entry.challenger})
    if len(projects) == 1:
        return projects[0]
    there = f"the model store {store} has models of {', '.join(projects) or 'no project'}"
    legacy = any(entry.project is None for entry in entries)
    hint = "; `leadloop models adopt` takes over the one of an earlier release" if legacy else ""
    msg = f"no project is named whose champion to follow, and {there}: name the project in {PROJECT}{hint}"
    raise SettingsError(msg)


def _share(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"{name} is a share from 0 to 1, not {text[:40]!r}"
        raise SettingsError(msg) from None


def _flag(name: str, text: str) -> bool:
    if text.lower() not in _SWITCHES:
        msg = f"{name} is on or off, not {text[:40]!r}"
        raise SettingsError(msg)
    return _SWITCHES[text.lower()]


_SWITCHES = {"on": True, "1": True, "true": True, OFF: False, "0": False, "false": False}


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


def service_home() -> Path:
    """A folder that the service may write to: BentoML's home, which `leadloop serve` makes for each run."""
    return Path(os.environ.get("BENTOML_HOME") or bentoml_store().parent)


def model_store_dir() -> Path:
    """Where promotions copy their models: ``LEADLOOP_STORE``, else BentoML's store."""
    return Path(os.environ.get("LEADLOOP_STORE") or bentoml_store())
