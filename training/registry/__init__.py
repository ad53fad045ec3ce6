"""Tracking of runs in MLflow, the registry of models, and promotion to champion."""
