"""Lines about the progress of a long piece of work, which a terminal shows as a bar."""

from __future__ import annotations

from typing import Self


class Step(str):
    """A line that says which of how many steps begins; wherever a line is printed, it is one.

    Attributes:
        done: How many steps are done.
        total: How many there are; None where that is not known yet.

    >>> step = Step("fold 2 of 5", done=1, total=5)
    >>> step, step.done / step.total
    ('fold 2 of 5', 0.2)
    """

    __slots__ = ("done", "total")
    done: int
    total: int | None

    def __new__(cls, line: str, *, done: int, total: int | None) -> Self:
        """The step with its line."""
        step = super().__new__(cls, line)
        step.done, step.total = done, total
        return step
