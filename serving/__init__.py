"""The scoring service: small imports, small image.

The names below are imported on first use; ``import serving`` alone loads no library. The service itself is
``serving.service:Leadloop``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from serving.decision_log.database import open_log
    from serving.decision_log.frames import decisions_frame, handovers_frame, outcomes_frame
    from serving.decision_log.records import Decision, NewDecision, Outcome
    from serving.decision_log.settings import LogError, LogSettings
    from serving.schemas import (
        Account,
        AttributeChange,
        ExplainRequest,
        ExplainResponse,
        ExplainResult,
        Lead,
        LeadError,
        LeadFailure,
        ScoreRequest,
        ScoreResponse,
        ScoreResult,
        Touchpoint,
        Transition,
    )
    from serving.scorer import Scorer
    from serving.server import Address, ServiceProcess, StartError, post_json, run_service, start_service
    from serving.settings import ServiceSettings, SettingsError
else:
    # Not in the eyes of a type checker: it would take every name for an export.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "open_log": "serving.decision_log.database",
            "decisions_frame": "serving.decision_log.frames",
            "handovers_frame": "serving.decision_log.frames",
            "outcomes_frame": "serving.decision_log.frames",
            "Decision": "serving.decision_log.records",
            "NewDecision": "serving.decision_log.records",
            "Outcome": "serving.decision_log.records",
            "LogError": "serving.decision_log.settings",
            "LogSettings": "serving.decision_log.settings",
            "Account": "serving.schemas",
            "AttributeChange": "serving.schemas",
            "ExplainRequest": "serving.schemas",
            "ExplainResponse": "serving.schemas",
            "ExplainResult": "serving.schemas",
            "Lead": "serving.schemas",
            "LeadError": "serving.schemas",
            "LeadFailure": "serving.schemas",
            "ScoreRequest": "serving.schemas",
            "ScoreResponse": "serving.schemas",
            "ScoreResult": "serving.schemas",
            "Touchpoint": "serving.schemas",
            "Transition": "serving.schemas",
            "Scorer": "serving.scorer",
            "Address": "serving.server",
            "ServiceProcess": "serving.server",
            "StartError": "serving.server",
            "post_json": "serving.server",
            "run_service": "serving.server",
            "start_service": "serving.server",
            "ServiceSettings": "serving.settings",
            "SettingsError": "serving.settings",
        },
    )

__all__ = [
    "Account",
    "Address",
    "AttributeChange",
    "Decision",
    "ExplainRequest",
    "ExplainResponse",
    "ExplainResult",
    "Lead",
    "LeadError",
    "LeadFailure",
    "LogError",
    "LogSettings",
    "NewDecision",
    "Outcome",
    "ScoreRequest",
    "ScoreResponse",
    "ScoreResult",
    "Scorer",
    "ServiceProcess",
    "ServiceSettings",
    "SettingsError",
    "StartError",
    "Touchpoint",
    "Transition",
    "decisions_frame",
    "handovers_frame",
    "open_log",
    "outcomes_frame",
    "post_json",
    "run_service",
    "start_service",
]
