"""How a lead's score came to be what it is: a line through time, and the events that moved it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.clock import DAY
from features.point_in_time import is_visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.request_parsing import LeadById
    from serving.schemas import TimelineEvent, TrendPoint
    from serving.scorer import Scorer

# Of so many moments of late what happened in each is told apart from what time did.
_MOST_MOMENTS, _DAYS = 30, 120
# Points that an event must move to be named: less is what a lead is scored otherwise for within a day.
_LEAST_POINTS, _MOST_NAMED = 2, 8
WIDTH, HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 14, 18, 30
_STEPS = (5, 10, 20, 25, 50, 100)


@dataclass(frozen=True, slots=True)
class ScoreMove:
    """What happened to a lead at one moment, and by how many points that moved its score.

    Attributes:
        moment: When it took effect, in epoch seconds.
        events: What happened.
        before: The points just before.
        points: The points just after.
    """

    moment: int
    events: tuple[TimelineEvent, ...]
    before: int
    points: int

    @property
    def change(self) -> int:
        """By how many points it moved the score."""
        return self.points - self.before


@dataclass(frozen=True, slots=True)
class ScorePath:
    """A lead's points over time.

    Attributes:
        points: (moment, points), the oldest first; between two the line is straight.
        moves: The events that moved the score most, the newest first.
    """

    points: tuple[tuple[int, int], ...]
    moves: tuple[ScoreMove, ...]


def score_path(
    scorer: Scorer, item: LeadById, trend: Sequence[TrendPoint], timeline: Sequence[TimelineEvent]
) -> ScorePath:
    """Score a lead just before and just after each of its newest events, by the model in charge.

    Args:
        scorer: Scores by the model.
        item: The lead.
        trend: Its score at some moments, the last one now.
        timeline: What happened to it and its colleagues.
    """
    now = trend[-1].as_of if trend else 0
    by_moment: dict[int, list[TimelineEvent]] = defaultdict(list)
    for event in timeline:
        moment = max(event.occurred_at, event.known_at)
        if now - _DAYS * DAY < moment and is_visible(event.occurred_at, event.known_at, now):
            by_moment[moment].append(event)
    moments = sorted(by_moment)[-_MOST_MOMENTS:]
    as_ofs = sorted({each for moment in moments for each in (moment, moment + 1)})
    scored = {point.as_of: point.points for point in scorer.trend(item, as_ofs) if point.points is not None}
    known = scored | {point.as_of: point.points for point in trend if point.points is not None}
    moves = [
        ScoreMove(moment, tuple(by_moment[moment]), scored[moment], scored[moment + 1])
        for moment in moments
        if moment in scored and moment + 1 in scored
    ]
    named = [move for move in moves if abs(move.change) >= _LEAST_POINTS]
    largest = sorted(named, key=lambda move: (-abs(move.change), -move.moment))[:_MOST_NAMED]
    return ScorePath(tuple(sorted(known.items())), tuple(sorted(largest, key=lambda move: -move.moment)))


@dataclass(frozen=True, slots=True)
class PathChart:
    """A score path as what an SVG of ``WIDTH`` by ``HEIGHT`` is drawn with.

    Attributes:
        line: The points of a polyline.
        marks: x, y and number of each move, in the order of ``ScorePath.moves``.
        levels: y and points of each line to read off.
        days: x and moment of each date below.
        last: x and y of the score now.
    """

    line: str
    marks: tuple[tuple[float, float, int], ...]
    levels: tuple[tuple[float, int], ...]
    days: tuple[tuple[float, int], ...]
    last: tuple[float, float]


def path_chart(path: ScorePath) -> PathChart | None:
    """Draw a score path; None of fewer than two moments, which make no line."""
    if len(path.points) < 2 or path.points[0][0] == path.points[-1][0]:  # noqa: PLR2004  # both ends
        return None
    begin, end = path.points[0][0], path.points[-1][0]
    values = [points for _, points in path.points]
    step = next((step for step in _STEPS if (max(values) - min(values)) / step <= 4), _STEPS[-1])  # noqa: PLR2004
    low, high = min(values) // step * step, -(-max(values) // step) * step
    high = max(high, low + step)

    def x(moment: int) -> float:
        return round(_LEFT + (moment - begin) / (end - begin) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(points: int) -> float:
        return round(_TOP + (high - points) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    return PathChart(
        line=" ".join(f"{x(moment)},{y(points)}" for moment, points in path.points),
        marks=tuple(
            (x(move.moment), y(move.points), number) for number, move in enumerate(path.moves, start=1)
        ),
        levels=tuple((y(points), points) for points in range(low, high + 1, step)),
        days=tuple((x(moment), moment) for moment in (begin, (begin + end) // 2, end)),
        last=(x(end), y(values[-1])),
    )
