"""`python data.py`: TinyShakespeare as a text, as token tensors and as a vocabulary, in data/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import data

if __name__ == "__main__":
    sys.exit(data(sys.argv[1:]))
