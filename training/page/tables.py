"""The report's tables: what each shows, row by row, as text in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.page.drivers import QUANTILES
from training.page.summary import version_of
from training.page.table import Table

if TYPE_CHECKING:
    from training.page.drivers import Driver
    from training.page.health import Note
    from training.page.interplay import Interplay, Meeting
    from training.page.reliability import Group
    from training.page.words import Words
    from training.report import Report

    Row = tuple[str, ...]
    Named = list[tuple[str, Group]]

_EVERY = 20


def gains(report: Report, t: Words) -> Table:
    """The gains curve in steps of a tenth; by the week where leads have dates."""
    worth, weekly = report.worth, report.worth.weekly or 0.0
    points = [(share, captured) for share, captured in worth.gains[_EVERY - 1 :: _EVERY]]
    head = [t("worth.share"), t("worth.captured")]
    rows: list[Row] = [(t.percent(share), t.percent(captured, 1)) for share, captured in points]
    if weekly:
        converted = weekly * report.summary.base_rate
        head += [t("worth.calls_a_week"), t("worth.hits_a_week")]
        rows = [
            (*row, t.number(share * weekly, 1), t.number(captured * converted, 1))
            for row, (share, captured) in zip(rows, points, strict=True)
        ]
    return Table(t("worth.gains_table"), tuple(head), tuple(rows))


def lifts(report: Report, t: Words) -> Table:
    """What calling the best 10, 20, 30 % brings, and the best at capacity."""
    capacity = report.summary.at_capacity.share
    rows = tuple(
        (
            t.share(lift.share) + (f" ({t('worth.capacity')})" if lift.share == capacity else ""),
            t.number(lift.leads),
            t.number(lift.hits),
            t.rate(lift.rate),
            f"{t.number(lift.lift, 1)}×",  # noqa: RUF001  # the multiplication sign is meant
            t.percent(lift.captured),
        )
        for lift in report.worth.lifts
    )
    head = ("share", "leads", "hits", "rate", "lift", "captured")
    return Table(t("worth.lift_table"), tuple(t(f"worth.{name}") for name in head), rows)


def measures(report: Report, t: Words) -> Table:
    """The measures of ranking and of probabilities, against a model that knows nothing."""
    worth, base = report.worth, report.summary.base_rate
    rows = (
        (t("worth.roc_auc"), t.interval(worth.roc_auc), t.number(0.5, 3)),
        (t("worth.average_precision"), t.interval(worth.average_precision), t.number(base, 3)),
        (t("worth.log_loss"), t.interval(worth.log_loss), t.number(worth.constant, 3)),
    )
    return Table(t("worth.measures"), (t("worth.measure"), t("worth.value"), t("worth.without")), rows)


def bins(report: Report, t: Words) -> Table:
    """Forecast and outcome of ten groups, and of all together."""
    rows = [_group(group, group.name, t) for group in report.calibration.bins]
    total = _group(report.calibration.total, t("calibration.all"), t)
    return Table(t("calibration.table"), _group_head(t, "group"), (*rows, total))


def grades(report: Report, t: Words) -> Table:
    """Forecast and outcome of each grade."""
    rows = tuple(_group(group, group.name, t) for group in report.calibration.grades)
    return Table(t("calibration.grades_table"), _group_head(t, "grade"), rows)


def months(report: Report, t: Words) -> Table:
    """Forecast and outcome of each month."""
    rows = tuple(_group(group, name, t) for name, group in named_months(report, t))
    return Table(t("calibration.months_table"), _group_head(t, "month"), rows)


def segments(report: Report, t: Words) -> Table:
    """Forecast and outcome of each segment."""
    rows = tuple(_group(group, name, t) for name, group in named_segments(report, t))
    return Table(t("calibration.segments_table"), _group_head(t, "segment"), rows)


def named_months(report: Report, t: Words) -> Named:
    """The months by their names."""
    return [(t.month(group.name), group) for group in report.calibration.months]


def named_segments(report: Report, t: Words) -> Named:
    """The segments by what the company calls them, and the rest."""
    found = report.calibration.segments
    if found is None:
        return []
    rest = [] if found.others is None else [(t("calibration.others"), found.others)]
    return [*((group.name, group) for group in found.groups), *rest]


def families(report: Report, t: Words) -> Table:
    """Every family of features by its weight."""
    rows = tuple(
        (t.named("families", family.name), t.number(family.importance, 1), t.number(family.features))
        for family in report.drivers.families
    )
    return Table(
        t("drivers.families_title"), (t("drivers.family"), t("drivers.points"), t("drivers.count")), rows
    )


def features(report: Report, t: Words) -> Table:
    """Every feature by its weight."""
    rows = tuple(
        (
            t.title(driver.spec),
            t.named("families", driver.spec.family),
            t.interval(driver.likely, 1),
            t(f"directions.{driver.direction}"),
        )
        for driver in report.drivers.features
    )
    head = ("feature", "family", "points", "direction")
    return Table(t("drivers.features_title"), tuple(t(f"drivers.{name}") for name in head), rows, wordy=True)


def spreads(report: Report, t: Words) -> Table:
    """The points that leads got for each feature, at five quantiles."""
    rows = tuple(
        (t.title(driver.spec), *(t.signed(points) for points in driver.spread))
        for driver in report.drivers.features
    )
    head = (t("drivers.feature"), *(t.percent(share) for share in QUANTILES))
    return Table(t("drivers.spreads_table"), head, rows)


def interplays(report: Report, t: Words) -> Table:
    """Pairs of features that count otherwise together than alone."""
    rows = tuple(
        (
            f"{t.title(pair.first)} × {t.title(pair.second)}",  # noqa: RUF001
            t.number(pair.points, 1),
            *(_meeting(pair, one, t) for one in (pair.most, pair.least)),
        )
        for pair in report.drivers.interplays
    )
    head = tuple(t(f"drivers.{name}") for name in ("pair", "points", "more", "less"))
    return Table(t("drivers.interplays_title"), head, rows, wordy=True)


def _meeting(pair: Interplay, one: Meeting, t: Words) -> str:
    first, second = t.example(pair.first, one.first), t.example(pair.second, one.second)
    return t("drivers.meeting", first=first, second=second, points=t.signed(one.points))


def shape(driver: Driver, t: Words) -> Table:
    """One feature's points by its value."""
    rows = tuple(
        (t.part(driver.spec, part), t.number(part.rows), t.signed(part.points)) for part in driver.shape
    )
    caption = t("drivers.shape_table", feature=t.title(driver.spec))
    return Table(caption, (t("drivers.value"), t("drivers.rows"), t("drivers.points")), rows)


