"""`python benchmark.py`: how fast this machine trains and writes, and which attention is the fastest on it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import benchmark

if __name__ == "__main__":
    sys.exit(benchmark(sys.argv[1:]))
