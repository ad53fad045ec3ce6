"""The command line: parses, calls, prints. A command imports only what it needs, so --help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import leadloop_log
from training import commands
from training.options import (
    OUT,
    ConfigFile,
    Exclude,
    Horizon,
    Id,
    Json,
    Label,
    Leads,
    ModelName,
    Time,
    configured,
)
from training.pushing.command import push
from training.terminal import emit, refuse, say, spoken

app = typer.Typer(
    help="Predicts which leads become sales-qualified, says why, and checks itself against what happened.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

keys_app = typer.Typer(help="Who may ask the service what.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")
app.add_typer(leadloop_log.log_app, name="log")
KeyFile = Annotated[
    Path, typer.Option("--keys", help="The file of keys.", envvar="LEADLOOP_KEYS", metavar="FILE")
]


@app.command()
def init(
    files: Annotated[list[Path], typer.Argument(help="The exports of your CRM.")],
    out: Annotated[Path, typer.Option(help="Where to write the draft.")] = Path("leadloop.toml"),
    *,
    force: Annotated[bool, typer.Option(help="Overwrite an existing draft.")] = False,
) -> None:
    """Look at your files and write a commented leadloop.toml."""
    from training.draft import draft

    if out.exists() and not force:
        refuse(f"{out} exists; look at it, or overwrite it with --force")
    out.write_text(draft(files), encoding="utf-8")
    say(f"{out} written; read its comments, then run: leadloop train --config {out}")


@app.command()
def check(
    leads: Leads = None,
    id_: Id = None,
    label: Label = None,
    time: Time = None,
    exclude: Exclude = "",
    config: ConfigFile = None,
    score: Annotated[
        Path | None, typer.Option(help="Rows to score, to be compared with.", metavar="FILE")
    ] = None,
    json_: Json = None,
) -> None:
    """Look for leaks and nonsense in the data before a model learns them."""
    from training.ahead import rows_ahead
    from training.checks import checks, in_words, to_dict
    from training.workflow import QUARANTINE, read_dataset, read_in_words

    chosen = configured(config, leads, id_, label, time, exclude)
    dataset = read_dataset(chosen, OUT)
    made = checks(dataset, rows_ahead(dataset, chosen, score))
    for line in (*read_in_words(dataset, chosen.quarantine.file or OUT / QUARANTINE), *in_words(made)):
        say(line)
    emit(to_dict(made), json_)


@app.command()
def train(
    leads: Leads = None,
    id_: Id = None,
    label: Label = None,
    time: Time = None,
    exclude: Exclude = "",
    config: ConfigFile = None,
    holdout: Annotated[
        Path | None, typer.Option(help="A second file with outcomes to be judged by.", metavar="FILE")
    ] = None,
    from_log: Annotated[
        str | None,
        typer.Option(help="Learn from what a service decided and what came of it.", metavar="PLACE"),
    ] = None,
    model: ModelName = "champion",
    horizon: Horizon = None,
    out: Annotated[Path, typer.Option(help="Folder for model and report.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Train, track and save a model; with --from-log on the features of --model, as they were served."""
    from training.workflow import tracking_of
    from training.workflow import train as run

    if from_log is None:
        chosen, dataset = configured(config, leads, id_, label, time, exclude), None
    elif leads is not None or holdout is not None:
        refuse("--from-log says what to learn from; leave --leads and --holdout out")
    else:
        chosen, dataset = leadloop_log.learnt(from_log, commands.model_dir(model), config, horizon)
    trained = run(chosen, out, tracking_of(chosen, OUT), dataset=dataset, holdout=holdout, say=say)
    emit(trained.to_dict(), json_)


app.command()(commands.score)
app.command()(commands.backtest)
app.command()(commands.points)
app.command()(commands.report)
app.command(name="promote")(commands.promote_)
app.command()(leadloop_log.monitor)
app.command()(leadloop_log.decisions)
app.command()(push)


