"""How the default learner learns: folds, the additive part, the trees, and the weights between them."""
