"""The charts of the report: functions from figures to SVG."""
