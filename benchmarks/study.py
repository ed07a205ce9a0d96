"""The figure a user feels: the shipped study from nothing, all in; and where its seconds went.

python benchmarks/study.py [PROFILE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablate.store.store import Store

STUDY = Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml"
COLUMNS = "params, count(*), sum(spent_device_hours) * 3600, sum(score_hours) * 3600, sum(lost_hours) * 3600"
SPENT = f"select {COLUMNS} from results group by params"


def main() -> None:
    profile = ["--profile", sys.argv[1]] if len(sys.argv) > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ablate", "run", str(STUDY), "--folder", folder, *profile]
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - began)
        _, rows = Store.read_only(Path(folder) / "results.db").query(SPENT)
    print("\n   params  runs  training s  scoring s  lost s")
    for params, runs, training, scoring, lost in rows:
        print(f"{params:>9,} {runs:>5} {training:>11.1f} {scoring:>10.1f} {lost:>7.1f}")
    print(f"from nothing {seconds[0]:.0f} s; the same command again {seconds[1]:.1f} s")


if __name__ == "__main__":
    main()
