"""Modules below ``benchmarks``, which lie beside the package and are not installed."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
collect_ignore_glob = [] if BENCHMARKS.exists() else ["test_*.py"]
sys.path.append(str(BENCHMARKS))
