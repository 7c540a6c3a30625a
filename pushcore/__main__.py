"""`python -m pushcore`, the same as the command `pushcore`."""

import sys

from .cli.main import run

if __name__ == "__main__":
    sys.exit(run())
