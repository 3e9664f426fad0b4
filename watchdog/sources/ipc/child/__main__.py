"""`python -m watchdog.sources.ipc.child SOCKET`; see `watchdog.sources.ipc.pipe`."""

import sys

from watchdog.sources.ipc.child.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