@app.command()
def serve(
    model: Annotated[
        str, typer.Option(help="Promotions to follow, or a folder that stays.", envvar="LEADLOOP_MODEL")
    ] = "champion",
    port: Annotated[int, typer.Option(help="0 is any free one.")] = 3000,
    host: Annotated[str, typer.Option(help="The default is reached from this machine only.")] = "127.0.0.1",
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1)] = 1,
    keys: Annotated[Path | None, typer.Option(help="Whom to answer.", envvar="LEADLOOP_KEYS")] = None,
    *,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Answer whoever asks, from anywhere.", envvar="LEADLOOP_NO_KEYS")
    ] = False,
    rate: Annotated[
        int | None,
        typer.Option(help="Requests of a key in a minute, in each worker.", min=1, envvar="LEADLOOP_RATE"),
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(help="challenger, or a folder: scores along, silently.", envvar="LEADLOOP_SHADOW"),
    ] = None,
    log: Annotated[
        str, typer.Option(help="Where decisions are logged: a file, a URL, or off.", envvar="LEADLOOP_LOG")
    ] = str(OUT / "decisions.db"),
    keep_days: Annotated[
        int | None, typer.Option(help="Then they are forgotten.", min=1, envvar="LEADLOOP_LOG_KEEP_DAYS")
    ] = None,
    explore: Annotated[
        float,
        typer.Option(help="Share of a hand-over by lot.", min=0, max=1, envvar="LEADLOOP_EXPLORE"),
    ] = 0.0,
) -> None:
    """Answer scores and explanations over REST until stopped."""
    from serving.log.settings import LogSettings
    from serving.run import Address
    from serving.run import serve as run
    from serving.settings import Settings

    def answering(url: str) -> None:
        say(f"answering at {url} (API page: {url}/); stop with Ctrl+C")
        say(logged.in_words())

    logged = LogSettings(log, keep_days)
    settings = Settings(_followed(model), shadow, keys, no_keys, rate, logged, explore)
    run(settings, Address(host, port), workers, answering)


def _followed(model: str) -> str:
    """The champion where a promotion left a copy for the service to follow; else a folder that stays."""
    from models.pointer import pointed
    from serving.follow import MODEL_NAME
    from serving.settings import CHAMPION, store

    follows = model == CHAMPION and pointed(store() / MODEL_NAME)
    return CHAMPION if follows else str(commands.model_dir(model))


@keys_app.command(name="add")
def keys_add(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scope: Annotated[list[str], typer.Option(help="score, outcomes or admin; may be given several times.")],
    days: Annotated[int | None, typer.Option(help="How long it is valid.", min=1)] = None,
    keys: KeyFile = OUT / "keys.json",
) -> None:
    """Make a key; standard output is the only place where it is ever told."""
    from serving.keys import add

    typer.echo(add(keys, name, scope, days))
    say(f"{name} may {', '.join(scope)}; start the service with --keys {keys}")


@keys_app.command(name="list")
def keys_list(keys: KeyFile = OUT / "keys.json") -> None:
    """Say which keys there are, and what they may do."""
    from serving.keys import read

    for key in read(keys):
        typer.echo(key.in_words())


@keys_app.command(name="revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(help="As it was added.")], keys: KeyFile = OUT / "keys.json"
) -> None:
    """Take a key back; running services refuse it from their next request on."""
    from serving.keys import revoke

    revoke(keys, name)
    say(f"{name} is revoked")


@app.command()
def demo(
    leads: Annotated[int, typer.Option(help="How many leads the company has.", min=500)] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same company.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Make a company's history, train, track, report, and serve one scored and explained lead."""
    from training.demo import demo as run
    from training.tracking import tracking

    done = run(leads, seed, out, tracking(OUT), say)
    lead = _explained(done.trained.model_dir, done.request, out / "service.log")
    say(f"open the report: {out / 'report.html'}")
    emit(done.to_dict() | {"scored_lead": lead}, json_)


def _explained(model: Path, request: dict[str, Any], log: Path) -> dict[str, Any]:
    """What the real service, started for this one question, says of the lead in ``request``."""
    from serving.run import ask, running

    say("starting the service, asking it over REST to explain one lead ...")
    with log.open("wb") as file, running(model, log=file) as service:
        lead: dict[str, Any] = ask(service.url, "/v1/explain", request | {"top": 5})["results"][0]
    say(f"{lead['lead_id']}: {lead['probability']:.1%}, {lead['points']} points, grade {lead['grade']}")
    for reason in lead["reasons"]:
        say(f"  {reason['points']:+6.1f}  {reason['text']}")
    return lead


def main() -> None:
    """The entry point of the ``leadloop`` command."""
    with spoken():
        app()


if __name__ == "__main__":
    main()
