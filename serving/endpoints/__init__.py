"""The endpoints that use the decision log: hand-over, outcomes, and the requests of data subjects."""
