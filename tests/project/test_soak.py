"""Long runs find what they look for, and every id has identities to be held to."""

from __future__ import annotations

import itertools
import json
import mmap
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import sixgym
from sixgym.envs.core.registry import entries

ROOT = Path(__file__).resolve().parents[2]
MAC = "sixgym/LlmMac-v0"
RIS = "sixgym/RisNoma-v0"

assert sixgym.__version__


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import soak

    return soak


def brief(soak: ModuleType, steps: int) -> Any:
    return soak.Effort(steps=steps, cpu_s=60.0, stride=5)


class Faulty:
    """An environment whose steps are tampered with."""

    def __init__(self, env: Any, tamper: Any) -> None:
        self._env, self._tamper = env, tamper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def step(self, actions: Any) -> Any:
        return self._tamper(*self._env.step(actions))


def play(soak: ModuleType, id: str, tamper: Any, steps: int = 1600) -> Any:
    env = soak.make_env(id, 16, {})
    return soak.soak(id, rows=16, effort=brief(soak, steps), make=lambda: Faulty(env, tamper))


# ------------------------------------------------------------------------------ what is looked at


def test_every_id_has_identities(soak: ModuleType) -> None:
    ids = {e.id for e in entries() if e.id.startswith("sixgym/")}
    assert ids == set(soak.BOOKS)
    assert all(books.identities for books in soak.BOOKS.values())


@pytest.mark.parametrize("id", sorted(e.id for e in entries() if e.id.startswith("sixgym/")))
def test_nothing_is_wrong_with_any_id(soak: ModuleType, id: str) -> None:
    report = soak.soak(id, rows=8, effort=brief(soak, 8 * 60))
    assert report.faults == []
    assert report.steps == 8 * 60
    assert all(held.checks > 0 for held in report.identities)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-2.0, 3.0, (4,), np.float32),
        spaces.Discrete(5),
        spaces.MultiDiscrete([2, 7]),
        spaces.MultiBinary(6),
        spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0.0, 1.0, (2, 2), np.float32)}),
    ],
    ids=str,
)
def test_actions_cover_a_space_and_its_corners(soak: ModuleType, space: gym.Space[Any]) -> None:
    mixture = soak.Mixture(space, 64)
    batch = gym.vector.utils.batch_space(space, 64)
    drawn = [mixture() for _ in range(3 * soak.PERIOD)]
    assert all(batch.contains(actions) for actions in drawn)
    if isinstance(space, spaces.Box):
        every = np.concatenate(drawn)
        assert (every == space.low).all(1).any()
        assert (every == space.high).all(1).any()
        inside = ((every > space.low) & (every < space.high)).all(1)
        assert 0.2 < inside.mean() < 0.6
    if isinstance(space, spaces.Discrete):
        assert set(np.concatenate(drawn).tolist()) == set(range(5))
        held = [np.array_equal(a, b) for a, b in itertools.pairwise(drawn)]
        assert not any(held)  # not all rows hold at a time


# ----------------------------------------------------------------------------- what must be found


def test_a_leak_is_found(soak: ModuleType) -> None:
    kept: list[mmap.mmap] = []

    def leak(*told: Any) -> Any:
        # Half a MB a step, of the system's own: the heap may have room that other tests gave back.
        kept.append(mmap.mmap(-1, 2**19))
        kept[-1].write(b"\1" * 2**19)
        return told

    report = play(soak, MAC, leak)
    assert len(report.faults) == 1
    assert report.faults[0].startswith("memory: grows by ")
    assert report.growth_mb == pytest.approx(0.5 * len(kept) * 0.75, rel=0.15)


def test_a_nan_is_found(soak: ModuleType) -> None:
    count = iter(range(1000))

    def spoil(observation: Any, *rest: Any) -> Any:
        if next(count) == 7:
            observation = observation.copy()
            observation[3, 2] = np.nan
        return observation, *rest

    assert play(soak, MAC, spoil).faults == ["observation: not finite after 128 steps"]


def test_an_infinite_reward_is_found(soak: ModuleType) -> None:
    def spoil(observation: Any, reward: Any, *rest: Any) -> Any:
        return observation, np.full_like(reward, np.inf), *rest

    faults = play(soak, MAC, spoil).faults
    assert faults[0] == "reward: not finite after 16 steps"
    assert len(faults) == soak.KEPT_FAULTS


def test_an_observation_outside_its_space_is_found(soak: ModuleType) -> None:
    def spoil(observation: Any, *rest: Any) -> Any:
        return observation + np.float32(1.5), *rest

    assert "observation: outside its space after 16 steps" in play(soak, MAC, spoil).faults


def test_a_packet_that_vanishes_is_found(soak: ModuleType) -> None:
    def lose(*told: Any) -> Any:
        told[4]["generated"] = told[4]["generated"] + 1.0
        return told

    faults = play(soak, MAC, lose, 480).faults
    assert any(f.startswith("generated = delivered") for f in faults)
    assert any(f.startswith("buffers at first + generated") for f in faults)


def test_a_slow_drift_is_found_over_an_episode(soak: ModuleType) -> None:
    """One in a hundred of the deliveries is not told: no law of a step sees it."""

    def drift(*told: Any) -> Any:
        told[4]["delivered_bits"] = told[4]["delivered_bits"] * np.float32(1.0 - 1e-2)
        told[4]["useful_bits"] = told[4]["useful_bits"] * np.float32(1.0 - 1e-2)
        return told

    faults = play(soak, RIS, drift).faults
    assert faults
    assert all(f.startswith("bits held at first + arrived") for f in faults)


# ----------------------------------------------------------------------------------- the command


@pytest.mark.slow
def test_command_prints_and_writes_what_it_did(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    script = [sys.executable, ROOT / "benchmarks" / "soak.py", "--rows", "16", "--steps", "1600"]
    command = [*script, "--env", MAC, "--out", out]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (run,) = json.loads(out.read_text())["runs"]
    assert run["env"] == MAC
    assert run["steps"] == 1600
    assert run["faults"] == []
    assert f"{MAC:<29}{1600:>12,}" in result.stdout


def test_the_stored_runs_are_of_all_ids_and_found_nothing() -> None:
    stored = ROOT / "docs" / "measured" / "soak.json"
    if not stored.exists():
        pytest.skip("no runs are stored")
    report = json.loads(stored.read_text())
    ids = {e.id for e in entries() if e.id.startswith("sixgym/")}
    assert {run["env"] for run in report["runs"]} == ids
    assert all(run["faults"] == [] for run in report["runs"])
