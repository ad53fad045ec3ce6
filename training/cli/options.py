"""The options that several commands share, and what they mean together. Imports nothing heavy."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass, fields
from functools import wraps
from importlib.metadata import version
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from features.messages import Lang as Language
from training.cli.console import usage_error
from training.config.project_settings import configured_project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.project import Project
    from training.config.settings import Config
    from training.registry.tracking import Tracking

P = ParamSpec("P")
OUT = Path("leadloop-out")
MOST_LISTED = 2_000
"""Leads of a call list: a page of more than 3 MB is slow to open, and nobody calls so many."""


def distinct_columns(names: Sequence[str] | None) -> tuple[str, ...]:
    """The names of columns in their order, each once, without the id, which is always there."""
    return tuple(name for name in dict.fromkeys(names or ()) if name != "lead_id")


def readable_path(file: Path | None) -> Path | None:
    """The callback of a file that is read; refuses one that is not there before any work is done."""
    if file is not None and not file.exists():
        msg = f"{file} does not exist"
        raise typer.BadParameter(msg)
    return file


def configuration(file: Path | None) -> Path | None:
    """The callback of the configuration; refuses one that is not there before any work is done."""
    if file is not None and not file.is_file():
        msg = f"{file} does not exist; `leadloop init FILES...` writes a draft"
        raise typer.BadParameter(msg)
    return file


def model_folder(model: str | None) -> str | None:
    """The callback of a model that is read; refuses a folder without one before any work is done."""
    if model not in {None, "champion"} and not (Path(str(model)) / "SHA256SUMS").is_file():
        msg = f"{model}: no model here (SHA256SUMS is missing); name the folder that `leadloop train` printed"
        raise typer.BadParameter(msg)
    return model


def existing_log(place: str | None) -> str | None:
    """The callback of a decision log that is read; refuses one that is not there before any work is done."""
    if place is not None and "://" not in place and not Path(place).is_file():
        msg = f"there is no decision log at {place}; name it with --log or in LEADLOOP_LOG"
        raise typer.BadParameter(msg)
    return place


def creatable_folder(folder: Path) -> Path:
    """The callback of a folder for output; refuses one that cannot be made before any work is done."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        msg = f"{place} is a file; name a folder"
        raise typer.BadParameter(msg)
    if not os.access(place, os.W_OK | os.X_OK):
        msg = f"{place} may not be written to; name another folder"
        raise typer.BadParameter(msg)
    return folder


def writable_path(file: Path | None) -> Path | None:
    """The callback of a file option; refuses a path that cannot be written before any work is done."""
    if file is not None and (why := _unwritable(file.absolute())):
        raise typer.BadParameter(why)
    return file


def writable_output(file: Path | None) -> Path | None:
    """As ``writable_path``; the folder of an earlier table of Spark may be written again."""
    return file if file is not None and (file / "_SUCCESS").is_file() else writable_path(file)


def _unwritable(file: Path) -> str:
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}; create it"
    if file.is_dir():
        return f"{file} is a folder; name a file in it"
    place = file if file.exists() else file.parent
    return "" if os.access(place, os.W_OK) else f"{place} may not be written to"


def _place(json_: str | None) -> str | None:
    if json_ not in {None, "-"}:
        writable_path(Path(str(json_)))
    return json_


