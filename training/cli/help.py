"""What all commands share: -q and -v, options in panels, and examples below the help."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from training.cli.console import output_level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and results only.")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help="Print times, log messages and tracebacks.")]
_SHARED = [
    Parameter("quiet_", Parameter.KEYWORD_ONLY, default=False, annotation=_QUIET),
    Parameter("verbose_", Parameter.KEYWORD_ONLY, default=False, annotation=_VERBOSE),
]
_GET_STARTED, _EVERY_DAY, _LOOP, _OPERATE = "Get started", "Score and hand over", "Close the loop", "Operate"
_DATA, _MODEL, _OUTPUT = "Data", "Model", "Output"
# Panels of options by the names of their parameters; all others are in "Options".
_PANELS = {
    **dict.fromkeys(
        (
            *(
                "leads",
                "features",
                "id_",
                "label",
                "time",
                "exclude",
                "positive",
                "negative",
                "encoding",
                "config",
            ),
            *(
                "holdout",
                "from_log",
                "training_set",
                "handed_over",
                "scores",
                "outcomes",
                "log",
                "tenant",
                "horizon",
            ),
        ),
        _DATA,
    ),
    **dict.fromkeys(("model", "project", "shadow", "also"), _MODEL),
    **dict.fromkeys(("out", "json_", "html", "lang", "contributions", "relevel"), _OUTPUT),
}


@dataclass(frozen=True)
class CommandHelp:
    """What the help of a command shows beside its options: its panel in the list, and examples to copy."""

    panel: str
    examples: tuple[str, ...]


COMMAND_HELP = {
    "init": CommandHelp(
        _GET_STARTED, ("leadloop init leads.csv calls.csv stages.csv", "leadloop init crm.sqlite")
    ),
    "check": CommandHelp(
        _GET_STARTED,
        ("leadloop check", "leadloop check --leads leads.csv --id Id --label Converted --fail-on high"),
    ),
    "train": CommandHelp(
        _GET_STARTED,
        ("leadloop train", "leadloop train --leads leads.csv --id Id --label Converted --json result.json"),
    ),
    "demo": CommandHelp(_GET_STARTED, ("leadloop demo", "leadloop demo --leads 2000 --no-stay")),
    "doctor": CommandHelp(_GET_STARTED, ("leadloop doctor", "leadloop doctor --port 8080 --json -")),
    "score": CommandHelp(
        _EVERY_DAY,
        (
            "leadloop score --out scores.csv",
            "leadloop score --model leadloop-out/model --leads today.csv --out scores.csv --explain 3",
            "leadloop score --engine spark --out crm.lead_scores",
        ),
    ),
    "parts": CommandHelp(
        _EVERY_DAY,
        ("leadloop parts --out parts", "leadloop parts --out parts --part-size 50000 --with owner"),
    ),
    "features": CommandHelp(
        _EVERY_DAY,
        (
            "leadloop features --sql snowflake --out lead_features.sql",
            "leadloop features --engine spark --out crm.lead_features",
            "leadloop features --sql postgres --training-set --as-of 2026-11-30 --sample 0.05 --out set.sql",
        ),
    ),
    "leads": CommandHelp(
        _EVERY_DAY,
        (
            "leadloop leads --html calls.html --top 50",
            "leadloop leads --html calls.html --handover handover.toml",
        ),
    ),
    "push": CommandHelp(
        _EVERY_DAY,
        (
            "leadloop push hubspot --scores scores.csv",
            "leadloop push hubspot --scores scores.csv --go",
            "leadloop push hubspot --from-log leadloop-out/decisions.db --sent sent.parquet --go",
        ),
    ),
    "points": CommandHelp(
        _EVERY_DAY,
        (
            "leadloop points --model leadloop-out/model --out points.csv",
            "leadloop points --model champion --lists hubspot --out lists.csv",
        ),
    ),
    "report": CommandHelp(_EVERY_DAY, ("leadloop report --lang de --out bericht.html",)),
    "backtest": CommandHelp(
        _LOOP, ("leadloop backtest", "leadloop backtest --origins 8 --incumbent points.toml")
    ),
    "promote": CommandHelp(_LOOP, ("leadloop promote leadloop-out/model", "leadloop promote --back")),
    "models": CommandHelp(_LOOP, ("leadloop models", "leadloop models --project acme --json -")),
    "models adopt": CommandHelp(_LOOP, ("leadloop models adopt --from leadloop",)),
    "monitor": CommandHelp(
        _LOOP,
        (
            "leadloop monitor --log leadloop-out/decisions.db",
            "leadloop monitor --scores scores.csv --outcomes crm.csv --id Id --label Converted",
        ),
    ),
    "effect": CommandHelp(_LOOP, ("leadloop effect --log leadloop-out/decisions.db",)),
    "decisions": CommandHelp(_LOOP, ("leadloop decisions --out decisions.csv",)),
    "serve": CommandHelp(
        _OPERATE,
        ("leadloop serve", "leadloop serve --port 8080 --keys leadloop-out/keys.json --host 0.0.0.0"),
    ),
    "mcp": CommandHelp(_OPERATE, ("leadloop mcp", "leadloop mcp --http --port 3001")),
    "config schema": CommandHelp(_OPERATE, ("leadloop config schema --out leadloop.schema.json",)),
    "keys add": CommandHelp(_OPERATE, ("leadloop keys add crm --scope score --scope outcomes --days 365",)),
    "keys list": CommandHelp(_OPERATE, ("leadloop keys list",)),
    "keys revoke": CommandHelp(_OPERATE, ("leadloop keys revoke crm",)),
    "log stats": CommandHelp(_OPERATE, ("leadloop log stats",)),
    "log replay": CommandHelp(_OPERATE, ("leadloop log replay --model leadloop-out/model",)),
    "log prune": CommandHelp(_OPERATE, ("leadloop log prune --keep-days 400",)),
    "log vacuum": CommandHelp(_OPERATE, ("leadloop log vacuum",)),
    "log subject-access": CommandHelp(
        _OPERATE, ("leadloop log subject-access --lead 4711 --html sheet.html --lang de",)
    ),
    "store load": CommandHelp(_OPERATE, ("leadloop store load", "leadloop store load --config crm.toml")),
    "store sync": CommandHelp(_OPERATE, ("leadloop store sync --every 15m",)),
    "store scores": CommandHelp(_OPERATE, ("leadloop store scores --out scores.csv",)),
    "webhooks secret": CommandHelp(_OPERATE, ("leadloop webhooks secret",)),
    "webhooks list": CommandHelp(_OPERATE, ("leadloop webhooks list --subscription crm",)),
    "webhooks resend": CommandHelp(_OPERATE, ("leadloop webhooks resend --id 12",)),
    "webhooks test": CommandHelp(_OPERATE, ("leadloop webhooks test crm",)),
}


def complete_help(app: typer.Typer, prefix: str = "") -> None:
    """Give every command of ``app`` -q and -v, its options panels, and its help the examples.

    Args:
        app: The commands and their groups; changed in place.
        prefix: The names of the groups around it, each with a blank after it.
    """
    app.info.cls = HelpfulGroup
    for info in app.registered_commands:
        info.cls = HelpfulCommand
        name = prefix + str(info.name or info.callback.__name__).replace("_", "-")  # type: ignore[union-attr]
        known = COMMAND_HELP.get(name)
        if known is not None:
            info.rich_help_panel = known.panel if not prefix else None
            info.epilog = "\n\n".join(["Examples:", *(f"    $ {line}" for line in known.examples)])
        info.callback = _with_output_level(info.callback)  # type: ignore[arg-type]
    for group in app.registered_groups:
        group.cls = HelpfulGroup
        group.rich_help_panel = _LOOP if group.name == "models" else _OPERATE
        if group.typer_instance is not None:
            complete_help(group.typer_instance, f"{prefix}{group.name} ")


def _with_output_level(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options that all commands have."""

    @wraps(command)
    def run(*, quiet_: bool, verbose_: bool, **values: Any) -> Any:
        with output_level(quiet=quiet_, verbose=verbose_):
            return command(**values)

    own = signature(command, eval_str=True).parameters.values()
    parameters = [*(_in_panel(each).replace(kind=Parameter.KEYWORD_ONLY) for each in own), *_SHARED]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _in_panel(parameter: Parameter) -> Parameter:
    """The parameter with its option in the panel of its name, and a word for what it takes."""
    for option in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(option, OptionInfo):
            option.rich_help_panel = option.rich_help_panel or _PANELS.get(parameter.name)
        if isinstance(option, OptionInfo | ArgumentInfo):
            option.metavar = option.metavar or _placeholder(parameter)
    return parameter


def _placeholder(parameter: Parameter) -> str | None:
    """What an option takes: FILE, N, or its name; None for a switch and for a choice, which has its words."""
    kinds = set(_plain_types(get_args(parameter.annotation)[0]))
    words = {Path: "FILE", int: "N", float: "NUMBER", str: parameter.name.strip("_").upper()}
    return next((word for each, word in words.items() if each in kinds), None)


def _plain_types(annotation: Any) -> Iterator[type]:
    """The types that a value may have, inside of unions and lists, too."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for inner in get_args(annotation):
            yield from _plain_types(inner)


class HelpfulCommand(TyperCommand):
    """A command whose help has no types of Python in it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; a switch takes nothing, and its help says nothing about that."""
        return _without_types(super().get_params(ctx))


class HelpfulGroup(TyperGroup):
    """A group of commands whose help has no types of Python in it."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; a switch takes nothing, and its help says nothing about that."""
        return _without_types(super().get_params(ctx))


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) or parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None  # noqa: ARG005 - Typer names it
    return parameters
