"""The suite's own system trained, cut off, resumed and compared, at a small size."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sixgym.agents import TrainConfig, checkpoint, load_policy
from sixgym.agents.callbacks import Boundary
from sixgym.agents.train import train

TINY = {"num_users": 2, "num_elements": 4, "max_episode_steps": 7}
CASES: dict[str, dict[str, Any]] = {
    "ris_noma/ppo": {"n_steps": 8, "batch_size": 16},
    "ris_noma/drl_full_sac": {"learning_starts": 24, "batch_size": 16, "buffer_size": 300},
}


def tiny(name: str) -> TrainConfig:
    """A shipped configuration with few rows, steps and users."""
    plain = TrainConfig.load(name).plain()
    plain |= {"num_envs": 4, "total_steps": 144, "seeds": [1]}
    plain["env_kwargs"] |= TINY
    plain["hyperparameters"] |= CASES[name]
    plain["evaluation"] |= {"every": 48, "episodes": 3}
    plain["checkpoint"] = {"every": 48}
    return TrainConfig.create(plain)


class PowerCutError(Exception):
    """What interrupts a training in these tests."""


@pytest.mark.parametrize("name", CASES)
def test_shipped_configuration_trains_and_resumes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(name)
    (whole,) = train(config, output=tmp_path / "whole")

    def on_step(self: Boundary) -> bool:
        if self.num_timesteps >= 120:
            raise PowerCutError
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Boundary, "_on_step", on_step)
        with pytest.raises(PowerCutError):
            train(config, output=tmp_path / "cut")
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    assert resumed.curve == whole.curve
    assert (
        [p["step"] for p in whole.curve] == [0, 64, 128, 160]
        if config.method.on_policy
        else [0, 48, 96, 144]
    )
    one, other = (checkpoint.read(r.folder / "checkpoints", "last") for r in (whole, resumed))
    assert one.tensors.keys() == other.tensors.keys()
    assert all(one.tensors[k].equal(other.tensors[k]) for k in one.tensors)

    folder = whole.folder.parent
    assert folder == tmp_path / "whole" / "ris_noma" / config.algorithm / config.name
    baselines = json.loads((folder / "baselines.json").read_text())
    assert list(baselines) == config.evaluation.baselines
    assert all(b["energy_efficiency_bit_per_j"] > 0 for b in baselines.values())
    with (whole.folder / "evaluations.csv").open() as file:
        assert set(next(csv.DictReader(file))) == {"step", *baselines["random"]}
    policy = load_policy(whole.folder)
    assert policy.card is not None
    assert policy.card.env == config.env
    assert policy.card.env_kwargs["num_users"] == 2
