"""The lead store: what is known of leads, as events in the database of the decision log.

Events are added and never changed; what a lead is at a moment is read out of them then, by the functions that
a history from files goes through.
"""
