"""The speed benchmark runs and writes what the pages read; no speed is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ID = "sixgym/RisNoma-v0"


@pytest.mark.slow
@pytest.mark.parametrize("id", [ID, "sixgym/EventOffloadExit-v0", "sixgym/EventOffloadMulti-v0"])
def test_quick_benchmark_writes_ratios_to_cartpole_of_the_same_run(tmp_path: Path, id: str) -> None:
    """Of an environment with a time limit, of one without, and of a game."""
    out = tmp_path / "speed.json"
    script = [sys.executable, ROOT / "benchmarks" / "speed.py", "--quick"]
    command = [*script, "--env", id, "--rows", "1", "4", "--out", out]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    assert report["machine"]["threads"] == 1
    cells = {(s["env"], s["rows"]): s["steps_per_cpu_s"] for s in report["speeds"]}
    assert set(cells) == {(id, rows) for id in ("CartPole-v1", id) for rows in (1, 4)}
    assert all(rate > 0 for rate in cells.values())
    ratio = cells[id, 4] / cells["CartPole-v1", 4]
    assert f"{ratio:.3f}" in result.stdout
    assert 0 < report["ppo"][id]["share"] < 1


def test_the_stored_speed_table_is_of_this_package() -> None:
    report = json.loads((ROOT / "docs" / "measured" / "speed.json").read_text())
    measured = {(s["env"], s["mode"], s["rows"]) for s in report["speeds"]}
    for rows in (1, 16, 256, 1024, 4096):
        assert ("CartPole-v1", "numpy", rows) in measured
        assert (ID, "eager", rows) in measured
        assert (ID, "compiled", rows) in measured
