"""Defaults that the command line, the configuration and the Python interface share."""

from __future__ import annotations

# Of folds, samples and training: the same rows give the same model, whoever trains it.
SEED = 42

# Where `leadloop init` puts the JSON schema, from the folder of the draft, so that editors find it.
SCHEMA_FILE = "leadloop-out/leadloop.schema.json"
