"""Copies the best policies of finished runs into the zoo: weights, card and learning curve a seed.

python tools/ship.py runs/llm_mac/mappo/mappo [...]
python tools/ship.py --all runs/zoo

Seeds that are not finished are left out, files that are there and the same are left alone.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
from pathlib import Path

ZOO = Path(__file__).resolve().parents[1] / "agents" / "zoo"
LIMIT_MB = 20
"""What the whole zoo may weigh."""


def ship(run: Path, zoo: Path = ZOO) -> list[Path]:
    """Copy every finished seed of ``<output>/<system>/<algorithm>/<name>``.

    Args:
        run: the run's folder.
        zoo: where it goes, into a folder of the system's name.

    Returns:
        The weights that are new or not what they were.
    """
    place = zoo / run.parent.parent.name
    changed = []
    for folder in sorted(run.glob("seed_*/")):
        if not is_finished(folder):
            continue
        place.mkdir(parents=True, exist_ok=True)
        stem = place / f"{run.name}-{folder.name.removeprefix('seed_')}"
        pairs = [
            (source, stem.with_name(stem.name + source.suffix))
            for source in (
                folder / "policies" / "best.safetensors",
                folder / "policies" / "best.json",
                folder / "evaluations.csv",
            )
        ]
        if all(new.exists() and filecmp.cmp(old, new, shallow=False) for old, new in pairs):
            continue
        for source, target in pairs:
            shutil.copyfile(source, target)
        changed.append(pairs[0][1])
    return changed


def is_finished(seed: Path) -> bool:
    """Whether a seed's training came to its end."""
    record = seed / "run.json"
    return record.is_file() and bool(json.loads(record.read_text(encoding="utf-8"))["finished"])


def runs_below(folder: Path) -> list[Path]:
    """Every run of an output folder."""
    return sorted({path.parent for path in folder.glob("*/*/*/seed_*/")})


def main() -> None:
    """Ship, and say what is new and what the zoo weighs."""
    parser = argparse.ArgumentParser(description="Copy finished runs into the zoo.")
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every run of this output")
    options = parser.parse_args()
    runs = [*options.runs, *(runs_below(options.all) if options.all else ())]
    for run in runs:
        for path in ship(run):
            print(path.relative_to(ZOO.parents[1]))
    size = sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) / 1e6
    print(f"the zoo weighs {size:.1f} of {LIMIT_MB} MB")


if __name__ == "__main__":
    main()
