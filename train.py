"""`python train.py`: trains the preset mini_gpt, or another: --preset NAME, --config FILE; see --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import train

if __name__ == "__main__":
    sys.exit(train(sys.argv[1:]))
