"""The last steps before an SQL, beside those of leads that were still open at the same age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.catalogue import REQUESTS
from features.engine import known
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.insight.lives import Lives, Matched, matched
from training.insight.roads import NEVER
from training.insight.verdicts import FEWEST_SQLS, Verdict, rate_ratio, verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.insight.roads import Times

LAST = 3
MOST_WON, MOST_PATHS = 4000, 12


@dataclass(frozen=True, slots=True)
class Path:
    """The last different steps of a lead, in their order; none at all is a path too.

    ``won`` leads had taken it when they became an SQL, which is ``share`` of those looked at; ``others`` is
    the share among leads that were open at the same age.
    """

    steps: tuple[str, ...]
    won: int
    share: float
    others: float
    ratio: Interval | None
    verdict: Verdict


def paths(among: Lives, touches: pl.DataFrame) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """The kinds of touchpoint that count as steps, and the most frequent paths to an SQL.

    ``touches`` are touchpoints with the place of their ``lead``. Beside each SQL stand leads created in the
    same month that were open at the same age: incidence density sampling (Prentice and Breslow 1978).
    """
    won = np.flatnonzero(among.won_at < NEVER)
    if len(won) > MOST_WON:
        won = np.sort(np.random.default_rng(0).choice(won, MOST_WON, replace=False))
    kinds = steps(touches)
    walked = touches.filter(pl.col("kind").is_in(kinds)).select("lead", "occurred_at", "known_at", "kind")
    met = matched(among, won, among.won_at[won], among.won_at, None)
    return kinds, _paths(met, walked, len(among.created))


def steps(touches: pl.DataFrame) -> tuple[str, ...]:
    """What counts as a step: requests and whatever an offer was taken by; every kind where that is nothing.

    Visits and opened mails are so many that every path would be made of them.
    """
    told = touches.filter(pl.col("offer").is_not_null() | pl.col("kind").is_in(REQUESTS))
    return tuple((touches if told.is_empty() else told)["kind"].unique().sort())


def last_steps(walked: pl.DataFrame, lead: Times, moment: Times) -> pl.Series:
    """(n,) the last different steps that each of ``lead`` was known to have taken before its moment.

    A step repeated at once counts once. Steps of one second come by name.
    """
    asked = pl.DataFrame({"lead": lead, "as_of": moment}).with_row_index("row")
    seen = asked.join(walked, on="lead").filter(
        known(pl.col("occurred_at"), pl.col("known_at"), pl.col("as_of"))
    )
    moved = seen.sort("row", "occurred_at", "kind").filter(
        (pl.col("kind") != pl.col("kind").shift()).over("row").fill_null(value=True)
    )
    last = moved.group_by("row", maintain_order=True).agg(pl.col("kind").tail(LAST))
    return asked.join(last, on="row", how="left", maintain_order="left")["kind"].fill_null([])


def _paths(met: Matched, walked: pl.DataFrame, leads: int) -> tuple[Path, ...]:
    mine = last_steps(walked, met.lead, met.moment)
    others = np.full(met.other.shape, "", dtype=object)
    others[met.kept] = _named(last_steps(walked, met.other[met.kept], met.then[met.kept]))
    names = _named(mine)
    counted = mine.value_counts(name="won", sort=True).sort("won", descending=True)
    made = []
    for path, won in counted.head(MOST_PATHS).iter_rows():
        name = _joined(path)
        one, other = met.groups((names == name).astype(float), (others == name).astype(float))
        enough = min(won, other.weight @ other.y) >= FEWEST_SQLS
        found = rate_ratio(one, other, leads) if enough else None
        made.append((tuple(path), won, one.rate, other.rate, found))
    said = verdicts([held for *_, held in made])
    return tuple(
        Path(path, won, share, beside, held.ratio if held else None, verdict)
        for (path, won, share, beside, held), verdict in zip(made, said, strict=True)
    )


def _named(walked: pl.Series) -> NDArray[np.object_]:
    return np.array([_joined(path) for path in walked.to_list()], dtype=object)


def _joined(path: list[str]) -> str:
    return " > ".join(path) or "none"
