"""The shared trunk audited: a family's smallest and largest budget as branches of one trunk and each trained alone.

The 0.1M model of the shipped study on its textbook data, scored on all its benchmarks. Both sides of a seed run in turn, the first of
them alternating. Up to its fork and after it a branch makes the steps of a run alone, so where the device adds in a
fixed order (one thread of a CPU) the gap must be 0 to the bit: it is said whether it is.

    python -m benchmarks.shared_trunk [SEEDS] [path.to.field=value ...]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ablate.store.store import Store

STUDY = Path(__file__).parents[1] / "studies" / "quality_vs_quantity.yaml"
FAMILY = ["grid.params=[0.1M]", "grid.tokens=[0.25M, 1M]", "grid.synthetic_ratio=[1]"]
SIDES = ("trunk", "none")
NUMBERS = ("final_loss", "bits_per_byte", "mean_score")
QUERY = f"select run, tokens, {', '.join(NUMBERS)}, spent_device_hours from results order by run"


def train(folder: Path, share: str, seeds: int, overrides: list[str]) -> None:
    """What is missing of the first `seeds` seeds."""
    settings = [*FAMILY, f"seeds={list(range(seeds))}", f"launch.share={share}", *overrides]
    subprocess.run([sys.executable, "-m", "ablate", "run", str(STUDY), "--folder", str(folder), *settings], check=True)


def rows(folder: Path) -> list[tuple[float, ...]]:
    return [tuple(row) for row in Store.read_only(folder / "results.db").query(QUERY)[1]]


def identical(a: Path, b: Path, run: str) -> bool:
    """Whether both sides' weights are the same to the bit."""
    mine, theirs = (folder / "runs" / run / "model" / "model.safetensors" for folder in (a, b))
    return mine.read_bytes() == theirs.read_bytes()


def main() -> None:
    seeds, overrides = int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:]
    with tempfile.TemporaryDirectory() as root:
        folders = {share: Path(root) / share for share in SIDES}
        for seed in range(seeds):
            for share in SIDES if seed % 2 == 0 else reversed(SIDES):
                train(folders[share], share, seed + 1, overrides)
        report(folders["trunk"], folders["none"])


def report(trunk: Path, none: Path) -> None:
    shared, alone = rows(trunk), rows(none)
    print(f"\n{'tokens':>10} {'runs':>5} {'number':<14} {'alone':>9} {'s.d. of seeds':>14} {'shared - alone':>15} {'s.d.':>9} {'most':>9}")
    for tokens in sorted({row[1] for row in alone}):
        pairs = [(a, b) for a, b in zip(shared, alone, strict=True) if b[1] == tokens]
        for place, name in enumerate(NUMBERS, start=2):
            values, gaps = [b[place] for _, b in pairs], [a[place] - b[place] for a, b in pairs]
            print(
                f"{tokens:>10,} {len(pairs):>5} {name:<14} {statistics.fmean(values):>9.4f} {deviation(values):>14.4f} "
                f"{statistics.fmean(gaps):>15.2e} {deviation(gaps):>9.1e} {max(map(abs, gaps)):>9.1e}"
            )
    same = sum(identical(trunk, none, str(row[0])) for row in alone)
    print(f"weights that are the same to the bit: {same} of {len(alone)} runs")
    costs = [sum(row[-1] for row in side) for side in (alone, shared)]
    print(f"shared_trunk_cost_alone_vs_shared ratio {costs[0] / costs[1]:.3f}")
    for place, name in enumerate(NUMBERS, start=2):
        means = [statistics.fmean(row[place] for row in side) for side in (shared, alone)]
        print(f"shared_trunk_{name}_shared_vs_alone ratio {means[0] / means[1]:.6f}")


def deviation(values: list[float]) -> float:
    """Sample s.d.; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
