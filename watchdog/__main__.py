"""`python -m watchdog`: the same as the `watchdog` command."""

import sys

from watchdog._launcher import main

if __name__ == "__main__":
    sys.exit(main())
