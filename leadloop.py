"""The command line of leadloop. Each command imports only what it needs, so that --help is instant."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import keys_app, log_app, mcp, webhooks_app
from training.cli import commands
from training.cli.config import config_app
from training.cli.console import (
    count_into,
    print_next,
    print_result,
    print_status,
    report_errors,
    show_progress,
    usage_error,
)
from training.cli.features import features
from training.cli.help import complete_help
from training.cli.models import models_app
from training.cli.options import (
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
    Outcomes,
    OutputFolder,
    Port,
    Positive,
    ProjectName,
    Scores,
    ServedModelName,
    SourceOptions,
    TextEncoding,
    configuration,
    default_config,
    existing_log,
    model_folder,
    project_tracking,
    readable_path,
    with_named_models,
    with_source_options,
    writable_path,
)
from training.cli.push import push, with_decisions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from polars import DataFrame

    from features.messages import Message
    from models.conversion import ConversionModel
    from serving.server import ServiceProcess
    from serving.settings import NamedModel
    from training.cli.store import StoreSource
    from training.config.settings import Config
    from training.data.dataset import Dataset
    from training.data.log_dataset import DecisionLogFrames, OutcomeDefinition
    from training.demo import DemoResult
    from training.monitoring.inputs import MonitoringData

app = typer.Typer(
    no_args_is_help=True,
    # Its sub-commands inherit it.
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


store_app = typer.Typer(help="Leads and events that the service knows.", no_args_is_help=True)
app.callback()(commands.leadloop)
app.add_typer(config_app, name="config")
app.add_typer(keys_app, name="keys")
app.add_typer(log_app, name="log")
app.add_typer(store_app, name="store")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(models_app, name="models")
app.command()(commands.init)
app.command()(commands.check)


@app.command()
@with_source_options
def train(
    source: SourceOptions,
    holdout: Annotated[
        Path | None,
        typer.Option(
            help="A second file with outcomes, to measure the model on.",
            metavar="FILE",
            callback=readable_path,
        ),
    ] = None,
    from_log: Annotated[
        str | None,
        typer.Option(
            help="Learn from a decision log and its outcomes.", metavar="PLACE", callback=existing_log
        ),
    ] = None,
    training_set: Annotated[
        str | None,
        typer.Option(
            help="Learn from a table that a query of `leadloop features --training-set` made.",
            metavar="TABLE|FILE",
        ),
    ] = None,
    model: ServedModelName = "champion",
    horizon: Horizon = None,
    out: OutputFolder = OUT,
    project: ProjectName = None,
    json_: Json = None,
    *,
    handed_over: HandedOver = False,
) -> None:
    """Train a model, track the run and write a report. With --from-log, learn from what was served."""
    if handed_over and from_log is None:
        usage_error("--handed-over needs a decision log; name it with --from-log")
    if from_log is not None and (source.leads is not None or holdout is not None):
        usage_error("--from-log replaces --leads and --holdout; leave them out")
    if training_set is not None and (from_log or source.leads is not None or holdout is not None):
        usage_error("--training-set replaces --leads, --from-log and --holdout; leave them out")
    if from_log is None:
        source.check()
    from training.pipeline.train import resolve_tracking
    from training.pipeline.train import run_training as run

    if training_set is not None:
        folder = _served_model_dir(model, project)
        config, file = source.to_config(), source.configuration
        dataset: Dataset | None = _table_training_data(training_set, folder, config)
    elif from_log is None:
        config, dataset, file = source.to_config(), None, source.configuration
    else:
        reading = _read_log_of(model, from_log, project)
        config, dataset = _log_training_data(reading, source.config, horizon, chance=handed_over)
        file = source.config
    store = resolve_tracking(config, OUT, project or _project_of(model))
    with show_progress("training") as say:
        trained = run(config, out, store, dataset=dataset, holdout=holdout, configuration=file, say=say)
    print_next(f"open {out / 'report.html'}, then: leadloop promote {trained.model_dir}")
    print_result(trained.to_dict(), json_)


def _model_or_name(model: str) -> str:
    """The callback of ``--model``: of a name in LEADLOOP_MODELS the folder of the model that answers so."""
    named = _served_models()
    if model in named and not Path(model).is_dir():
        return str(commands.resolve_model_dir(named[model].model, named[model].project or None))
    if named and model != "champion" and "/" not in model and not Path(model).exists():
        raise typer.BadParameter(_no_such_name(model, named))
    return str(model_folder(model))


app.command()(with_named_models(commands.score, _model_or_name))
app.command()(features)
app.command()(with_named_models(commands.parts, _model_or_name))
app.command()(with_named_models(commands.leads, _model_or_name))
app.command()(commands.backtest)
app.command()(commands.points)
app.command()(commands.report)
app.command(name="promote")(commands.promote)
app.command()(mcp)


@app.command()
def monitor(
    scores: Scores = None,
    outcomes: Outcomes = None,
    id_: Id = None,
    label: Label = None,
    time: Dated = None,
    positive: Positive = None,
    encoding: TextEncoding = None,
    log: Log = None,
    horizon: Horizon = None,
    config: LogConfig = None,
    model: ServedModelName = "champion",
    last: Last = None,
    relevel: Annotated[
        Path | None, typer.Option(help="Also save the model with all scores shifted.", metavar="DIR")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page.", metavar="FILE", callback=writable_path)
    ] = None,
    lang: Lang = "en",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Check whether a model is still accurate. Exit code 0 is healthy, 3 watch, 4 retrain."""
    if log is not None and (scores is not None or outcomes is not None):
        usage_error("--log replaces --scores and --outcomes; leave them out")
    if log is None and None in {scores, outcomes, id_, label}:
        usage_error("name --scores, --outcomes, --id and --label, or --log")
    if log is not None:
        reading = _read_log_of(model, log, project)
        loaded = reading.model
        data = _log_monitoring_data(reading, default_config(config), horizon)
    elif scores is None or outcomes is None or id_ is None or label is None:
        usage_error("name --scores, --outcomes, --id and --label, or --log")
    else:
        folder = _served_model_dir(model, project)
        from models.artifact import load
        from training.monitoring.inputs import OutcomeFile, read_files

        loaded = load(folder)
        data = read_files(loaded, scores, OutcomeFile(outcomes, id_, label, time, positive, encoding))
    from training.cli.monitor import MonitorOptions, run_monitor

    with show_progress("comparing scores with outcomes") as say:
        report = run_monitor(loaded, data, MonitorOptions(last, html, lang, relevel), say)
    print_result(report.to_dict(), json_)
    raise typer.Exit(report.exit_code)


