"""Monitoring of the service: Prometheus metrics, JSON log lines, and the drift of served scores."""
