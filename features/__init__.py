"""Time-correct lead features: what was known of a lead, and when. Knows no model.

The names below are imported on first use; ``import features`` alone loads no library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from features.batch import compute_features, visible_events
    from features.catalogue import build_feature_set, infer_family
    from features.clock import DAY, HOUR, MINUTE, parse_duration, to_datetime, to_epoch
    from features.cohort import CohortRule, Snapshots, draw_snapshots, open_lead_snapshots, sample_leads
    from features.history import LeadHistory
    from features.ingest.availability import Availability
    from features.ingest.column_roles import ColumnRole
    from features.ingest.flat_export import FlatBatch, FlatColumns, FlatExport, iter_flat_batches, read_flat
    from features.ingest.history_parts import (
        PartFolder,
        find_parts,
        history_from_tables,
        read_part,
        write_part,
        write_part_manifest,
    )
    from features.ingest.mapping import (
        AttributeSelection,
        FlatMapping,
        HistoryMapping,
        TableMapping,
        TableSource,
    )
    from features.ingest.partitions import HistoryPartitions, read_partitioned
    from features.ingest.quarantine import Quarantine, SourceError, TooManyBadRowsError
    from features.ingest.read_frames import read_frames
    from features.ingest.read_history import IngestResult, read_history
    from features.ingest.timestamps import TimeFormat
    from features.labels import LabelSpec, compute_labels
    from features.messages import Message
    from features.online import OnlineFeatures
    from features.point_in_time import is_visible
    from features.record import LeadRecord, from_records, to_records
    from features.spec import (
        DisplayText,
        EventSelection,
        FeatureSet,
        FeatureSpec,
        attribute,
        count,
        difference,
        distinct,
        earliest,
        history_attribute,
        latest,
        lead_age,
        ratio,
        recency,
        span,
        tenure,
        total,
        trend,
    )
else:
    # Not in the eyes of a type checker: it would take every name for an export.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "difference": "features.spec",
            "ratio": "features.spec",
            "compute_features": "features.batch",
            "visible_events": "features.batch",
            "build_feature_set": "features.catalogue",
            "infer_family": "features.catalogue",
            "DAY": "features.clock",
            "HOUR": "features.clock",
            "MINUTE": "features.clock",
            "parse_duration": "features.clock",
            "to_datetime": "features.clock",
            "to_epoch": "features.clock",
            "CohortRule": "features.cohort",
            "Snapshots": "features.cohort",
            "draw_snapshots": "features.cohort",
            "open_lead_snapshots": "features.cohort",
            "sample_leads": "features.cohort",
            "LeadHistory": "features.history",
            "Availability": "features.ingest.availability",
            "ColumnRole": "features.ingest.column_roles",
            "FlatBatch": "features.ingest.flat_export",
            "FlatColumns": "features.ingest.flat_export",
            "FlatExport": "features.ingest.flat_export",
            "iter_flat_batches": "features.ingest.flat_export",
            "read_flat": "features.ingest.flat_export",
            "PartFolder": "features.ingest.history_parts",
            "find_parts": "features.ingest.history_parts",
            "history_from_tables": "features.ingest.history_parts",
            "read_part": "features.ingest.history_parts",
            "write_part": "features.ingest.history_parts",
            "write_part_manifest": "features.ingest.history_parts",
            "AttributeSelection": "features.ingest.mapping",
            "FlatMapping": "features.ingest.mapping",
            "HistoryMapping": "features.ingest.mapping",
            "TableMapping": "features.ingest.mapping",
            "TableSource": "features.ingest.mapping",
            "HistoryPartitions": "features.ingest.partitions",
            "read_partitioned": "features.ingest.partitions",
            "Quarantine": "features.ingest.quarantine",
            "SourceError": "features.ingest.quarantine",
            "TooManyBadRowsError": "features.ingest.quarantine",
            "IngestResult": "features.ingest.read_history",
            "read_frames": "features.ingest.read_frames",
            "read_history": "features.ingest.read_history",
            "TimeFormat": "features.ingest.timestamps",
            "LabelSpec": "features.labels",
            "compute_labels": "features.labels",
            "Message": "features.messages",
            "OnlineFeatures": "features.online",
            "is_visible": "features.point_in_time",
            "LeadRecord": "features.record",
            "from_records": "features.record",
            "to_records": "features.record",
            "DisplayText": "features.spec",
            "EventSelection": "features.spec",
            "FeatureSet": "features.spec",
            "FeatureSpec": "features.spec",
            "attribute": "features.spec",
            "count": "features.spec",
            "distinct": "features.spec",
            "earliest": "features.spec",
            "history_attribute": "features.spec",
            "latest": "features.spec",
            "lead_age": "features.spec",
            "recency": "features.spec",
            "span": "features.spec",
            "tenure": "features.spec",
            "total": "features.spec",
            "trend": "features.spec",
        },
    )

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "AttributeSelection",
    "Availability",
    "CohortRule",
    "ColumnRole",
    "DisplayText",
    "EventSelection",
    "FeatureSet",
    "FeatureSpec",
    "FlatBatch",
    "FlatColumns",
    "FlatExport",
    "FlatMapping",
    "HistoryMapping",
    "HistoryPartitions",
    "IngestResult",
    "LabelSpec",
    "LeadHistory",
    "LeadRecord",
    "Message",
    "OnlineFeatures",
    "PartFolder",
    "Quarantine",
    "Snapshots",
    "SourceError",
    "TableMapping",
    "TableSource",
    "TimeFormat",
    "TooManyBadRowsError",
    "attribute",
    "build_feature_set",
    "compute_features",
    "compute_labels",
    "count",
    "difference",
    "distinct",
    "draw_snapshots",
    "earliest",
    "find_parts",
    "from_records",
    "history_attribute",
    "history_from_tables",
    "infer_family",
    "is_visible",
    "iter_flat_batches",
    "latest",
    "lead_age",
    "open_lead_snapshots",
    "parse_duration",
    "ratio",
    "read_flat",
    "read_frames",
    "read_history",
    "read_part",
    "read_partitioned",
    "recency",
    "sample_leads",
    "span",
    "tenure",
    "to_datetime",
    "to_epoch",
    "to_records",
    "total",
    "trend",
    "visible_events",
    "write_part",
    "write_part_manifest",
]