def quarantined(report: Report, t: Words) -> Table:
    """Rows that were set aside, by reason."""
    rows = tuple((reason, t.number(count)) for reason, count in report.health.quarantined)
    return Table(t("health.quarantine"), (t("health.reason"), t("health.rows")), rows)


def findings(report: Report, t: Words) -> Table:
    """What the checks found."""
    rows = tuple(
        (note.code, t.named("severities", note.severity), note.column, _found(note, t))
        for note in report.health.findings
    )
    head = ("code", "severity", "column", "message")
    return Table(t("health.findings"), tuple(t(f"health.{name}") for name in head), rows, wordy=True)


def _found(note: Note, t: Words) -> str:
    """What a check found, with what it said of these data; a code of another release speaks for itself."""
    return t.otherwise(note.message, f"findings.{note.code}", message=note.message)


def columns(report: Report, t: Words) -> Table:
    """How filled each column of the model is."""
    rows = tuple(
        (
            column.column,
            t.percent(column.missing, 1),
            t.number(column.distinct),
            t(f"states.{column.state}"),
            "" if column.unseen is None else t.percent(column.unseen, 1),
        )
        for column in report.health.columns
    )
    head = ("column", "missing", "distinct", "state", "unseen")
    return Table(t("health.columns"), tuple(t(f"health.{name}") for name in head), rows)


def excluded(report: Report, t: Words) -> Table:
    """Columns of the source that the model does not use."""
    return Table(
        t("health.excluded"), (t("health.column"), t("health.why")), report.health.excluded, wordy=True
    )


def facts(report: Report, t: Words) -> Table:
    """The model in short."""
    card = report.card
    span = t("card.span", first=t.day(card.window[0]), last=t.day(card.window[1])) if card.window else ""
    rows = (
        (t("card.outcome"), t.question(card.label)),
        (t("card.window"), span or t("card.no_window")),
        (t("card.rows"), t.number(card.rows)),
        (t("card.positives"), f"{t.number(card.positives)} ({t.percent(card.base_rate, 1)})"),
        (t("card.split"), t("card.ordered" if card.time_ordered else "card.unordered")),
        (t("card.recipe"), card.recipe),
        (t("card.version"), report.version),
        (t("card.fingerprint"), report.fingerprint),
    )
    return Table(t("card.facts"), (t("card.fact"), t("worth.value")), rows, wordy=True)


def versions(report: Report, t: Words) -> Table:
    """This model beside those before it, each as its own report measured it."""
    rows = tuple(
        (
            one.version,
            t.day(one.created_at),
            t.number(one.rows),
            t.percent(one.base_rate, 1),
            t.rate(one.called),
            t.interval(one.roc_auc),
            t.interval(one.log_loss),
        )
        for one in (version_of(report), *report.summary.before)
    )
    head = ("version", "made", "rows", "base_rate", "called", "roc_auc", "log_loss")
    return Table(t("versions.title"), tuple(t(f"versions.{name}") for name in head), rows)


def candidates(report: Report, t: Words) -> Table:
    """The recipes that were tried, the best first."""
    chosen = f" ({t('card.chosen')})"
    rows = tuple(
        (name + (chosen if name == report.card.recipe else ""), t.number(loss, 4))
        for name, loss in sorted(report.card.candidates.items(), key=lambda item: item[1])
    )
    return Table(t("card.candidates"), (t("card.candidate"), t("card.loss")), rows)


def catalogue(report: Report, t: Words) -> Table:
    """The model's features by name, with what each says."""
    specs = sorted((driver.spec for driver in report.drivers.features), key=lambda spec: spec.name)
    rows = tuple((spec.name, t.named("families", spec.family), t.title(spec)) for spec in specs)
    head = (t("drivers.feature"), t("drivers.family"), t("card.says"))
    return Table(t("card.features"), head, rows, wordy=True)


def checks(report: Report, t: Words) -> Table:
    """What was looked for before the model learned, and what it came to."""
    rows = tuple(
        (
            check["code"],
            t.otherwise(check["title"], f"checks.{check['code']}"),
            t(f"outcomes.{check['outcome'].replace(' ', '_')}"),
            check["reason"],
        )
        for check in report.card.checks
    )
    head = (t("health.code"), t("card.looked_for"), t("card.outcome_of"), t("health.why"))
    return Table(t("card.checks"), head, rows, wordy=True)


def libraries(report: Report, t: Words) -> Table:
    """What the model was made with."""
    rows = tuple(sorted(report.card.libraries.items()))
    return Table(t("card.libraries"), (t("card.library"), t("card.version")), rows, wordy=True)


def _group_head(t: Words, first: str) -> Row:
    return tuple(t(f"calibration.{name}") for name in (first, "rows", "forecast", "outcome"))


def _group(group: Group, name: str, t: Words) -> Row:
    return name, t.number(group.rows), t.percent(group.forecast, 1), t.rate(group.observed)