@app.command()
def effect(
    log: Annotated[
        str | None,
        typer.Option(
            help="The decision log, a path or URL.",
            envvar="LEADLOOP_LOG",
            metavar="PLACE",
            callback=existing_log,
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Also show the effect by this feature (repeatable).", metavar="FEATURE"),
    ] = None,
    horizon: Horizon = None,
    config: LogConfig = None,
    model: ServedModelName = "champion",
    lang: Lang = "en",
    project: ProjectName = None,
    json_: Json = None,
    *,
    all_reported: Annotated[
        bool, typer.Option("--all-reported", help="Outcomes of leads without a call are reported, too.")
    ] = False,
) -> None:
    """Measure whether calls help, with a control group."""
    from serving.decision_log.settings import DEFAULT_PLACE

    reading = _read_log_of(model, log or DEFAULT_PLACE, project)
    from training.analysis.call_effect import estimate_call_effect

    listed, outcomes, definition = _experiment(reading, default_config(config), horizon)
    for notice in reading.notices:
        print_status(notice.render(lang))
    result = estimate_call_effect(listed, outcomes, definition, by or (), all_reported=all_reported)
    for line in result.in_words(lang):
        print_status(line)
    print_result(result.to_dict(), json_)


@dataclass(frozen=True)
class _LogReading:
    """What a decision log says of a model.

    Attributes:
        model: The model.
        place: Where the log is.
        name: The name under which the log has the model; "" for the default one.
        outcomes: The outcomes that count for it: those that were reported, and those of the lead store.
        notices: Which outcomes these are, as sentences.
    """

    model: ConversionModel
    place: str
    name: str
    outcomes: DataFrame
    notices: tuple[Message, ...]


def _read_log_of(model: str, place: str, project: str | None) -> _LogReading:
    """What a log says of the model that ``--model`` names: a folder, the champion, or one of the service."""
    # A folder that is not there is told before anything heavy is imported.
    folder = _served_model_dir(model, project)
    import polars as pl

    from features.messages import Message
    from models.artifact import load
    from serving.decision_log.frames import open_existing_log, outcomes_frame
    from serving.decision_log.standing_outcomes import count_outcomes
    from serving.lead_store.stage_outcomes import stage_outcomes_frame

    loaded = load(folder)
    name, card = _logged_name(place, model, loaded), loaded.card
    with open_existing_log(place) as opened:
        of_stages = stage_outcomes_frame(opened, card.target_stage, card.closed_stages, card.reopen_stages)
        outcomes = pl.concat([outcomes_frame(opened, name), of_stages])
        of_name = (count_outcomes(opened, name).message,) if name else ()
    stages = (Message("outcomes.of_stages", n=of_stages.height),) if of_stages.height else ()
    outcomes = outcomes.sort("occurred_at", maintain_order=True)
    return _LogReading(loaded, place, name, outcomes, (*of_name, *stages))


def _experiment(
    reading: _LogReading, config: Config | None, horizon: int | None
) -> tuple[DataFrame, DataFrame, OutcomeDefinition]:
    """The experiment in a decision log, the outcomes in it, and how its leads are labelled."""
    from serving.decision_log.experiment import experiment_frame
    from serving.decision_log.frames import open_existing_log

    definition = _outcome_definition(reading.model, config, horizon)
    with open_existing_log(reading.place) as opened:
        listed = experiment_frame(opened, reading.model.features, reading.name)
    return listed, reading.outcomes, definition


def _outcome_definition(
    model: ConversionModel, config: Config | None, horizon: int | None
) -> OutcomeDefinition:
    from features.clock import DAY
    from training.data.log_dataset import outcome_definition

    label = None if config is None or config.label is None else config.label_spec
    return outcome_definition(model.card, label, None if horizon is None else horizon * DAY)


@app.command()
def decisions(
    out: Annotated[
        Path, typer.Option(help="Scores, CSV or Parquet.", metavar="FILE", callback=writable_path)
    ],
    log: Annotated[
        str | None,
        typer.Option(
            help="The decision log, a path or URL.",
            envvar="LEADLOOP_LOG",
            metavar="PLACE",
            callback=existing_log,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A further model of the service, by its name.", metavar="NAME")
    ] = "default",
    json_: Json = None,
) -> None:
    """Write the newest decisions as a file of scores. Use it in push and monitor."""
    from serving.decision_log.settings import DEFAULT_PLACE

    count = _write_decisions(log or DEFAULT_PLACE, model, out)
    print_status(f"{count:,} decisions written to {out}")
    print_next(f"leadloop push CRM --scores {out} shows what it would send to your CRM")
    print_result({"decisions": count, "out": str(out)}, json_)


def _write_decisions(place: str, model: str, out: Path, *, withheld: bool = True) -> int:
    """Write the newest decision about each lead to a file of scores; how many there are.

    Without ``withheld``, decisions whose numbers were withheld from the answer are left out.
    """
    from serving.decision_log.frames import latest_scores, open_existing_log
    from training.file_output import frame_writer

    count, name = 0, "" if model == "default" else _logged_name(place, model)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_existing_log(place) as opened, frame_writer(out) as append:
        for frame in latest_scores(opened, name):
            scores = frame if withheld else frame.drop_nulls("probability")
            append(scores)
            count += scores.height
    return count


app.command()(with_decisions(push, partial(_write_decisions, withheld=False)))


HistoryConfig = Annotated[
    Path,
    typer.Option(
        "--config", help="leadloop.toml with the tables of the CRM.", metavar="FILE", callback=configuration
    ),
]
StoreLog = Annotated[
    str,
    typer.Option(
        "--log", help="The decision log, which holds the store.", envvar="LEADLOOP_LOG", metavar="PLACE"
    ),
]
Tenant = Annotated[str, typer.Option("--tenant", help="The tenant of the leads.", metavar="LABEL")]


@store_app.command(name="load")
def store_load(
    config: HistoryConfig = Path("leadloop.toml"),
    log: StoreLog = str(OUT / "decisions.db"),
    tenant: Tenant = "",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Load the CRM's tables into the lead store.

    What was loaded before is not loaded again, so that an interrupted load is finished by another one.
    """
    from serving.lead_store.lead_details import is_name_or_owner
    from training.cli.store import StoreSource

    _synchronise(StoreSource(config, OUT, is_name_or_owner), log, tenant, project, json_, tells=True)


@store_app.command(name="sync")
def store_sync(
    config: HistoryConfig = Path("leadloop.toml"),
    every: Annotated[
        str | None, typer.Option(help="Repeat after this time: 5m, 1h, 1d.", metavar="DURATION")
    ] = None,
    log: StoreLog = str(OUT / "decisions.db"),
    tenant: Tenant = "",
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Update the lead store from the CRM's tables.

    Once, or --every so often. What has changed since the last time is known from now on.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from features.ingest.quarantine import SourceError
    from serving.decision_log.settings import LogError
    from serving.lead_store.lead_details import is_name_or_owner
    from training.cli.store import StoreSource, parse_interval, repeat

    interval = None if every is None else parse_interval(every)
    source, transient = (
        StoreSource(config, OUT, is_name_or_owner),
        (SourceError, OSError, LogError, SQLAlchemyError),
    )
    repeat(lambda: _synchronise(source, log, tenant, project, json_), interval, print_status, transient)


@store_app.command(name="scores")
def store_scores(
    out: Annotated[
        Path,
        typer.Option(help="CSV or Parquet, for `leadloop push`.", metavar="FILE", callback=writable_path),
    ] = OUT / "current-scores.csv",
    log: StoreLog = str(OUT / "decisions.db"),
    tenant: Tenant = "",
    model: Annotated[
        str, typer.Option(help="A further model of the service, by its name.", metavar="NAME")
    ] = "default",
    json_: Json = None,
) -> None:
    """Write the current scores of all open leads. The service keeps them."""
    existing_log(log)
    name = "" if model == "default" else _logged_name(log, model)
    from serving.current_scores.frames import current_score_frames
    from serving.decision_log.frames import open_existing_log
    from training.file_output import frame_writer

    count = 0
    with open_existing_log(log) as opened, frame_writer(out) as append:
        for scores in current_score_frames(opened, tenant, name):
            append(scores)
            count += scores.height
    print_status(f"{count:,} current scores written to {out}")
    print_next(f"leadloop push CRM --scores {out} shows what it would send to your CRM")
    print_result({"scores": count, "out": str(out)}, json_)


def _synchronise(
    source: StoreSource, log: str, tenant: str, project: str | None, json_: str | None, *, tells: bool = False
) -> None:
    """Read the tables, bring the store to what they hold, and say what changed."""
    from dataclasses import asdict

    from serving.decision_log.database import open_log, writing
    from serving.lead_store.loading import synchronise

    tables = source.read(print_status if tells else None)
    store = open_log(log, project_tracking(project, draw=False).project)
    try:
        with show_progress("loading leads", "leads") as say:
            counts = synchronise(
                writing(store), tables.history, tables.merges, tenant, tables.read_at, count_into(say)
            )
    finally:
        store.dispose()
    print_status(counts.in_words())
    if tells:
        print_next("leadloop serve scores them, and `leadloop store sync --every 15m` keeps them current")
    print_result(asdict(counts), json_)


@app.command()
def serve(
    model: Annotated[
        str,
        typer.Option(
            help="Follow the promotions of champion, or serve a folder.",
            envvar="LEADLOOP_MODEL",
            metavar="DIR",
            callback=model_folder,
        ),
    ] = "champion",
    port: Port = 3000,
    host: Annotated[
        str, typer.Option(help="The address; the default answers this machine only.")
    ] = "127.0.0.1",
    workers: Annotated[int, typer.Option(help="Number of worker processes.", min=1)] = 1,
    keys: Annotated[
        Path | None,
        typer.Option(help="The file of API keys.", envvar="LEADLOOP_KEYS", callback=readable_path),
    ] = None,
    *,
    no_keys: Annotated[
        bool,
        typer.Option(
            "--no-keys", help="Answer requests without a key, from anywhere.", envvar="LEADLOOP_NO_KEYS"
        ),
    ] = False,
    rate: Annotated[
        int | None,
        typer.Option(help="Most requests of a key per minute.", min=1, envvar="LEADLOOP_RATE"),
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            help="A second model (challenger or a folder) that is only logged.", envvar="LEADLOOP_SHADOW"
        ),
    ] = None,
    log: Annotated[
        str, typer.Option(help="The decision log: a file, a URL, or off.", envvar="LEADLOOP_LOG")
    ] = str(OUT / "decisions.db"),
    keep_days: Annotated[
        int | None,
        typer.Option(help="Delete records after so many days.", min=1, envvar="LEADLOOP_LOG_KEEP_DAYS"),
    ] = None,
    explore: Annotated[
        float,
        typer.Option(
            help="Share of each call list that is drawn at random.", min=0, max=1, envvar="LEADLOOP_EXPLORE"
        ),
    ] = 0.0,
    control: Annotated[
        float,
        typer.Option(
            help="Share of leads in the control group, on no list.", min=0, max=1, envvar="LEADLOOP_CONTROL"
        ),
    ] = 0.0,
    handover: Annotated[
        Path | None,
        typer.Option(
            help="The file of owners, territories and exclusions.",
            envvar="LEADLOOP_HANDOVER",
            callback=readable_path,
        ),
    ] = None,
    rescore: Annotated[
        bool, typer.Option(help="Keep the scores of the store's leads current.", envvar="LEADLOOP_RESCORE")
    ] = True,
    console: Annotated[
        bool, typer.Option(help="Serve the console at /console.", envvar="LEADLOOP_CONSOLE")
    ] = True,
    project: ProjectName = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="A further host name to answer to (repeatable).", envvar="LEADLOOP_ALLOWED_HOSTS"),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="A further model, NAME=PROJECT or NAME=FOLDER (repeatable).",
            envvar="LEADLOOP_MODELS",
            metavar="NAME=PLACE",
        ),
    ] = None,
    webhooks: Annotated[
        Path | None,
        typer.Option(
            help="The file of webhooks, outgoing and incoming.",
            envvar="LEADLOOP_WEBHOOKS",
            callback=readable_path,
        ),
    ] = None,
) -> None:
    """Serve scores and explanations over REST."""
    _require_free_port(host, port)
    from serving.decision_log.settings import LogSettings
    from serving.server import Address
    from serving.server import serve_model as run
    from serving.settings import ServiceSettings, host_names, named_models

    def announce(url: str) -> None:
        print_status(f"answering at {url} (API page: {url}/); stop with Ctrl+C")
        if console:
            print_status(f"console for people: {url}/console")
        print_status(log_settings.in_words())

    name = project_tracking(project, draw=False).project
    log_settings = LogSettings(log, keep_days, name)
    settings = ServiceSettings(
        _model_to_serve(model, name),
        shadow,
        keys,
        no_keys,
        rate,
        log_settings,
        explore,
        name,
        host_names(" ".join(allowed_host or ())),
        control,
        handover,
        rescore=rescore,
        also=named_models(also or ()),
        webhooks=webhooks,
        console=console,
    )
    run(settings, Address(host, port), workers, announce)


def _require_free_port(host: str, port: int) -> None:
    """Refuse a port that another program has, before the model is loaded."""
    import errno
    import socket
    from contextlib import closing

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                usage_error(f"port {port} is in use; name another one with --port")


def _model_to_serve(model: str, project: str) -> str:
    """The model to serve: "champion" where the model store has one to follow; else a model folder."""
    from models.active_model import POINTER
    from models.project import store_name
    from serving.settings import CHAMPION, model_store_dir

    # Whatever the pointer holds: the service says so, and begins with the last model that passed its trial.
    if model == CHAMPION and project and (model_store_dir() / store_name(project) / POINTER).exists():
        return CHAMPION
    return str(commands.resolve_model_dir(model, project or None))


@app.command()
def doctor(
    log: Annotated[
        str, typer.Option(help="The decision log, a path or URL.", envvar="LEADLOOP_LOG", metavar="PLACE")
    ] = str(OUT / "decisions.db"),
    port: Port = 3000,
    project: ProjectName = None,
    json_: Json = None,
) -> None:
    """Check that everything leadloop needs is in place. Exit code 1 if something fails."""
    from training.cli.doctor import diagnose, to_plain, worst_state

    results = []
    for result in diagnose(
        OUT, lambda: project_tracking(project, draw=False), lambda: _describe_log(log), port
    ):
        print_status(result.in_words())
        results.append(result)
    print_result(to_plain(results), json_)
    raise typer.Exit(int(worst_state(results) == "failed"))


def _describe_log(place: str) -> str:
    """A sentence about a decision log, which is only read. Raises LogError where it cannot be."""
    from serving.decision_log.inspection import describe_log

    return describe_log(place)


@app.command()
def demo(
    leads: Annotated[int, typer.Option(help="Number of leads of the company.", min=500)] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same company.")] = 1,
    out: OutputFolder = OUT,
    port: Port = 0,
    *,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay", help="Keep the console open. Default: in a terminal.", show_default=False
        ),
    ] = None,
    json_: Json = None,
) -> None:
    """Try everything on a simulated company. Ends with a console full of leads."""
    import sys

    from models.project import Project, demo_project
    from serving.server import outlast
    from training.demo import run_demo as run
    from training.registry.tracking import tracking

    project = demo_project(OUT)
    with show_progress("the demo") as say:
        store = tracking(OUT, project=lambda _: Project(project, "the demo"))
        result = run(leads, seed, out, store, say)
    place = _fill_demo_store(result, out, project)
    stays = sys.stdin.isatty() and sys.stderr.isatty() if stay is None else stay
    with _demo_service(result.trained.model_dir, place, project, out / "service.log", port) as service:
        lead = _explain_over_rest(service.url, result.request)
        open_leads = _wait_for_scores(place, project)
        print_status(f"open the report: {out / 'report.html'}")
        print_result(result.to_dict() | {"scored_lead": lead, "console_leads": open_leads}, json_)
        if stays:
            print_status(
                f"open the console, with {open_leads:,} open leads: {service.url}/console (stop with Ctrl+C)"
            )
            with suppress(KeyboardInterrupt):
                outlast(service)
    if not stays:
        print_status(
            f"see its {open_leads:,} open leads in the console: leadloop serve --log {place}, then /console"
        )


def _fill_demo_store(result: DemoResult, out: Path, project: str) -> str:
    """The place of a new lead store with the company's recent leads."""
    import time

    import polars as pl

    from features.merges import MERGE_SCHEMA
    from serving.decision_log.database import open_log, writing
    from serving.lead_store.loading import synchronise

    file = out / "demo.db"
    # Those of an earlier demo lived then.
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    store = open_log(str(file), project)
    living, merges = result.living, pl.DataFrame(schema=MERGE_SCHEMA)
    print_status(f"filling the lead store {file} with the {living.leads.height:,} recent leads ...")
    try:
        with show_progress("filling the store", "leads") as say:
            synchronise(writing(store), living, merges, "", int(time.time()), count_into(say))
    finally:
        store.dispose()
    return str(file)


@contextmanager
def _demo_service(model: Path, place: str, project: str, log: Path, port: int) -> Iterator[ServiceProcess]:
    """A service on this machine with the demo's model and store, until the context ends."""
    import signal

    from serving.decision_log.settings import LogSettings
    from serving.server import Address, run_service
    from serving.settings import ServiceSettings

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print_status("starting the service, asking it over REST to explain one lead ...")
    settings = ServiceSettings(str(model), log=LogSettings(place, None, project), project=project)
    with log.open("wb") as file, run_service(settings, Address(port=port), log=file) as service:
        yield service


def _explain_over_rest(url: str, request: dict[str, Any]) -> dict[str, Any]:
    """The explanation of the lead in ``request`` by the service at ``url``."""
    from serving.server import post_json

    lead: dict[str, Any] = post_json(url, "/v1/explain", request | {"top": 5})["results"][0]
    print_status(
        f"{lead['lead_id']}: {lead['probability']:.1%}, {lead['points']} points, grade {lead['grade']}"
    )
    for reason in lead["reasons"]:
        print_status(f"  {reason['points']:+6.1f}  {reason['text']}")
    return lead


def _wait_for_scores(place: str, project: str) -> int:
    """How many open leads have a score, once the service has scored all of the store."""
    import time

    from serving.current_scores.due import count_open, count_waiting
    from serving.decision_log.database import open_log

    print_status("the service scores the leads of its store ...")
    log = open_log(place, project)
    try:
        deadline = time.monotonic() + 600
        while count_waiting(log) and time.monotonic() < deadline:
            time.sleep(0.5)
        return count_open(log)
    finally:
        log.dispose()


def _table_training_data(place: str, model: Path, config: Config) -> Dataset:
    """The rows to learn from of a table of a model's features, with their labels."""
    from models.artifact import load
    from training.data.feature_table import dataset_from_table, find_feature_table, open_feature_table

    database = None if config.leads is None else config.leads.database
    loaded = load(model)
    table = open_feature_table(find_feature_table(place, database), loaded.features)
    return dataset_from_table(table, loaded.card, config)


def _log_training_data(
    reading: _LogReading, config: Path | None, horizon: int | None, *, chance: bool
) -> tuple[Config, Dataset]:
    """The configuration and the rows to learn from of a decision log; without a file, a default one."""
    from training.config.settings import Config, FlatConfig
    from training.data.log_dataset import dataset_from_log
    from training.data.monotone_constraints import monotone_constraints
    from training.learner.selection_test import selection_p_value

    settings = default_config(config)
    frames, definition = _log_frames(reading, settings, horizon, chance=chance)
    settings = settings or Config(flat=FlatConfig(Path(reading.place), definition.text))
    data = dataset_from_log(
        frames, definition, reading.model.card, settings.training.weights, selection_test=selection_p_value
    )
    return settings, replace(
        data,
        monotone=monotone_constraints(data.features, settings.training.monotone),
        notices=(*reading.notices, *data.notices),
    )


def _log_monitoring_data(reading: _LogReading, config: Config | None, horizon: int | None) -> MonitoringData:
    """The decisions of a model in a decision log, with the outcomes that count for it."""
    from training.monitoring.inputs import read_log

    data = read_log(reading.model, *_log_frames(reading, config, horizon))
    return replace(data, notices=(*reading.notices, *data.notices))


def _log_frames(
    reading: _LogReading, config: Config | None, horizon: int | None, *, chance: bool = False
) -> tuple[DecisionLogFrames, OutcomeDefinition]:
    """The decision log as frames with a model's features, and how its decisions are labelled."""
    from serving.decision_log.frames import (
        decisions_frame,
        handover_lists_frame,
        handovers_frame,
        open_existing_log,
    )
    from training.data.log_dataset import DecisionLogFrames

    features, name = reading.model.features, reading.name
    definition = _outcome_definition(reading.model, config, horizon)
    read_rows = handovers_frame if chance else decisions_frame
    with open_existing_log(reading.place) as opened:
        rows = read_rows(opened, features, name)
        lists = handover_lists_frame(opened, name) if chance else None
    return DecisionLogFrames(rows, reading.outcomes, features, lists), definition


def _served_model_dir(model: str, project: str | None) -> Path:
    """The folder of a model; of a name in LEADLOOP_MODELS, that of the model which answers under it."""
    names = _served_models()
    if model in names and not Path(model).is_dir():
        return commands.resolve_model_dir(names[model].model, names[model].project or None)
    if model != "champion" and "/" not in model and not Path(model).exists():
        usage_error(_no_such_name(model, names))
    return commands.resolve_model_dir(model, project)


def _project_of(model: str) -> str:
    """The project of a model that LEADLOOP_MODELS names; "" of any other."""
    named = _served_models().get(model)
    return "" if named is None else named.project


def _served_models() -> dict[str, NamedModel]:
    """The further models of the service by their names, as LEADLOOP_MODELS names them."""
    import os

    from serving.settings import MODELS, named_models

    return {each.name: each for each in named_models(os.environ.get(MODELS, "").replace(",", " ").split())}


def _no_such_name(model: str, named: Collection[str]) -> str:
    """Why a model cannot be found by its name, with the names that there are."""
    from features.suggestions import suggest_nearest
    from serving.settings import MODELS

    there = f"; it names {', '.join(named)}{suggest_nearest(model, named)}" if named else ""
    return (
        f"there is no model folder {model}, and {MODELS} names no model so{there}; set it as for the "
        f"service: {MODELS}='{model}=PROJECT', or name the model's folder"
    )


def _logged_name(place: str, model: str, loaded: ConversionModel | None = None) -> str:
    """The name that requests asked for in a log: ``model``, or the one that a loaded model answered under.

    A model that answered as the default one, or that the log does not know, has the name "".
    """
    from serving.decision_log.frames import open_existing_log
    from serving.decision_log.queries import model_names

    with open_existing_log(place) as opened:
        known = model_names(opened)
        if model in known:
            return model
        if loaded is None:
            usage_error(_no_logged_name(model, [name for name in known if name]))
        return next(iter(model_names(opened, loaded.version)), "")


def _no_logged_name(model: str, names: Sequence[str]) -> str:
    """Why a log has no decisions by a model, with the names of those that it has."""
    from features.suggestions import suggest_nearest

    there = f"decisions by {' and '.join(names)}" if names else "decisions by the default model alone"
    return f"the log has no decision by a model called {model!r}, but {there}{suggest_nearest(model, names)}"


complete_help(app)


def main() -> None:
    """The entry point of the ``leadloop`` command."""
    with report_errors():
        ended = app(standalone_mode=False)
        raise SystemExit(ended if isinstance(ended, int) else 0)


if __name__ == "__main__":
    main()
