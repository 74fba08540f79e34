"""`python -m glassgpt` is the command `glassgpt`."""

from __future__ import annotations

import sys

from glassgpt.cli.main import main

if __name__ == "__main__":  # worker processes import this file too, and must not begin anew
    sys.exit(main())
