"""`python -m isol8tasks`."""

import sys

from isol8tasks.cli import main

if __name__ == "__main__":
    sys.exit(main())
