"""Traces are made by a helper that stands beside the tests of the replay."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "replay"))
