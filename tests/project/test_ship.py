"""The tool that copies finished runs into the zoo."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ship() -> Any:
    spec = importlib.util.spec_from_file_location("ship", ROOT / "tools" / "ship.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_seed(run: Path, seed: int, *, finished: str | None, weights: bytes = b"weights") -> None:
    folder = run / f"seed_{seed}"
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"finished": finished}))
    (folder / "policies" / "best.safetensors").write_bytes(weights)
    (folder / "policies" / "best.json").write_text("{}")
    (folder / "evaluations.csv").write_text("step\n")


def test_finished_seeds_are_copied_once_and_again_when_they_change(
    ship: Any, tmp_path: Path
) -> None:
    run, zoo = tmp_path / "runs" / "netgpt" / "sac" / "sac", tmp_path / "zoo"
    make_seed(run, 0, finished="now")
    make_seed(run, 1, finished=None)
    assert ship.runs_below(tmp_path / "runs") == [run]
    assert ship.ship(run, zoo) == [zoo / "netgpt" / "sac-0.safetensors"]
    assert sorted(p.name for p in (zoo / "netgpt").iterdir()) == [
        "sac-0.csv",
        "sac-0.json",
        "sac-0.safetensors",
    ]
    assert ship.ship(run, zoo) == []
    make_seed(run, 0, finished="now", weights=b"others")
    assert ship.ship(run, zoo) == [zoo / "netgpt" / "sac-0.safetensors"]
    assert (zoo / "netgpt" / "sac-0.safetensors").read_bytes() == b"others"
