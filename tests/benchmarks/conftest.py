"""Only the smoke test is a test: the other files are scripts, which find each other as when they run."""

import sys
from pathlib import Path

collect_ignore_glob = ["[!t]*.py"]
sys.path.append(str(Path(__file__).parent))
