"""`python -m tests.faults`: run faults by name or all of them, in lanes, and write what was seen as JSON."""

import sys

from tests.faults.runner import main

if __name__ == "__main__":
    sys.exit(main())
