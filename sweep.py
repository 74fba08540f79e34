"""`python sweep.py --config configs/sweep.yaml`: searches for good settings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import sweep

if __name__ == "__main__":
    sys.exit(sweep(sys.argv[1:]))
