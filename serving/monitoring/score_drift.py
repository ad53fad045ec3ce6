"""Drift of the served scores from those held out in training, as population stability index (PSI).

Each worker counts its scores by the bins of the reference distribution on the model card; ``/metrics`` adds
the counts of all workers up, so that each of them answers with the same index.
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
    from collections.abc import Iterable, Iterator, Mapping

    from models.conversion import ConversionModel
    from models.drift import Drift
    from serving.schemas import ScoreResult

PARTS = "leadloop_score_parts"
_MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"


def score_bins(model: ConversionModel, scored: Iterable[ScoreResult]) -> Iterator[int]:
    """The bin of the reference distribution that each score falls in; none where the card has no profile."""
    profile = model.card.profiles.get(SCORE)
    if profile is None:
        return
    for result in scored:
        if result.probability is not None:
            # A score that was an edge in training stays on its side, however exp and log round it.
            yield 1 + bisect_left(profile.edges, _log_odds(result.probability) - 1e-9)


def prometheus_exposition(*models: ConversionModel) -> bytes:
    """The metrics of all workers in Prometheus's text format, with the drift of the scores of each model."""
    registry = _worker_registry()
    drift_registry = CollectorRegistry()
    drifts = {model.version: drift for model in models if (drift := score_drift(model, registry))}
    if drifts:
        drift_registry.register(_Gauges(drifts))
    return generate_latest(registry) + generate_latest(drift_registry)


def current_score_drift(model: ConversionModel) -> Drift | None:
    """The drift of the scores that all workers answered with ``model``; None before the first."""
    return score_drift(model, _worker_registry())


def score_drift(model: ConversionModel, registry: CollectorRegistry) -> Drift | None:
    """The drift of all scores of ``model`` since the service started; None before the first."""
    profile = model.card.profiles.get(SCORE)
    if profile is None:
        return None
    counts = np.zeros(len(profile.shares))
    for metric in registry.collect():
        for sample in metric.samples if metric.name == PARTS else ():
            if sample.name == f"{PARTS}_total" and sample.labels["version"] == model.version:
                counts[int(sample.labels["part"])] += sample.value
    rows = int(counts.sum())
    return profile.drift_of(counts / rows, rows) if rows else None


def drop_dead_worker_gauges() -> None:
    """Remove the gauges of workers that were killed; their counters stay."""
    for file in Path(os.environ.get(_MULTIPROCESS_DIR, os.devnull)).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _Gauges(Collector):
    """Collector of the index and of what chance alone makes of it."""

    def __init__(self, drifts: Mapping[str, Drift]) -> None:
        self._drifts = drifts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Both gauges, labelled with the model version."""
        gauges = (
            ("leadloop_score_drift_psi", "Stability index of the scores told, against those judged", "psi"),
            (
                "leadloop_score_drift_chance",
                "How large chance makes it in one of 1,000 looks",
                "chance",
            ),
        )
        for name, what, field in gauges:
            family = GaugeMetricFamily(name, what, labels=["version"])
            for version, drift in self._drifts.items():
                family.add_metric([version], getattr(drift, field))
            yield family


def _worker_registry() -> CollectorRegistry:
    if not os.environ.get(_MULTIPROCESS_DIR):
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _log_odds(probability: float) -> float:
    if not 0 < probability < 1:
        return inf if probability else -inf
    return log(probability / (1 - probability))
