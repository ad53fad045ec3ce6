"""A simulated CRM: its world, the simulator, the exact probabilities, and its export as files."""
