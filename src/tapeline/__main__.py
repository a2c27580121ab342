"""python -m tapeline: what containers run, whatever their PATH."""

import sys

from tapeline.cli import main

sys.exit(main())
