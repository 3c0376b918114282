"""Training logged by W&B's own SB3 callback, offline, read back from the run's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from agent_cases import small

pytest.importorskip("wandb")

import wandb
import wandb_reader

from sixgym.agents.train import RunResult, train


def log_of(result: RunResult) -> Path:
    assert result.wandb is not None
    assert result.wandb.name.startswith("offline-run-")
    (path,) = result.wandb.glob("run-*.wandb")
    return path


def test_offline_runs_of_two_seeds_hold_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)  # offline is the default
    results = train(small("ppo", seeds=[1, 2]), output=tmp_path, wandb=True)
    assert wandb.run is None
    for result in results:
        path = log_of(result)
        assert path.is_relative_to(result.folder)
        logged = wandb_reader.history(path)
        keys = {key for step in logged for key in step}
        assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "train/loss"} <= keys
        assert {"train/approx_kl", "train/value_loss", "eval/return", "global_step"} <= keys
        last = [float(step["eval/return"]) for step in logged if "eval/return" in step][-1]
        assert last == pytest.approx(result.curve[-1]["return"])
        assert json.loads(wandb_reader.config(path)["algorithm"]) == "ppo"
        assert not list(result.wandb.rglob("*.zip"))  # type: ignore[union-attr]
    # A training that is not tracked does not write into a finished run.
    before = log_of(results[1]).read_bytes()
    (plain,) = train(small("ppo"), output=tmp_path)
    assert plain.wandb is None
    assert log_of(results[1]).read_bytes() == before


def test_mode_of_the_environment_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (result,) = train(small("ppo"), output=tmp_path, wandb=True)
    assert not list(tmp_path.rglob("*.wandb"))
    assert result.steps == 192
