"""`python bigram.py`: from the bigram model to the GPT, step by step.

With `python -i bigram.py` one can go on: print(decode(model.generate(context, 500)[0].tolist()))
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))  # a clone works before it is installed

from glassgpt.cli.doors import bigram

if __name__ == "__main__" and (code := bigram(sys.argv[1:], globals())):
    sys.exit(code)
