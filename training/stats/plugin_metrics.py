"""Metrics that other packages add, as functions of outcomes, probabilities and weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from training.plugins import Plugin, PluginModule, load_plugins

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PluginMetric:
    """A plug-in of ``leadloop.metrics`` as ``models.metrics`` takes its metrics."""

    plugin: Plugin

    def __call__(
        self,
        y: NDArray[np.number],
        p: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
    ) -> float:
        """The metric of (n,) outcomes and (n,) probabilities.

        The plug-in always gets (n,) weights: those of a bootstrap resample, or ones for the figure itself.

        Raises:
            PluginError: It raises, or returns no number; for the figure itself the number must be finite.
        """
        value = self.plugin.call(y, p, np.ones(len(p)) if weights is None else weights)
        if isinstance(value, bool | np.bool) or not isinstance(value, Real):
            self.plugin.refuse_result(value, "a number")
        if weights is None and not math.isfinite(value):
            self.plugin.refuse_result(
                value, f"a finite number, of {len(p):,} rows, {int(y.sum()):,} positive"
            )
        return float(value)

    def check_name(self, names: Collection[str]) -> None:
        """Raise a PluginError where one of ``names``, leadloop's own figures, is that of the plug-in."""
        if self.plugin.name in names:
            self.plugin.refuse("leadloop has a figure of this name; give yours another one")


def plugin_metrics(modules: Sequence[PluginModule] = ()) -> dict[str, PluginMetric]:
    """The metrics of installed packages and of ``modules``, by name.

    Raises:
        PluginError: As ``load_plugins``.
    """
    return {plugin.name: PluginMetric(plugin) for plugin in load_plugins("leadloop.metrics", modules)}
