"""`python sample.py --prompt "Once upon a time"`: the newest model writes, or the one that --checkpoint names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import sample

if __name__ == "__main__":
    sys.exit(sample(sys.argv[1:]))
