"""How far the scores that are being told have drifted from those the model was judged by.

Each worker counts its scores by the parts of the distribution on the model's card; whoever is asked adds the
counts of all workers up and answers with one index, the same from each.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from math import inf, log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from models.model_card import SCORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from models.conversion import ConversionModel
    from models.drift import Drift
    from serving.schemas import ScoreResult

PARTS = "leadloop_score_parts"
_TOGETHER = "PROMETHEUS_MULTIPROC_DIR"


def score_bins(model: ConversionModel, scored: Iterable[ScoreResult]) -> Iterator[int]:
    """The part of the judged scores' profile that each score falls in; none where the card has no profile."""
    profile = model.card.profiles.get(SCORE)
    if profile is None:
        return
    for one in scored:
        if one.probability is not None:
            # A score that was an edge when judged stays on its side, however exp and log round it.
            yield 1 + bisect_left(profile.edges, _log_odds(one.probability) - 1e-9)


def prometheus_exposition(model: ConversionModel | None) -> bytes:
    """All figures of all workers as Prometheus reads them; with ``model``, how far its scores drifted."""
    counted = _counted()
    drifted = CollectorRegistry()
    if model and (drift := score_drift(model, counted)):
        drifted.register(_Gauges(model.version, drift))
    return generate_latest(counted) + generate_latest(drifted)


def score_drift(model: ConversionModel, counted: CollectorRegistry) -> Drift | None:
    """The drift of all scores that ``model`` has told since the service runs; None before there is one."""
    profile = model.card.profiles.get(SCORE)
    if profile is None:
        return None
    told = np.zeros(len(profile.shares))
    for metric in counted.collect():
        for sample in metric.samples if metric.name == PARTS else ():
            if sample.name == f"{PARTS}_total" and sample.labels["version"] == model.version:
                told[int(sample.labels["part"])] += sample.value
    rows = int(told.sum())
    return profile.drift_of(told / rows, rows) if rows else None


def drop_dead_worker_gauges() -> None:
    """Forget what workers that were killed said of the present; what they counted stays."""
    for file in Path(os.environ.get(_TOGETHER, os.devnull)).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _Gauges(Collector):
    """The index and what chance alone makes of it, as Prometheus wants to be told."""

    def __init__(self, version: str, drift: Drift) -> None:
        self._version, self._drift = version, drift

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Both figures."""
        told = (
            (
                "leadloop_score_drift_psi",
                "Stability index of the scores told, against those judged",
                self._drift.psi,
            ),
            (
                "leadloop_score_drift_chance",
                "How large chance makes it in one of 1,000 looks",
                self._drift.chance,
            ),
        )
        for name, what, value in told:
            family = GaugeMetricFamily(name, what, labels=["version"])
            family.add_metric([self._version], value)
            yield family


def _counted() -> CollectorRegistry:
    if not os.environ.get(_TOGETHER):
        return REGISTRY
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def _log_odds(probability: float) -> float:
    if not 0 < probability < 1:
        return inf if probability else -inf
    return log(probability / (1 - probability))
