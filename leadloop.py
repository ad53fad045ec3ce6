"""The command line: parses, calls, prints. A command imports only what it needs, so --help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands import keys_app, log_app
from training import commands
from training.options import (
    OUT,
    Dated,
    HandedOver,
    Horizon,
    Id,
    Json,
    Label,
    Lang,
    Last,
    Log,
    LogConfig,
    ModelName,
    Outcomes,
    Scores,
    SourceOptions,
    to_write,
    usual,
    with_source_options,
)
from training.pushing.command import push
from training.terminal import emit, refuse, say, spoken

if TYPE_CHECKING:
    from models.conversion import ConversionModel
    from training.config import Config
    from training.dataset import Dataset
    from training.from_log import Logged, Question

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.callback()(commands.leadloop)
app.add_typer(keys_app, name="keys")
app.add_typer(log_app, name="log")
app.command()(commands.init)
app.command()(commands.check)


@app.command()
@with_source_options
def train(
    source: SourceOptions,
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
    *,
    handed_over: HandedOver = False,
) -> None:
    """Train, track and save a model. With --from-log, on the features of --model as they were served."""
    from training.workflow import tracking_of
    from training.workflow import train as run

    if handed_over and from_log is None:
        refuse("--handed-over is about a decision log; name it with --from-log")
    if from_log is None:
        chosen, dataset = source.to_config(), None
    elif source.leads is not None or holdout is not None:
        refuse("--from-log says what to learn from; leave --leads and --holdout out")
    else:
        folder = commands.model_dir(model)
        chosen, dataset = _learnt(from_log, folder, source.config, horizon, chance=handed_over)
    trained = run(chosen, out, tracking_of(chosen, OUT), dataset=dataset, holdout=holdout, say=say)
    emit(trained.to_dict(), json_)


app.command()(commands.score)
app.command()(commands.backtest)
app.command()(commands.points)
app.command()(commands.report)
app.command(name="promote")(commands.promote_)
app.command()(push)


@app.command()
def monitor(
    scores: Scores = None,
    outcomes: Outcomes = None,
    id_: Id = None,
    label: Label = None,
    time: Dated = None,
    log: Log = None,
    horizon: Horizon = None,
    config: LogConfig = None,
    model: ModelName = "champion",
    last: Last = None,
    relevel: Annotated[
        Path | None, typer.Option(help="Save the model with its level moved, too.", metavar="DIR")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page, too.", metavar="FILE", callback=to_write)
    ] = None,
    lang: Lang = "en",
    json_: Json = None,
) -> None:
    """See whether a model still holds. Exit code 0 is healthy, 3 watch, 4 retrain."""
    from models.artifact import load
    from training.monitoring.command import Wanted, look
    from training.monitoring.watched import OutcomeFile, seen_files, seen_log

    loaded = load(commands.model_dir(model))
    if log is not None and (scores is not None or outcomes is not None):
        refuse("--log holds scores and outcomes; leave --scores and --outcomes out")
    if log is not None:
        seen = seen_log(loaded, *_logged(log, loaded, usual(config), horizon))
    elif scores is None or outcomes is None or id_ is None or label is None:
        refuse("name --scores, --outcomes, --id and --label, or --log")
    else:
        seen = seen_files(loaded, scores, OutcomeFile(outcomes, id_, label, time))
    found = look(loaded, seen, Wanted(last, html, lang, relevel), say)
    emit(found.to_dict(), json_)
    raise typer.Exit(found.exit_code)


@app.command()
def decisions(
    out: Annotated[Path, typer.Option(help="Scores, CSV or Parquet.", metavar="FILE", callback=to_write)],
    log: Annotated[
        str | None, typer.Option(help="The decision log, a path or URL.", envvar="LEADLOOP_LOG")
    ] = None,
) -> None:
    """Write the newest decisions as a file of scores. It goes to push and monitor."""
    from serving.log.scores import existing, newest
    from serving.log.settings import DEFAULT_PLACE
    from training.sink import sink

    written = 0
    with existing(log or DEFAULT_PLACE) as opened, sink(out) as append:
        for scores in newest(opened):
            append(scores)
            written += scores.height
    say(f"{written:,} decisions written to {out}")


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


@app.command()
def demo(
    leads: Annotated[int, typer.Option(help="How many leads the company has.", min=500)] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same company.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.", metavar="DIR")] = OUT,
    json_: Json = None,
) -> None:
    """Show all of it on a made-up company. Trains, tracks, reports, and serves one explained lead."""
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


def _learnt(
    place: str, model: Path, config: Path | None, horizon: int | None, *, chance: bool
) -> tuple[Config, Dataset]:
    """What a service decided and what came of it, to learn from; without a file, configured plainly."""
    from dataclasses import replace

    from models.artifact import load
    from training.config import Config, Flat
    from training.constraints import monotone
    from training.from_log import of_log

    loaded, chosen = load(model), usual(config)
    logged, asked = _logged(place, loaded, chosen, horizon, chance=chance)
    chosen = chosen or Config(flat=Flat(Path(place), asked.text))
    data = of_log(logged, asked, loaded.card, chosen.training.weights)
    return chosen, replace(data, monotone=monotone(data.features, chosen.training.monotone))


def _logged(
    place: str, model: ConversionModel, config: Config | None, horizon: int | None, *, chance: bool = False
) -> tuple[Logged, Question]:
    """The log as frames of a model's features, and what is asked of each decision."""
    from features.clock import DAY
    from serving.log.frames import decided, handed_over, happened
    from serving.log.scores import existing
    from training.from_log import Logged, question

    label = None if config is None or config.label is None else config.label_spec
    asked = question(model.card, label, None if horizon is None else horizon * DAY)
    with existing(place) as opened:
        rows = (handed_over if chance else decided)(opened, model.features)
        return Logged(rows, happened(opened), model.features), asked


def main() -> None:
    """The entry point of the ``leadloop`` command."""
    with spoken():
        app()


if __name__ == "__main__":
    main()
