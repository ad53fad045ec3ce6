"""The commands on the service's own files, its keys and its decision log; the service never loads them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from features.messages import Lang  # noqa: TC001 - Typer reads the annotation
from serving.decision_log.settings import DEFAULT_PLACE, PROJECT

KEYS_FILE = Path("leadloop-out/keys.json")
KeyFile = Annotated[
    Path, typer.Option("--keys", help="The file of keys.", envvar="LEADLOOP_KEYS", metavar="FILE")
]
LogPlace = Annotated[
    str,
    typer.Option("--log", help="The decision log, a path or URL.", envvar="LEADLOOP_LOG", metavar="PLACE"),
]
keys_app = typer.Typer(help="API keys of the service.", no_args_is_help=True, rich_markup_mode=None)
log_app = typer.Typer(help="Decisions of the service.", no_args_is_help=True, rich_markup_mode=None)
webhooks_app = typer.Typer(
    help="Webhooks that the service sends.", no_args_is_help=True, rich_markup_mode=None
)
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
) -> None:
    """Make a key and print it once."""
    from serving.middleware.api_keys import create_key

    scopes = scope or []
    project, models = _project(keys), model or ()
    token = create_key(keys, name, scopes, days, tenant=tenant, project=project, role=role, models=models)
    typer.echo(token)
    rights = ", ".join([*scopes, *([f"sign in to the console as {role}"] if role else [])])
    typer.echo(f"{name} may {rights}; start the service with --keys {keys}", err=True)


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
def keys_list(keys: KeyFile = KEYS_FILE) -> None:
    """List the keys and what they may do."""
    from serving.middleware.api_keys import load_keys

    for key in load_keys(keys):
        typer.echo(key.in_words())


@keys_app.command(name="revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(help="The name of the key.")], keys: KeyFile = KEYS_FILE
) -> None:
    """Revoke a key. Running services refuse it from their next request on."""
    from serving.middleware.api_keys import revoke_key

    revoke_key(keys, name)
    typer.echo(f"{name} is revoked", err=True)


@log_app.command(name="stats")
def log_stats(log: LogPlace = DEFAULT_PLACE) -> None:
    """Print the number of records in the log as JSON."""
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.queries import stats

    with open_existing_log(log) as opened:
        typer.echo(json.dumps(stats(opened), indent=1))


@log_app.command(name="replay")
def log_replay(
    model: Annotated[Path, typer.Option(help="The folder of the model that decided.", metavar="DIR")],
    log: LogPlace = DEFAULT_PLACE,
) -> None:
    """Repeat each decision of a model from its row. Exit code 3 if one differs."""
    from models.artifact import load
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.replay import replay

    loaded = load(model)
    with open_existing_log(log) as opened:
        replayed = replay(opened, loaded)
    typer.echo(f"model {loaded.version}: {replayed.same:,} decisions came out the same to the bit", err=True)
    for number in replayed.different:
        typer.echo(f"decision {number} came out different", err=True)
    result = {"model_version": loaded.version, "same": replayed.same, "different": replayed.different}
    typer.echo(json.dumps(result, indent=1))
    raise typer.Exit(3 if replayed.different else 0)


@log_app.command(name="prune")
def log_prune(
    keep_days: Annotated[int, typer.Option(help="Delete records older than so many days.", min=1)],
    log: LogPlace = DEFAULT_PLACE,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Trust the clock, even far ahead of the log.")
    ] = False,
) -> None:
    """Delete records that are past their time. A running service does so every day."""
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.statements import prune_in_batches

    with open_existing_log(log) as opened:
        erased = prune_in_batches(opened, keep_days, force=force)
    typer.echo(f"{erased.decisions:,} decisions and {erased.outcomes:,} outcomes removed", err=True)


@log_app.command(name="subject-access")
def log_subject_access(
    lead: Annotated[str, typer.Option(help="The lead's id.", metavar="ID")],
    log: LogPlace = DEFAULT_PLACE,
    model: Annotated[
        Path | None, typer.Option(help="The model folder, to describe values in words.", metavar="DIR")
    ] = None,
    lang: Annotated[Lang, typer.Option(help="The language of the sheet.")] = "en",
    html: Annotated[Path | None, typer.Option(help="Write a page to print.", metavar="FILE")] = None,
    keep_days: Annotated[
        int | None,
        typer.Option(help="The service's own limit in days.", min=1, envvar="LEADLOOP_LOG_KEEP_DAYS"),
    ] = None,
    tenant: Annotated[str, typer.Option(help="The tenant of the lead.", metavar="LABEL")] = "",
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
    if html is None:
        typer.echo(json.dumps(asdict(sheet), indent=1, ensure_ascii=False))
    else:
        html.write_text(sheet.to_html(), encoding="utf-8")
        typer.echo(f"sheet written to {html}", err=True)


@log_app.command(name="vacuum")
def log_vacuum(log: LogPlace = DEFAULT_PLACE) -> None:
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


@webhooks_app.command(name="secret")
def webhooks_secret() -> None:
    """Create a secret for signing messages.

    The receiver needs it, too; the service reads it from a file or a variable.
    """
    from serving.webhooks.signatures import new_secret

    typer.echo(new_secret())


@webhooks_app.command(name="list")
def webhooks_list(
    log: LogPlace = DEFAULT_PLACE,
    subscription: SubscriptionName = None,
    limit: Annotated[int, typer.Option(help="At most so many dead letters.", min=1)] = 100,
) -> None:
    """List waiting messages and dead letters. The output is JSON."""
    from serving.decision_log.frames import open_existing_log
    from serving.webhooks.outbox import count_messages, dead_letters

    with open_existing_log(log) as opened:
        result = {
            "subscriptions": count_messages(opened),
            "dead_letters": dead_letters(opened, subscription, limit),
        }
    typer.echo(json.dumps(result, indent=1, ensure_ascii=False))


@webhooks_app.command(name="resend")
def webhooks_resend(
    log: LogPlace = DEFAULT_PLACE,
    subscription: SubscriptionName = None,
    number: Annotated[
        list[int] | None, typer.Option("--id", help="Only this one, by `id` of the list; may be repeated.")
    ] = None,
) -> None:
    """Send dead letters again. They keep their ids."""
    from serving.decision_log.database import writing
    from serving.decision_log.frames import open_existing_log
    from serving.webhooks.outbox import resend

    with open_existing_log(log) as opened, writing(opened).begin() as connection:
        count = resend(connection, time.time(), subscription, number or ())
    typer.echo(f"{count:,} messages are to be sent again", err=True)


@webhooks_app.command(name="test")
def webhooks_test(
    name: Annotated[str, typer.Argument(help="A subscription of the file.")],
    webhooks: WebhookFile = Path("webhooks.toml"),
) -> None:
    """Send a signed test message. Exit code 1 if the receiver refuses it."""
    from serving.webhooks.receivers import send_trial
    from serving.webhooks.settings import find_subscription, parse_webhooks

    attempt = send_trial(find_subscription(parse_webhooks(webhooks, os.environ), name))
    typer.echo(f"{name}: {attempt.error or 'the message was taken'}", err=True)
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
    port: Annotated[int, typer.Option(help="With --http: the port.")] = 3001,
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
