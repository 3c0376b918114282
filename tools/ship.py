"""Copies the best policies of a finished run into the zoo: weights, card and learning curve a seed.

python tools/ship.py runs/llm_mac/mappo/mappo [...]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ZOO = Path(__file__).resolve().parents[1] / "agents" / "zoo"


def ship(run: Path) -> list[Path]:
    """Copy every seed of ``<output>/<system>/<algorithm>/<name>``; where the weights are now."""
    place = ZOO / run.parent.parent.name
    place.mkdir(parents=True, exist_ok=True)
    shipped = []
    for folder in sorted(run.glob("seed_*")):
        stem = place / f"{run.name}-{folder.name.removeprefix('seed_')}"
        for source, ending in (
            (folder / "policies" / "best.safetensors", ".safetensors"),
            (folder / "policies" / "best.json", ".json"),
            (folder / "evaluations.csv", ".csv"),
        ):
            shutil.copyfile(source, stem.with_name(stem.name + ending))
        shipped.append(stem.with_name(stem.name + ".safetensors"))
    return shipped


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        for path in ship(Path(argument)):
            print(path.relative_to(ZOO.parents[1]))
