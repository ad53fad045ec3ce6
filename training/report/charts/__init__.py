"""The page's charts: ``drawing`` is the ground they share, the others hold what is drawn on it."""