Horizon = Annotated[
    int | None,
    typer.Option(help="How long a logged decision waits for its outcome.", min=1, metavar="DAYS"),
]
Leads = Annotated[
    Path | None,
    typer.Option(
        "--leads",
        help="A flat export (CSV or Parquet) with one row per lead.",
        metavar="FILE",
        callback=readable_path,
    ),
]
Id = Annotated[str | None, typer.Option("--id", help="Column with the lead's id.", metavar="COLUMN")]
Label = Annotated[str | None, typer.Option("--label", help="Column with the outcome.", metavar="COLUMN")]
Time = Annotated[
    str | None, typer.Option("--time", help="Column (date or number) that orders the rows.", metavar="COLUMN")
]
Positive = Annotated[
    str | None,
    typer.Option(
        "--positive", help="The outcome that counts as success, if that is not clear.", metavar="VALUE"
    ),
]
Negative = Annotated[
    list[str] | None,
    typer.Option(
        "--negative",
        help="An outcome that counts as failure (with --positive, repeatable); any other is open.",
        metavar="VALUE",
    ),
]
TextEncoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding of a text file, such as shift_jis.", metavar="NAME"),
]
Exclude = Annotated[
    str,
    typer.Option(
        help="Columns to leave out, separated by commas; put a name with a comma in double quotes.",
        metavar="COLUMNS",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The configuration, instead of --leads.", metavar="FILE", callback=configuration
    ),
]
HistoryConfig = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration of the history. Default: leadloop.toml.",
        metavar="FILE",
        callback=configuration,
    ),
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        help="Write the result as JSON to FILE, or to stdout with -.",
        metavar="FILE",
        callback=_place,
    ),
]
ProjectName = Annotated[
    str | None,
    typer.Option(
        "--project",
        help="The project; default: that of this folder.",
        envvar="LEADLOOP_PROJECT",
        metavar="NAME",
    ),
]
ModelName = Annotated[
    str, typer.Option("--model", help="A model folder, or champion.", metavar="DIR", callback=model_folder)
]
ServedModelName = Annotated[
    str,
    typer.Option(
        "--model", help="A model folder, a name in LEADLOOP_MODELS, or champion.", metavar="DIR|NAME"
    ),
]


def with_named_models(command: Callable[..., None], find: Callable[[str], str]) -> Callable[..., None]:
    """The command for Typer, whose ``--model`` takes the name of a model of the service, too.

    Args:
        command: The command; its ``model`` is a folder, or champion.
        find: The callback of the option, which finds the folder of a name: only the service's packages know
            the names.
    """
    own = list(signature(command, eval_str=True).parameters.values())
    help_ = "A model folder, a name in LEADLOOP_MODELS, or champion."
    option = typer.Option("--model", help=help_, metavar="DIR|NAME", callback=find)
    options = [
        each.replace(annotation=Annotated[str, option]) if each.name == "model" else each for each in own
    ]

    @wraps(command)
    def run(**values: Any) -> None:
        command(**values)

    run.__signature__ = Signature(options)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {each.name: each.annotation for each in options}
    return run


