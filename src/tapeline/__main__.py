"""python3 -m tapeline: the command, for containers."""

import sys

from tapeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
