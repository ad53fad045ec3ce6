"""Current scores: what is true now of each lead of the store, kept up in the background.

All of it can be made again from the lead store and the model in charge.
"""
