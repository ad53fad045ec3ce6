"""The commands on a decision log: they alone see both the service's log and what training makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training import commands
from training.options import OUT, Horizon, Json, ModelName
from training.terminal import emit, refuse, say

if TYPE_CHECKING:
    from models.conversion import ConversionModel
    from training.config import Config
    from training.dataset import Dataset
    from training.from_log import Logged, Question
    from training.monitored import Monitored

log_app = typer.Typer(help="What the service decided.", no_args_is_help=True, rich_markup_mode=None)
LogPlace = Annotated[
    str,
    typer.Option("--log", help="The decision log, a path or URL.", envvar="LEADLOOP_LOG", metavar="PLACE"),
]


def decisions(
    out: Annotated[Path, typer.Option(help="Scores, CSV or Parquet.", metavar="FILE")],
    log: Annotated[
        str | None, typer.Option(help="The decision log, a path or URL.", envvar="LEADLOOP_LOG")
    ] = None,
) -> None:
    """Write the newest decision about each lead as a file of scores, for push and monitor."""
    from serving.log.scores import existing, newest
    from serving.log.settings import DEFAULT_PLACE
    from training.sink import sink

    written = 0
    with existing(log or DEFAULT_PLACE) as opened, sink(out) as append:
        for scores in newest(opened):
            append(scores)
            written += scores.height
    say(f"{written:,} decisions written to {out}")


def monitor(
    scores: Annotated[
        Path | None, typer.Option(help="What `leadloop score` wrote; or --log.", metavar="FILE")
    ] = None,
    outcomes: Annotated[Path | None, typer.Option(help="What became of the leads.", metavar="FILE")] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="Column that names the lead.", metavar="COLUMN")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column with the outcome.", metavar="COLUMN")] = None,
    time: Annotated[str | None, typer.Option(help="Column with a date.", metavar="COLUMN")] = None,
    log: Annotated[
        str | None, typer.Option(help="The decision log: scores and outcomes.", metavar="PLACE")
    ] = None,
    horizon: Horizon = None,
    config: Annotated[
        Path | None, typer.Option(help="leadloop.toml with the [label], for --log.", metavar="FILE")
    ] = None,
    model: ModelName = "champion",
    html: Annotated[Path | None, typer.Option(help="Write a page, too.", metavar="FILE")] = None,
    json_: Json = None,
) -> None:
    """See whether a model still holds; exit code 0 is healthy, 3 watch, 4 retrain."""
    if log is not None and (scores is not None or outcomes is not None):
        refuse("--log holds scores and outcomes; leave --scores and --outcomes out")
    if log is not None:
        found = _watched(log, commands.model_dir(model), config, horizon)
    elif scores is None or outcomes is None or id_ is None or label is None:
        refuse("name --scores, --outcomes, --id and --label, or --log")
    else:
        from models.artifact import load
        from training.watched import OutcomeFile, watch

        loaded = load(commands.model_dir(model))
        found = watch(loaded, scores, OutcomeFile(outcomes, id_, label, time))
    for line in found.in_words():
        say(line)
    if html is not None:
        from training.page.monitor_page import monitor_page
        from training.sink import write_text

        write_text(html, monitor_page(found))
    emit(found.to_dict(), json_)
    raise typer.Exit(found.exit_code)


def _watched(place: str, model: Path, config: Path | None, horizon: int | None) -> Monitored:
    from models.artifact import load
    from training.watched import watch_log

    loaded = load(model)
    return watch_log(loaded, *_logged(place, loaded, _configured(config), horizon))


def learnt(place: str, model: Path, config: Path | None, horizon: int | None) -> tuple[Config, Dataset]:
    """What a service decided by a model's features, and what came of it, as rows to learn from.

    The configuration is the file's, or, where there is none, as plain as can be.
    """
    from dataclasses import replace

    from models.artifact import load
    from training.config import Config, Flat
    from training.from_log import of_log
    from training.learning.monotone import monotone

    loaded, chosen = load(model), _configured(config)
    logged, asked = _logged(place, loaded, chosen, horizon)
    chosen = chosen or Config(flat=Flat(Path(place), asked.text))
    data = of_log(logged, asked, loaded.card, chosen.training.weights)
    return chosen, replace(data, monotone=monotone(data.features, chosen.training.monotone))


def _configured(config: Path | None) -> Config | None:
    """The configuration in a file, in the usual one if that is there, or none."""
    from training.config import load

    usual = Path("leadloop.toml")
    return load(config or usual) if config is not None or usual.is_file() else None


def _logged(
    place: str, model: ConversionModel, config: Config | None, horizon: int | None
) -> tuple[Logged, Question]:
    """The log as frames of a model's features, and what is asked of each decision."""
    from features.clock import DAY
    from serving.log.frames import decided, happened
    from serving.log.scores import existing
    from training.from_log import Logged, question

    label = None if config is None or config.label is None else config.label_spec
    asked = question(model.card, label, None if horizon is None else horizon * DAY)
    with existing(place) as opened:
        return Logged(decided(opened, model.features), happened(opened), model.features), asked


@log_app.command(name="stats")
def log_stats(log: LogPlace = str(OUT / "decisions.db"), json_: Json = "-") -> None:
    """Say how much is in the log; nothing of it is about a person."""
    from serving.log.reading import stats
    from serving.log.scores import existing

    with existing(log) as opened:
        emit(stats(opened), json_)


@log_app.command(name="replay")
def log_replay(
    model: Annotated[str, typer.Option(help="The folder of the model that decided.", metavar="DIR")],
    log: LogPlace = str(OUT / "decisions.db"),
    json_: Json = None,
) -> None:
    """Make each decision of a model once more from its logged row; exit code 3 where one differs."""
    from models.artifact import load
    from serving.log.replay import replay
    from serving.log.scores import existing

    loaded = load(commands.model_dir(model))
    with existing(log) as opened:
        replayed = replay(opened, loaded)
    say(f"model {loaded.version}: {replayed.same:,} decisions came out the same to the bit")
    for number in replayed.different:
        say(f"decision {number} came out different")
    emit({"model_version": loaded.version, "same": replayed.same, "different": replayed.different}, json_)
    raise typer.Exit(3 if replayed.different else 0)


@log_app.command(name="prune")
def log_prune(
    keep_days: Annotated[int, typer.Option(help="Older records are removed.", min=1)],
    log: LogPlace = str(OUT / "decisions.db"),
) -> None:
    """Forget what is older than it may be; a running service does so by itself every day."""
    from serving.log.scores import existing
    from serving.log.writing import prune_all

    with existing(log) as opened:
        erased = prune_all(opened, keep_days)
    say(f"{erased.decisions:,} decisions and {erased.outcomes:,} outcomes removed")
