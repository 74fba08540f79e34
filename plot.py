"""`python plot.py --log logs/training.csv --output plots/`: the curves of a run, or of several."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import plot

if __name__ == "__main__":
    sys.exit(plot(sys.argv[1:]))
