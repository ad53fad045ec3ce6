"""The commands on the service's own files, its keys and its decision log; the service never loads them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.messages import Lang  # noqa: TC001 - Typer reads the annotation
from serving.decision_log.settings import DEFAULT_PLACE, PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.middleware.api_keys import ApiKey

KEYS_FILE = Path("leadloop-out/keys.json")
KeyFile = Annotated[
    Path, typer.Option("--keys", help="The file of keys.", envvar="LEADLOOP_KEYS", metavar="FILE")
]


def _existing_log(place: str) -> str:
    """The callback of a decision log; refuses one that is not there before anything heavy is imported."""
    if "://" not in place and not Path(place).is_file():
        msg = f"there is no decision log at {place}; name it with --log or in LEADLOOP_LOG"
        raise typer.BadParameter(msg)
    return place


def _model_folder(folder: Path | None) -> Path | None:
    """The callback of a model folder; refuses one without a model."""
    if folder is not None and not (folder / "SHA256SUMS").is_file():
        msg = (
            f"{folder}: no model here (SHA256SUMS is missing); name the folder that `leadloop train` printed"
        )
        raise typer.BadParameter(msg)
    return folder


def _writable(file: Path | None) -> Path | None:
    """The callback of a file that is written; refuses one whose folder is not there."""
    if file is not None and not file.absolute().parent.is_dir():
        msg = f"there is no folder {file.absolute().parent}; create it"
        raise typer.BadParameter(msg)
    return file


def _writable_json(place: str | None) -> str | None:
    _writable(None if place in {None, "-"} else Path(str(place)))
    return place


Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        help="Write the result as JSON to FILE, or to stdout with -.",
        metavar="FILE",
        callback=_writable_json,
    ),
]
LogPlace = Annotated[
    str,
    typer.Option(
        "--log",
        help="The decision log, a path or URL.",
        envvar="LEADLOOP_LOG",
        metavar="PLACE",
        callback=_existing_log,
    ),
]
keys_app = typer.Typer(help="API keys of the service.", no_args_is_help=True)
log_app = typer.Typer(help="Decisions of the service.", no_args_is_help=True)
webhooks_app = typer.Typer(help="Webhooks that the service sends.", no_args_is_help=True)
WebhookFile = Annotated[
    Path, typer.Option("--webhooks", help="The file of webhooks.", envvar="LEADLOOP_WEBHOOKS", metavar="FILE")
]
SubscriptionName = Annotated[
    str | None, typer.Option("--subscription", help="Only this subscription; default: all.", metavar="NAME")
]


@keys_app.command(name="add")
def keys_add(
    name: Annotated[str, typer.Argument(help="A name for the user of the key.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="score, handover, outcomes, events or admin (repeatable)."),
    ] = None,
    role: Annotated[
        str, typer.Option(help="Role in the console: sales, marketing or admin.", metavar="ROLE")
    ] = "",
    tenant: Annotated[
        str, typer.Option(help="Limit the key to the leads of this tenant.", metavar="LABEL")
    ] = "",
    days: Annotated[int | None, typer.Option(help="Days until the key expires.", min=1)] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A named model it may use, or default (repeatable).", metavar="NAME"),
    ] = None,
    keys: KeyFile = KEYS_FILE,
    json_: Json = None,
) -> None:
    """Make a key and print it once."""
    from serving.middleware.api_keys import create_key

    scopes = scope or []
    project, models = _project(keys), model or ()
    token = create_key(keys, name, scopes, days, tenant=tenant, project=project, role=role, models=models)
    if json_ != "-":
        typer.echo(token)
    rights = ", ".join([*scopes, *([f"sign in to the console as {role}"] if role else [])])
    typer.echo(f"{name} may {rights}; start the service with --keys {keys}", err=True)
    _print_result({"name": name, "key": token, "scopes": scopes, "role": role, "keys": str(keys)}, json_)


def _project(keys: Path) -> str:
    """The project that a new file of keys belongs to: as set, else that of its folder or of leadloop-out."""
    from models.project import check_project_name, project_of, read_project

    configured = os.environ.get(PROJECT)
    if configured:
        return check_project_name(configured)
    if keys.parent == KEYS_FILE.parent:
        return project_of(keys.parent)
    return read_project(keys.parent) or read_project(KEYS_FILE.parent) or ""


@keys_app.command(name="list")
def keys_list(keys: KeyFile = KEYS_FILE, json_: Json = None) -> None:
    """List the keys and what they may do."""
    from serving.middleware.api_keys import load_keys

    listed = load_keys(keys)
    if json_ != "-":
        for key in listed:
            typer.echo(key.in_words())
    _print_result({"keys": [_describe_key(key) for key in listed]}, json_)


@keys_app.command(name="revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(help="The name of the key.")],
    keys: KeyFile = KEYS_FILE,
    json_: Json = None,
) -> None:
    """Revoke a key. Running services refuse it from their next request on."""
    from serving.middleware.api_keys import revoke_key

    revoke_key(keys, name)
    typer.echo(f"{name} is revoked", err=True)
    _print_result({"revoked": name}, json_)


@log_app.command(name="stats")
def log_stats(log: LogPlace = DEFAULT_PLACE, json_: Json = "-") -> None:
    """Print the number of records in the log as JSON."""
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.queries import stats

    with open_existing_log(log) as opened:
        _print_result(stats(opened), json_)


@log_app.command(name="replay")
def log_replay(
    model: Annotated[
        Path,
        typer.Option(help="The folder of the model that decided.", metavar="DIR", callback=_model_folder),
    ],
    log: LogPlace = DEFAULT_PLACE,
    json_: Json = "-",
) -> None:
    """Repeat each decision of a model from its row. Exit code 3 if one differs."""
    from models.artifact import load
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.replay import replay

    loaded = load(model)
    with open_existing_log(log) as opened:
        replayed = replay(opened, loaded)
    typer.echo(f"model {loaded.version}: {replayed.same:,} decisions are the same to the bit", err=True)
    for number in replayed.different:
        typer.echo(f"decision {number} differs", err=True)
    result = {"model_version": loaded.version, "same": replayed.same, "different": replayed.different}
    _print_result(result, json_)
    raise typer.Exit(3 if replayed.different else 0)


@log_app.command(name="prune")
def log_prune(
    keep_days: Annotated[int, typer.Option(help="Delete records older than so many days.", min=1)],
    log: LogPlace = DEFAULT_PLACE,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Trust the clock, even far ahead of the log.")
    ] = False,
    json_: Json = None,
) -> None:
    """Delete records that are past their time. A running service does so every day."""
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.statements import prune_in_batches

    with open_existing_log(log) as opened:
        erased = prune_in_batches(opened, keep_days, force=force)
    typer.echo(f"{erased.decisions:,} decisions and {erased.outcomes:,} outcomes removed", err=True)
    _print_result({"decisions": erased.decisions, "outcomes": erased.outcomes}, json_)


@log_app.command(name="subject-access")
def log_subject_access(
    lead: Annotated[str, typer.Option(help="The lead's id.", metavar="ID")],
    log: LogPlace = DEFAULT_PLACE,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The model folder, to describe values in words.", metavar="DIR", callback=_model_folder
        ),
    ] = None,
    lang: Annotated[Lang, typer.Option(help="The language of the sheet.")] = "en",
    html: Annotated[
        Path | None, typer.Option(help="Write a page to print.", metavar="FILE", callback=_writable)
    ] = None,
    keep_days: Annotated[
        int | None,
        typer.Option(help="The service's own limit in days.", min=1, envvar="LEADLOOP_LOG_KEEP_DAYS"),
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant of the lead.", metavar="LABEL")] = "",
    json_: Json = None,
) -> None:
    """Write the data sheet for a person (GDPR Art. 15).

    It says what is held, the score, its reasons, and who decides.
    """
    from models.artifact import load
    from serving.decision_log.frames import open_existing_log
    from serving.subject_access import (
        Controller,
        SheetContext,
        read_subject_records,
        subject_access_sheet,
    )

    loaded = None if model is None else load(model)
    with open_existing_log(log) as opened:
        records = read_subject_records(opened, lead, tenant)
    sheet = subject_access_sheet(
        records, SheetContext(Controller.of(os.environ), keep_days, int(time.time()), lang, loaded)
    )
    if html is not None:
        html.write_text(sheet.to_html(), encoding="utf-8")
        typer.echo(f"sheet written to {html}", err=True)
    # Without a page the sheet itself is the answer.
    _print_result(asdict(sheet), json_ or ("-" if html is None else None))


@log_app.command(name="vacuum")
def log_vacuum(log: LogPlace = DEFAULT_PLACE, json_: Json = None) -> None:
    """Rewrite the tables without erased records.

    Answers wait meanwhile.
    """
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.vacuum import rewrite_tables

    with open_existing_log(log) as opened:
        left = rewrite_tables(opened)
    typer.echo("the tables of the log are written anew", err=True)
    if left:
        typer.echo(left, err=True)
    _print_result({"rewritten": True, "notice": left or ""}, json_)


@webhooks_app.command(name="secret")
def webhooks_secret(json_: Json = None) -> None:
    """Create a secret for signing messages.

    The receiver needs it, too; the service reads it from a file or a variable.
    """
    from serving.webhooks.signatures import new_secret

    secret = new_secret()
    if json_ != "-":
        typer.echo(secret)
    _print_result({"secret": secret}, json_)


@webhooks_app.command(name="list")
def webhooks_list(
    log: LogPlace = DEFAULT_PLACE,
    subscription: SubscriptionName = None,
    limit: Annotated[int, typer.Option(help="At most so many dead letters.", min=1)] = 100,
    json_: Json = "-",
) -> None:
    """List waiting messages and dead letters. The output is JSON."""
    from serving.decision_log.frames import open_existing_log
    from serving.webhooks.outbox import count_messages, dead_letters

    with open_existing_log(log) as opened:
        result = {
            "subscriptions": count_messages(opened),
            "dead_letters": dead_letters(opened, subscription, limit),
        }
    _print_result(result, json_)


@webhooks_app.command(name="resend")
def webhooks_resend(
    log: LogPlace = DEFAULT_PLACE,
    subscription: SubscriptionName = None,
    number: Annotated[
        list[int] | None, typer.Option("--id", help="Only this one, by `id` of the list (repeatable).")
    ] = None,
    json_: Json = None,
) -> None:
    """Send dead letters again. They keep their ids."""
    from serving.decision_log.database import writing
    from serving.decision_log.frames import open_existing_log
    from serving.webhooks.outbox import resend

    with open_existing_log(log) as opened, writing(opened).begin() as connection:
        count = resend(connection, time.time(), subscription, number or ())
    typer.echo(f"{count:,} messages are to be sent again", err=True)
    _print_result({"messages": count}, json_)


@webhooks_app.command(name="test")
def webhooks_test(
    name: Annotated[str, typer.Argument(help="A subscription of the file.")],
    webhooks: WebhookFile = Path("webhooks.toml"),
    json_: Json = None,
) -> None:
    """Send a signed test message. Exit code 1 if the receiver refuses it."""
    from serving.webhooks.receivers import send_trial
    from serving.webhooks.settings import find_subscription, parse_webhooks

    attempt = send_trial(find_subscription(parse_webhooks(webhooks, os.environ), name))
    typer.echo(f"{name}: {attempt.error or 'the receiver accepted the message'}", err=True)
    _print_result({"subscription": name, "accepted": not attempt.error, "error": attempt.error}, json_)
    raise typer.Exit(int(bool(attempt.error)))


def mcp(
    url: Annotated[
        str, typer.Option(help="The address of the service.", envvar="LEADLOOP_URL", metavar="URL")
    ] = "http://127.0.0.1:3000",
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="The file with the key, instead of LEADLOOP_KEY.", envvar="LEADLOOP_KEY_FILE", metavar="FILE"
        ),
    ] = None,
    *,
    http: Annotated[
        bool, typer.Option("--http", help="Serve over HTTP at /mcp; each client sends its own key.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="With --http: the address; the default answers this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With --http: the port.", min=0, max=65_535)] = 3001,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="With --http: a further host name to answer to (repeatable).")
    ] = None,
) -> None:
    """Serve assistants over MCP.

    Without --http it answers the program that started it, over standard input and output.
    """
    import asyncio

    try:
        from serving.mcp.server import McpError, read_key, serve_http, serve_stdio
    except ImportError as error:
        msg = f"the MCP server is an extra ({error.name} is not installed): pip install 'leadloop[mcp]'"
        raise MissingExtraError(msg) from error

    key = read_key(key_file)
    if not http:
        asyncio.run(serve_stdio(url, key))
        return
    if key:
        msg = "with --http each client sends its own key; leave --key-file and LEADLOOP_KEY out"
        raise McpError(msg)
    typer.echo(f"assistants are answered at http://{host}:{port}/mcp; stop with Ctrl+C", err=True)
    serve_http(url, host, port, allowed_host or ())


class MissingExtraError(ValueError):
    """A command needs packages that are not installed; the message says which extra has them."""


def _print_result(result: Mapping[str, Any], json_: str | None) -> None:
    """Write the result as JSON to the file ``json_``, to standard output for "-", or not at all for None."""
    if json_ is None:
        return
    text = json.dumps(result, indent=1, ensure_ascii=False)
    typer.echo(text) if json_ == "-" else Path(json_).write_text(text + "\n", encoding="utf-8")


def _describe_key(key: ApiKey) -> dict[str, Any]:
    """A key as JSON can hold it, without its hash."""
    return {name: value for name, value in asdict(key).items() if name != "sha256"}
