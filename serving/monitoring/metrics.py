"""The Prometheus metrics of the service, shared by its workers; no label identifies a lead."""

from __future__ import annotations

import time
from collections import Counter as Tally
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from serving.monitoring.score_drift import PARTS as SCORE_PARTS
from serving.monitoring.score_drift import score_bins
from serving.request_context import current_request
from serving.schemas import LeadFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from models.conversion import ConversionModel
    from serving.schemas import ScoreResult

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_DISTANCES = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)

REQUESTS = Histogram(
    "leadloop_request_seconds", "Time of a whole answer", ["endpoint", "status"], buckets=_SECONDS
)
STAGES = Histogram(
    "leadloop_stage_seconds",
    "Time of a part of an answer: read, score, log",
    ["endpoint", "stage"],
    buckets=_SECONDS,
)
REFUSED = Counter("leadloop_refused", "Requests that were refused, by the code of the problem", ["code"])
LEADS_REFUSED = Counter("leadloop_leads_refused", "Leads that could not be scored, by code", ["code"])
SCORES = Counter("leadloop_scores", "Leads that were scored", ["grade"])
PARTS = Counter(SCORE_PARTS, "Scores by part of the distribution when judged", ["version", "part"])
MODEL = Gauge(
    "leadloop_model_workers", "Workers that answer with a model", ["version"], multiprocess_mode="livesum"
)
SHADOW = Gauge(
    "leadloop_shadow_workers", "Workers where a model scores along", ["version"], multiprocess_mode="livesum"
)
WEBHOOKS_SENT = Counter(
    "leadloop_webhooks",
    "Attempts to deliver a message: delivered, failed (and tried again), given up",
    ["subscription", "result"],
)
MODEL_REFUSED = Counter("leadloop_model_refused", "Models that were put in charge and could not be used")
LOG_WAITING = Gauge("leadloop_log_waiting", "Answers that wait for their record", multiprocess_mode="livesum")
WORK_IN_FLIGHT = Gauge(
    "leadloop_work_in_flight_seconds",
    "Estimated CPU time of the requests that are being answered",
    multiprocess_mode="livesum",
)
SHADOW_DISTANCE = Histogram(
    "leadloop_shadow_distance",
    "Distance of a challenger's probability from what was told",
    buckets=_DISTANCES,
)
SHADOW_FARTHEST = Gauge(
    "leadloop_shadow_distance_max", "The largest of these distances", multiprocess_mode="max"
)
SHADOW_GRADES = Counter(
    "leadloop_shadow_grades", "Leads that a challenger scored, by whether the grade differs", ["grade"]
)
SHADOW_LOST = Counter("leadloop_shadow_lost", "Leads that no challenger scored: it failed, or was too slow")

RESCORE_WAITING = Gauge(
    "leadloop_rescore_waiting",
    "Leads and accounts of the store that wait to be scored",
    multiprocess_mode="livesum",
)
RESCORE_OLDEST = Gauge(
    "leadloop_rescore_oldest_seconds", "How long the oldest of them has waited", multiprocess_mode="livemax"
)
RESCORED = Counter("leadloop_rescored_leads", "Leads of the store that were scored in the background")


@contextmanager
def time_stage(name: str) -> Iterator[None]:
    """Observe how long a stage of the current request takes, in seconds."""
    started = time.perf_counter()
    yield
    STAGES.labels(current_request().endpoint, name).observe(time.perf_counter() - started)


def count_results(model: ConversionModel, results: Iterable[ScoreResult | LeadFailure]) -> None:
    """Count the results of a request: grades, errors by code, and scores by bin."""
    scored: list[ScoreResult] = []
    for result in results:
        if isinstance(result, LeadFailure):
            LEADS_REFUSED.labels(result.error.code).inc()
        else:
            scored.append(result)
    for grade, times in Tally(score.grade or "none" for score in scored).items():
        SCORES.labels(grade).inc(times)
    for part, times in Tally(score_bins(model, scored)).items():
        PARTS.labels(model.version, part).inc(times)
