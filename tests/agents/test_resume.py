"""A training that was cut off and resumed is the uninterrupted training, bit for bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from agent_cases import SMALL, small

from sixgym.agents import checkpoint
from sixgym.agents.callbacks import Boundary
from sixgym.agents.config import TrainConfig
from sixgym.agents.train import RunResult, run_folder, train
from sixgym.envs.core.errors import CheckpointError, ConfigError


class PowerCutError(Exception):
    """What interrupts a training in these tests."""


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning curve takes half of the time of such small trainings."""
    monkeypatch.setattr("sixgym.agents.train.learning_curve", lambda path, *_: path)


def cut(monkeypatch: pytest.MonkeyPatch, at_step: int, run: Any) -> None:
    """Run something that is cut off in the middle of the rollout that reaches a step."""

    def on_step(self: Boundary) -> bool:
        if self.num_timesteps >= at_step:
            raise PowerCutError
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Boundary, "_on_step", on_step)
        with pytest.raises(PowerCutError):
            run()


def end(result: RunResult) -> checkpoint.Snapshot:
    """The final state without wall times."""
    found = checkpoint.read(result.folder / "checkpoints", "last")
    del found.values["boundary"]["seconds"]
    for episode in found.values["episodes"]:
        del episode["t"]
    for clock in ("time/fps", "time/time_elapsed"):
        found.values["log"].pop(clock, None)
    return found


def rows(path: Path) -> list[dict[str, str]]:
    """A table without wall times and without the count of loops of this process."""
    clocks = ("time/fps", "time/time_elapsed", "time/iterations")
    with path.open(newline="") as file:
        return [{k: v for k, v in r.items() if k not in clocks} for r in csv.DictReader(file)]


def assert_same(one: RunResult, other: RunResult) -> None:
    a, b = end(one), end(other)
    assert a.values == b.values
    assert a.tensors.keys() == b.tensors.keys()
    different = [k for k in a.tensors if not torch.equal(a.tensors[k], b.tensors[k])]
    assert different == []
    assert one.curve == other.curve
    assert one.best == other.best
    for name in ("progress.csv", "evaluations.csv"):
        assert rows(one.folder / name) == rows(other.folder / name)
    assert one.policy.read_bytes() == other.policy.read_bytes()


@pytest.mark.parametrize("algorithm", SMALL)
def test_resumed_training_equals_the_uninterrupted_one(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(algorithm)
    (whole,) = train(config, output=tmp_path / "whole")
    cut(monkeypatch, 150, lambda: train(config, output=tmp_path / "cut"))
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    assert_same(whole, resumed)


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "dqn"])
def test_resumed_training_keeps_normalisation_and_schedules(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hyper = {**SMALL[algorithm], "learning_rate": "lin_1e-3"}
    if algorithm == "ppo":
        hyper |= {"ent_coef": [0.01, 0.002], "clip_range": [0.2, 0.1]}
    both = {"observation": True, "reward": True}
    config = small(algorithm, hyperparameters=hyper, normalize=both)
    (whole,) = train(config, output=tmp_path / "whole")
    # Cut twice: the second time from a resumed run.
    cut(monkeypatch, 110, lambda: train(config, output=tmp_path / "cut"))
    cut(monkeypatch, 170, lambda: train(config, output=tmp_path / "cut", resume=True))
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    assert_same(whole, resumed)


def test_tensorboard_hides_what_the_cut_run_wrote_after_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = small("ppo", checkpoint={"every": 64}, evaluation={"every": 32, "episodes": 2})
    cut(monkeypatch, 120, lambda: train(config, output=tmp_path))  # saved at 64, evaluated at 96
    (resumed,) = train(config, output=tmp_path, resume=True)
    events = EventAccumulator(str(resumed.folder / "tensorboard"))
    events.Reload()
    steps = [event.step for event in events.Scalars("eval/return")]
    assert steps == [point["step"] for point in resumed.curve] == [32 * n for n in range(7)]


def test_run_cut_before_its_first_checkpoint_starts_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("ppo")
    (whole,) = train(config, output=tmp_path / "whole")
    cut(monkeypatch, 60, lambda: train(config, output=tmp_path / "cut"))
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    assert_same(whole, resumed)


def test_resuming_goes_on_with_the_seeds_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("ppo", seeds=[3, 4])
    whole = train(config, output=tmp_path / "whole")
    cut(monkeypatch, 150, lambda: train(config, output=tmp_path / "cut"))
    resumed = train(config, output=tmp_path / "cut", resume=True)
    assert [r.seed for r in resumed] == [3, 4]
    for one, other in zip(whole, resumed, strict=True):
        assert_same(one, other)


def test_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    (first,) = train(small("ppo"), output=tmp_path)
    before = (first.folder / "checkpoints" / "last.json").read_bytes()
    (again,) = train(small("ppo"), output=tmp_path, resume=True)
    assert again.steps == first.steps == 192
    assert again.curve == first.curve
    assert (first.folder / "checkpoints" / "last.json").read_bytes() == before


def test_new_run_never_overwrites_an_old_one(tmp_path: Path) -> None:
    (first,) = train(small("a2c"), output=tmp_path)
    (second,) = train(small("a2c"), output=tmp_path)
    assert first.folder.parent.name == "small"
    assert second.folder.parent.name == "small-2"


def test_runs_that_start_together_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = [run_folder(small("ppo"), tmp_path) for _ in range(3)]
    assert [f.name for f in folders] == ["small", "small-2", "small-3"]
    assert run_folder(small("ppo"), tmp_path, resume=True) == folders[-1]


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"resume: no run .*small"):
        train(small("ppo"), output=tmp_path, resume=True)


def changed(**changes: Any) -> TrainConfig:
    return small("ppo", **changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"total_steps": 400}, "total_steps=192; this configuration has 400"),
        ({"num_envs": 8}, "num_envs=4; this configuration has 8"),
        ({"env_kwargs": {"doors": 5}}, "env_kwargs={}"),
        ({"hyperparameters": {**SMALL["ppo"], "gamma": 0.5}}, "hyperparameters="),
    ],
)
def test_checkpoint_of_another_configuration_is_refused(
    changes: dict[str, Any], field: str, tmp_path: Path
) -> None:
    train(small("ppo"), output=tmp_path)
    with pytest.raises(CheckpointError, match=r"last\.json: written with ") as caught:
        train(changed(**changes), output=tmp_path, resume=True)
    assert field in str(caught.value)


def test_checkpoint_without_replay_buffer_is_not_continued(tmp_path: Path) -> None:
    (result,) = train(small("dqn", checkpoint={"every": 64}), output=tmp_path)
    folder = result.folder / "checkpoints"
    best = checkpoint.read(folder, "last")
    del best.values["replay"]
    best.values["num_timesteps"] = 64  # as if it had not finished
    checkpoint.write(folder, "last", best)
    with pytest.raises(CheckpointError, match=r"last\.json: 'replay' is missing"):
        train(small("dqn", checkpoint={"every": 64}), output=tmp_path, resume=True)
