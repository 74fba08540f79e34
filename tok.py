"""`python -m tok --train TEXT --vocab-size 1000 --out tokenizer.json`: makes tokenizers and tries them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import tok

if __name__ == "__main__":
    sys.exit(tok(sys.argv[1:]))
