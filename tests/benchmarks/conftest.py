"""Only the smoke test is a test: the other files are scripts, which find each other when they run."""

collect_ignore_glob = ["[!t]*.py"]
