"""Who gets in, and what with: keys, limits, bodies, connections, and the gate that asks them all."""
