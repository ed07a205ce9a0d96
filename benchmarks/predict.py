"""How good predictions are: `ablate plan` on a small study of 1M to 5M parameters, then `ablate run`, then both side by side.

Each ratio is actual over predicted: the median over a size's runs for time and memory, and the whole from start to figures. The
goal: time within 20%, memory within 15%. Last come the lines `NAME ratio VALUE`.

    python -m benchmarks.predict
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablate.store.store import Store
from ablate.study.quantities import format_bytes, format_count

STUDY = """
name: predict
grid: {params: [1M, 2M, 5M], tokens: [0.1M, 0.2M], synthetic_ratio: [0, 1]}
data: {synthetic: builtin:textbook, web: builtin:web, tokenizer: {train_bpe: 1024}, seq_len: 128}
train: {lr: 0.004, batch_tokens: 512, warmup_steps: 10}
evaluate: {benchmarks: [builtin:all]}
"""
COLUMNS = "params, tokens, predicted_device_hours * 3600, device_hours * 3600, predicted_memory_bytes, peak_memory_bytes"


def timed(*arguments: str) -> tuple[float, str]:
    """Seconds and the output of an `ablate` command."""
    began = time.perf_counter()
    process = subprocess.run([sys.executable, "-m", "ablate", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - began, process.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "predict.yaml"
        study.write_text(STUDY)
        first, _ = timed("plan", str(study), "--folder", folder)
        second, out = timed("plan", str(study), "--folder", folder, "--format", "json")
        wall, _ = timed("run", str(study), "--folder", folder)
        _, rows = Store.read_only(Path(folder) / "results.db").query(f"select {COLUMNS} from results order by 1, 2")
    print(f"plan: {first:.0f} s the first time, {second:.1f} s the second\n")
    print(" params   tokens  predicted s  actual s  predicted memory  actual memory")
    for params, tokens, told_s, took_s, told_bytes, took_bytes in rows:
        memory = f"{format_bytes(told_bytes):>17} {format_bytes(took_bytes):>14}"
        print(f"{format_count(params):>7} {format_count(tokens):>8} {told_s:>12.1f} {took_s:>9.1f} {memory}")
    print()
    for size in sorted({row[0] for row in rows}):
        mine = [row for row in rows if row[0] == size]
        print(f"predict_time_{format_count(size)} ratio {statistics.median(row[3] / row[2] for row in mine):.2f}")
        print(f"predict_memory_{format_count(size)} ratio {statistics.median(row[5] / row[4] for row in mine):.2f}")
    print(f"predict_wall ratio {wall / json.loads(out)['wall_seconds']:.2f}")


if __name__ == "__main__":
    main()
