"""Stable-Baselines3's own wrappers and callbacks on our rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agent_cases import small
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CallbackList, CheckpointCallback, EvalCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from sixgym.agents.train import train
from sixgym.envs.core.sb3_view import make_vec_env


def model(env: Any, **kwargs: Any) -> PPO:
    return PPO("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=2, device="cpu", **kwargs)


def play(env: Any, steps: int = 25) -> list[list[dict[str, Any]]]:
    env.seed(3)
    env.reset()
    choose = np.random.default_rng(0)
    return [env.step(choose.uniform(-1, 1, (4, 1)).astype(np.float32))[3] for _ in range(steps)]


@pytest.mark.filterwarnings("ignore:The environment is already wrapped")
def test_vec_monitor_counts_what_the_rows_report_themselves() -> None:
    own = play(make_vec_env("toy/Counter-v0", 4))
    monitored = play(VecMonitor(make_vec_env("toy/Counter-v0", 4)))
    ended = 0
    for mine, theirs in zip(own, monitored, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert ("episode" in a) == ("episode" in b)
            if "episode" in a:
                ended += 1
                assert a["episode"]["l"] == b["episode"]["l"]
                # VecMonitor adds up in float32.
                assert a["episode"]["r"] == pytest.approx(b["episode"]["r"], rel=1e-5)
    assert ended > 10


def test_vec_normalize_sees_final_observations_too() -> None:
    env = VecNormalize(make_vec_env("toy/Counter-v0", 4), norm_reward=False, training=False)
    env.obs_rms.mean, env.obs_rms.var = np.array([0.5, 0.0]), np.array([0.25, 1.0])  # type: ignore[union-attr]
    plain, normalized = play(make_vec_env("toy/Counter-v0", 4)), play(env)
    pairs = [
        (a["terminal_observation"], b["terminal_observation"])
        for one, other in zip(plain, normalized, strict=True)
        for a, b in zip(one, other, strict=True)
        if "terminal_observation" in a
    ]
    assert len(pairs) > 10
    for raw, scaled in pairs:
        assert scaled == pytest.approx((raw - [0.5, 0.0]) / [0.5, 1.0], abs=1e-6)


def test_eval_and_checkpoint_callbacks_work(tmp_path: Path) -> None:
    env = VecNormalize(make_vec_env("toy/Counter-v0", 4, seed=0))
    judge = VecNormalize(
        make_vec_env("toy/Counter-v0", 2, seed=0, world="validation"), training=False
    )
    evaluation = EvalCallback(judge, n_eval_episodes=4, eval_freq=16, verbose=0, warn=False)
    saving = CheckpointCallback(16, str(tmp_path), save_vecnormalize=True)
    learner = model(env, seed=0).learn(128, callback=CallbackList([evaluation, saving]))
    assert np.isfinite(evaluation.last_mean_reward)
    # SB3's checkpoint of the last rollout is from before its update.
    saved = PPO.load(tmp_path / "rl_model_128_steps.zip")
    assert saved.num_timesteps == learner.num_timesteps == 128
    assert (tmp_path / "rl_model_vecnormalize_128_steps.pkl").is_file()


def test_episode_returns_reach_sb3s_log_without_a_monitor() -> None:
    learner = model(make_vec_env("toy/Gate-v0", 4, seed=0)).learn(128)
    assert learner.ep_info_buffer
    assert all(0 <= e["r"] <= 9 and 3 <= e["l"] <= 9 for e in learner.ep_info_buffer)


def test_ppo_learns_the_gate(tmp_path: Path) -> None:
    """The open door is in the observation: the best return is 9, one a step; chance is 1.0."""
    hyper = {"n_steps": 16, "batch_size": 128, "n_epochs": 8, "learning_rate": 3e-3}
    config = small(
        "ppo",
        num_envs=32,
        total_steps=10_240,
        hyperparameters=hyper,
        evaluation={"every": 0, "episodes": 64},
        checkpoint={"every": 0},
    )
    (result,) = train(config, output=tmp_path)
    first, last = result.curve[0]["return"], result.curve[-1]["return"]
    assert first is not None
    assert first < 4.0
    assert last == 9.0
    assert [point["step"] for point in result.curve] == [0, 10_240]


def test_entropy_schedule_ends_at_its_last_value(tmp_path: Path) -> None:
    import csv

    hyper = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "ent_coef": [0.01, 0.002]}
    (result,) = train(small("ppo", hyperparameters=hyper), output=tmp_path)
    with (result.folder / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = {int(r["step"]): float(r["train/ent_coef"]) for r in rows}
    # Rollouts of 8 steps x 4 rows: after the n-th of 6 the progress is n / 6.
    assert logged == {32 * n: pytest.approx(0.01 - 0.008 * n / 6) for n in range(1, 7)}


def test_learning_rate_schedule_ends_at_zero(tmp_path: Path) -> None:
    import csv

    hyper = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "learning_rate": "lin_6e-4"}
    (result,) = train(small("ppo", hyperparameters=hyper), output=tmp_path)
    with (result.folder / "progress.csv").open() as file:
        rates = [
            float(r["train/learning_rate"])
            for r in csv.DictReader(file)
            if r["train/learning_rate"]
        ]
    # Logged by the update, written out with the next rollout.
    assert rates == [pytest.approx(6e-4 * (1 - n / 6)) for n in range(1, 6)]


def test_run_writes_only_below_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sixgym.agents

    package = Path(sixgym.agents.__file__).parent
    before = {p for p in package.rglob("*") if "__pycache__" not in p.parts}
    monkeypatch.chdir(tmp_path)
    (result,) = train(small("ppo", seeds=[2]))
    assert result.folder == Path("runs/gate/ppo/small/seed_2")
    names = {p.name for p in result.folder.iterdir()}
    assert names >= {
        "run.json",
        "progress.csv",
        "evaluations.csv",
        "checkpoints",
        "policies",
        "tensorboard",
    }
    assert result.figure.read_bytes()[:4] == b"\x89PNG"
    assert {p for p in package.rglob("*") if "__pycache__" not in p.parts} == before


def test_record_of_the_run_says_what_was_run(tmp_path: Path) -> None:
    import json

    (result,) = train(small("ppo", seeds=[2]), output=tmp_path)
    record = json.loads((result.folder / "run.json").read_text())
    assert record["config"]["algorithm"] == "ppo"
    assert record["seed"] == 2
    assert record["steps"] == 192
    assert record["curve"] == result.curve
    assert set(record["versions"]) >= {"python", "torch", "stable-baselines3"}
    assert record["commit"] is None or len(record["commit"].rstrip("+")) == 40
    assert record["started"] <= record["finished"]


def test_threads_are_set_for_the_training_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from sixgym.agents.callbacks import Boundary

    seen: list[int] = []

    def on_step(self: Boundary) -> bool:
        seen.append(torch.get_num_threads())
        return True

    monkeypatch.setattr(Boundary, "_on_step", on_step)
    before = torch.get_num_threads()
    train(small("ppo", threads=before + 1), output=tmp_path)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
