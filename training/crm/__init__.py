"""Scores written back to a CRM, a batch at a time: what leads get, how it is sent, what came of it."""
