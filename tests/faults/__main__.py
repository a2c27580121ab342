"""Kill runs and sweeps, fill disks, damage stores, mutate configurations, files and requests; then count.

    make test-faults            all of it, 30 to 55 minutes on 2 cores; the first 12 with nothing else running
    python -m tests.faults 5    a twentieth of it (percent)

Only two ends are allowed: a result that is right, or one clear sentence for each mistake and exit code 2.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults import damages, disks, fuzz, injection, kills, malice, mutations, publishers, secrets

PERCENT = int(sys.argv[1]) if len(sys.argv) > 1 else 100
SEED = random.SystemRandom().randrange(10**6)

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
print(f"seed {SEED}", flush=True)
total: Counter[str] = Counter()
PARTS = (
    *((malice, 100), (kills, 50), (publishers, 30), (disks, 30)),
    *((mutations, 500), (injection, 100), (damages, 100), (secrets, 100), (fuzz, 100)),
)
for part, times in PARTS:
    folder = Path(tempfile.mkdtemp(prefix="tapeline-faults-"))
    os.chdir(folder)
    counted = part.main(max(1, times * PERCENT // 100), random.Random(SEED), folder)
    print(f"{part.__name__.rpartition('.')[2]}: {dict(counted)}", flush=True)
    total += counted
    shutil.rmtree(folder, ignore_errors=True)
print(
    ", ".join(
        f"{name} {total[name]}" for name in ("runs", "results", "refusals", "kills", "tracebacks", "wrong numbers")
    )
)
sys.exit(bool(total["tracebacks"] or total["wrong numbers"]))
