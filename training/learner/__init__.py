"""The default learner: encodings, additive part, boosted trees, cross-validation, stacking and intervals."""
