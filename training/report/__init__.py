"""The report: computed from a model and a history, rendered as one HTML page and as JSON."""
