"""A training that was cut off and resumed is the uninterrupted training, bit for bit."""

from __future__ import annotations

import csv
import errno
import itertools
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from agent_cases import SMALL, small

from sixgym.agents import checkpoint
from sixgym.agents.callbacks import Boundary
from sixgym.agents.config import TrainConfig
from sixgym.agents.runs import locked, new_folder
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


def test_logged_values_that_are_no_numbers_are_kept_by_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SB3's explained variance where all returns are the same."""
    monkeypatch.setattr("stable_baselines3.ppo.ppo.explained_variance", lambda *_: float("nan"))
    config = small("ppo")
    (whole,) = train(config, output=tmp_path / "whole")
    assert end(whole).values["log"]["train/explained_variance"] == "nan"
    cut(monkeypatch, 150, lambda: train(config, output=tmp_path / "cut"))
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    assert_same(whole, resumed)


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


# --------------------------------------------------------------------------------- kills and disks


KILLS = 10
LONG = {
    "total_steps": 3200,
    "checkpoint": {"every": 64},
    "evaluation": {"every": 640, "episodes": 4},
}


def train_and_say(config: TrainConfig, output: Path, resume: bool, begun: Any) -> None:
    """In a process of its own; says when it begins."""
    begun.set()
    train(config, output=output, resume=resume)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_killed_at_ten_random_moments_it_is_the_same_training(
    algorithm: str, tmp_path: Path
) -> None:
    """SIGKILL, which a process can neither catch nor delay; on-policy and off-policy."""
    torch.set_num_threads(1)  # of more, a fork would have none
    config = small(algorithm, **LONG)
    began = time.monotonic()
    (whole,) = train(config, output=tmp_path / "whole")
    took = time.monotonic() - began
    folder = tmp_path / "killed"
    folder.mkdir()
    fork = multiprocessing.get_context("fork")
    moments = random.Random(7)
    steps = [0]
    for kill in range(KILLS):
        begun = fork.Event()
        is_there = bool(list(folder.rglob("config.yaml")))
        process = fork.Process(target=train_and_say, args=(config, folder, is_there, begun))
        process.start()
        assert begun.wait(60)
        time.sleep(moments.uniform(0.02, 1.0 / KILLS) * took)
        assert process.is_alive(), f"kill {kill}: the training was over before it"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        written = folder.rglob("checkpoints/last.json")  # whole, whatever was cut
        saved = [checkpoint.read(path.parent, "last") for path in written]
        steps += [snapshot.values["num_timesteps"] for snapshot in saved]
    assert steps == sorted(steps)
    assert 0 < steps[-1] < LONG["total_steps"]
    (resumed,) = train(config, output=folder, resume=True)
    assert_same(whole, resumed)


def test_full_disk_ends_a_training_with_a_named_error_and_it_goes_on_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("ppo")
    (whole,) = train(config, output=tmp_path / "whole")
    count = itertools.count()
    save = checkpoint.save_file

    def full(*args: Any) -> None:
        if next(count) == 1:  # the second checkpoint does not fit
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(CheckpointError, match=r"last\.json: cannot be written: No space left"):
            train(config, output=tmp_path / "cut")
    (resumed,) = train(config, output=tmp_path / "cut", resume=True)
    assert_same(whole, resumed)


def test_output_that_cannot_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output=.*: cannot be written: "):
        train(small("ppo"), output=tmp_path / "file" / "runs")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(ConfigError, match="cannot be written: Read-only file system"):
        new_folder(tmp_path / "runs", "small")


HOLD = """
import sys, time
from pathlib import Path
from sixgym.agents.runs import locked
with locked(Path(sys.argv[1])):
    Path(sys.argv[1], "held").write_text("")
    time.sleep(600)
"""


def test_a_folder_is_one_process_s_until_that_is_gone(tmp_path: Path) -> None:
    """Another that wants it is refused; killed, the first leaves no lock behind."""
    with locked(tmp_path):
        pass
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)])
    while not (tmp_path / "held").exists():
        assert holder.poll() is None
        time.sleep(0.02)
    with pytest.raises(ConfigError, match="another process trains there"), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass


def test_a_clock_that_goes_backwards_changes_nothing_that_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("ppo")
    (whole,) = train(config, output=tmp_path / "whole")
    back = itertools.count()
    start, start_ns = time.time(), time.time_ns()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: start - 3600.0 * next(back))
        patch.setattr(time, "time_ns", lambda: start_ns - 3_600_000_000_000 * next(back))
        (odd,) = train(config, output=tmp_path / "odd")
    assert_same(whole, odd)
    assert odd.seconds >= 0.0
