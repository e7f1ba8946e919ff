"""`python -m bus ...` is `bus ...`."""

import sys

from bus.cli import main

if __name__ == "__main__":
    sys.exit(main())