def _version(value: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if value:
        typer.echo(f"leadloop {version('leadloop')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Say which release this is.", callback=_version, is_eager=True)
]
Port = Annotated[
    int, typer.Option("--port", help="The port of the service; 0 is any free one.", min=0, max=65_535)
]
PointsFile = Annotated[
    Path | None,
    typer.Option(
        "--incumbent",
        help="Today's points table (TOML), to compare with.",
        metavar="FILE",
        callback=readable_path,
    ),
]
OutputFolder = Annotated[
    Path, typer.Option("--out", help="Folder for the results.", metavar="DIR", callback=creatable_folder)
]
HandedOver = Annotated[
    bool,
    typer.Option("--handed-over", help="With --from-log: only leads that were handed over have an outcome."),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        "--scores",
        help="Scores that `leadloop score` wrote, or use --log.",
        metavar="FILE",
        callback=readable_path,
    ),
]
Outcomes = Annotated[
    Path | None,
    typer.Option("--outcomes", help="The outcomes of the leads.", metavar="FILE", callback=readable_path),
]
Dated = Annotated[str | None, typer.Option("--time", help="Column with a date.", metavar="COLUMN")]
Log = Annotated[
    str | None,
    typer.Option(
        "--log", help="The decision log: scores and outcomes.", metavar="PLACE", callback=existing_log
    ),
]
LogConfig = Annotated[
    Path | None,
    typer.Option(
        "--config", help="leadloop.toml with the [label], for --log.", metavar="FILE", callback=configuration
    ),
]
Last = Annotated[
    int | None,
    typer.Option(
        "--last", help="Check only the scores of so many days, beside all before.", min=1, metavar="DAYS"
    ),
]
Lang = Annotated[Language, typer.Option("--lang", help="The language of the output.")]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a command reads: a flat export, as its options describe it, or what a configuration file says.

    These are the options themselves: ``with_source_options`` gives them to a command, in this order.
    """

    leads: Leads = None
    id_: Id = None
    label: Label = None
    time: Time = None
    exclude: Exclude = ""
    positive: Positive = None
    negative: Negative = None
    encoding: TextEncoding = None
    config: ConfigFile = None

    @property
    def configuration(self) -> Path | None:
        """The configuration file that is read; None where the options say it all."""
        return None if self.leads is not None else self.config or Path("leadloop.toml")

    def check(self) -> None:
        """Refuse options that contradict each other or say too little, before anything heavy is imported."""
        if self.leads is None and self.config is None and not Path("leadloop.toml").is_file():
            usage_error(
                "no data are named: name a flat export with --leads, --id and --label, "
                "or a configuration with --config (`leadloop init FILES...` drafts leadloop.toml)"
            )
        if self.leads is not None and self.config is not None:
            usage_error("--leads and --config cannot be combined; name one of them")
        if self.leads is not None and self.label is None:
            usage_error("--label is missing: name the column with the outcome")

    def to_config(self) -> Config:
        """The configuration file, or what the options of a flat export say.

        Raises:
            ConfigError: The file holds a mistake.
        """
        from training.config.settings import (  # noqa: PLC0415 - --help needs no Polars
            Config,
            FlatConfig,
            TrackingConfig,
            load_config,
        )

        if self.leads is None:
            return load_config(self.configuration or Path("leadloop.toml"))
        flat = FlatConfig(
            self.leads,
            str(self.label),
            id=self.id_,
            time=self.time,
            exclude=tuple(_names(self.exclude)),
            positive=self.positive,
            negative=tuple(self.negative or ()),
            encoding=self.encoding,
        )
        # The project and its registry are the folder's, whatever is read.
        project, uri = configured_project(Path("leadloop.toml"))
        return Config(flat=flat, project=project or None, tracking=TrackingConfig(uri))


def with_source_options(command: Callable[Concatenate[SourceOptions, P], None]) -> Callable[..., None]:
    """The command for Typer: instead of its first parameter it has the options of ``SourceOptions``.

    Args:
        command: Takes ``SourceOptions`` first, then options of its own.

    Returns:
        A function of keyword arguments whose signature lists all options, the shared ones first.
    """
    shared = get_type_hints(SourceOptions, include_extras=True)
    options = [
        Parameter(option.name, Parameter.KEYWORD_ONLY, default=option.default, annotation=shared[option.name])
        for option in fields(SourceOptions)
    ]
    _, *others = signature(command, eval_str=True).parameters.values()
    options += [option.replace(kind=Parameter.KEYWORD_ONLY) for option in others]

    @wraps(command)
    def run(**values: Any) -> None:
        source = SourceOptions(**{name: values.pop(name) for name in shared})
        command(source, **values)  # type: ignore[call-arg]  # Typer has checked them by the signature

    run.__signature__ = Signature(options)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _names(listed: str) -> list[str]:
    """Names separated by commas, as a line of a CSV file has them.

    >>> _names('Tags, "Name, first"')
    ['Tags', 'Name, first']
    """
    cells = next(csv.reader([listed], skipinitialspace=True), [])
    return [name.strip() for name in cells if name.strip()]


def default_config(config: Path | None) -> Config | None:
    """The configuration in a file, else in ``leadloop.toml`` if that is there, else None."""
    from training.config.settings import load_config  # noqa: PLC0415 - --help needs no Polars

    name = Path("leadloop.toml")
    return load_config(config or name) if config is not None or name.is_file() else None


def find_project(project: str | None, registry: str = "", *, draw: bool = True) -> Project:
    """The project of a command: ``project`` if named, else that of leadloop.toml or of this folder."""
    from models.project import resolve_project  # noqa: PLC0415 - --help needs none of it

    configured, _ = configured_project(Path("leadloop.toml"))
    return resolve_project(OUT, chosen=project or "", configured=configured, registry=registry, draw=draw)


def project_tracking(project: str | None, *, draw: bool = True) -> Tracking:
    """The registry of a command that reads no sources, and its project; without ``draw`` maybe of none."""
    from training.registry.tracking import tracking  # noqa: PLC0415 - the same

    _, uri = configured_project(Path("leadloop.toml"))
    return tracking(OUT, uri=uri, project=lambda registry: find_project(project, registry, draw=draw))
