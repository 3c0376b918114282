"""The SB3 view: what SB3's buffers, wrappers, callbacks and algorithms read from it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecMonitor,
    VecNormalize,
    VecVideoRecorder,
)
from toy_systems import Counter

from sixgym.envs.core.errors import ActionError, OptionsError, SeedError, StateError
from sixgym.envs.core.make import make_env, make_vector_env
from sixgym.envs.core.sb3_view import SixgymSB3VecEnv, make_vec_env
from sixgym.envs.core.worlds import row_seed


def zeros(env: SixgymSB3VecEnv) -> Any:
    return np.zeros((env.num_envs, 1), np.float32)


@pytest.mark.parametrize("id", ["toy/Counter-v0", "toy/Gate-v0"])
def test_sb3s_check_env_has_nothing_to_say(id: str, recwarn: pytest.WarningsRecorder) -> None:
    check_env(gym.make(id).unwrapped)
    assert [str(w.message) for w in recwarn] == []


def test_rows_are_the_single_environments_of_the_training_world() -> None:
    """Also across the ends of episodes, against SB3's own DummyVecEnv of single environments."""
    ours = make_vec_env("toy/Counter-v0", 3, seed=2)
    theirs = DummyVecEnv([lambda: Monitor(gym.make("toy/Counter-v0"))] * 3)
    theirs.seed(row_seed("train", 2))
    a, b = ours.reset(), theirs.reset()
    ended = 0
    for _ in range(45):
        assert np.array_equal(a, b)
        action = np.sign(np.asarray(a)[:, :1]).astype(np.float32)
        a, rewards, dones, infos = ours.step(action)
        b, expected, other_dones, other_infos = theirs.step(action)
        np.testing.assert_allclose(rewards, expected, rtol=1e-6)
        assert np.array_equal(dones, other_dones)
        for i in np.flatnonzero(dones):
            ended += 1
            mine, other = infos[i], other_infos[i]
            assert np.array_equal(mine["terminal_observation"], other["terminal_observation"])
            assert mine["TimeLimit.truncated"] == other["TimeLimit.truncated"]
            assert mine["episode"]["l"] == other["episode"]["l"]
            assert mine["episode"]["r"] == pytest.approx(other["episode"]["r"], abs=1e-4)
    assert ended > 10


@pytest.mark.parametrize("finite", [False, True])
def test_time_limit_is_an_end_for_who_asks(finite: bool) -> None:
    """SB3 bootstraps exactly where ``TimeLimit.truncated`` is true."""
    env = make_vec_env("toy/Counter-v0", 3, seed=2, finite_horizon=finite)
    env.reset()
    cut = []
    for _ in range(20):
        _, _, dones, infos = env.step(zeros(env))
        cut += [infos[i]["TimeLimit.truncated"] for i in np.flatnonzero(dones)]
    assert any(cut) is not finite
    assert len(cut) >= 3


def test_what_sb3_adds_to_rewards_does_not_reach_the_rows() -> None:
    env = make_vec_env("toy/Counter-v0", 2, seed=0)
    twin = make_vec_env("toy/Counter-v0", 2, seed=0)
    env.reset()
    twin.reset()
    for _ in range(10):
        observation, rewards, _, _ = env.step(zeros(env))
        rewards += 100.0
        expected, *_ = twin.step(zeros(twin))
        assert np.array_equal(observation, expected)


def test_episode_metrics_are_the_sums_of_the_rewards_terms() -> None:
    env = make_vec_env("toy/Gate-v0", 2, seed=0)
    env.reset()
    misses = np.zeros(2)
    for _ in range(60):
        observation = env.env.rows.observation().numpy()
        action = np.zeros(2, np.int64)
        misses += observation.argmax(1) != 0
        _, _, dones, infos = env.step(action)
        for i in np.flatnonzero(dones):
            assert infos[i]["episode_metrics"]["miss"] == misses[i]
            misses[i] = 0


def test_worlds_seeds_and_their_errors() -> None:
    first = 2**40 + 3 * 2**24
    assert make_vec_env("toy/Counter-v0", 2, seed=3).seed(3) == [first, first + 1]
    view = make_vec_env("toy/Counter-v0", 2, world="validation")
    assert view.seed(0)[0] == 2**43
    with pytest.raises(SeedError, match="train"):
        make_vec_env("toy/Counter-v0", 2, seed=-1)
    with pytest.raises(OptionsError, match="world"):
        make_vec_env("toy/Counter-v0", 2, seed=1, world="test")  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="SameStep"):
        SixgymSB3VecEnv(make_vector_env(Counter, 2))


def test_seeds_reach_the_rows_once() -> None:
    env = make_vec_env("toy/Counter-v0", 2, seed=0)
    first = env.reset()
    second = env.reset()
    assert not np.array_equal(first, second)
    env.seed(0)
    assert np.array_equal(first, env.reset())


def test_a_saved_view_continues_identically() -> None:
    env = make_vec_env("toy/Counter-v0", 3, seed=0)
    env.reset()
    for _ in range(7):
        env.step(zeros(env))
    twin = make_vec_env("toy/Counter-v0", 3)
    twin.load_state_dict(env.state_dict())
    for _ in range(25):
        a, b = env.step(zeros(env)), twin.step(zeros(twin))
        assert all(np.array_equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
        for mine, other in zip(a[3], b[3], strict=True):
            assert mine.get("episode", {}).get("r") == other.get("episode", {}).get("r")
    saved = env.state_dict()
    saved["episode.returns"] = saved["episode.returns"][:2]
    with pytest.raises(StateError, match=r"episode\.returns"):
        env.load_state_dict(saved)


def test_attributes_methods_and_masks() -> None:
    env = make_vec_env("toy/Gate-v0", 3, seed=0)
    env.reset()
    assert env.get_attr("num_envs", [0, 2]) == [3, 3]
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert not env.env_is_wrapped(gym.wrappers.TimeLimit)[0]
    masks = env.env_method("action_masks")
    assert [m.sum() for m in masks] == [3, 3, 3]
    assert len(env.env_method("action_masks", indices=[1])) == 1
    env.set_attr("note", 5)
    assert env.get_attr("note") == [5, 5, 5]
    with pytest.raises(OptionsError, match="indices"):
        env.set_attr("note", 5, indices=[0])
    with pytest.raises(AttributeError):
        env.get_attr("nothing")
    with pytest.raises(ActionError, match="allowed: 0 to 3"):
        env.step(np.array([0, 1, 4]))


def test_sb3s_wrappers() -> None:
    with pytest.warns(UserWarning, match="overwritten by the `VecMonitor`"):
        monitored = VecMonitor(make_vec_env("toy/Counter-v0", 3, seed=0))
    env = VecNormalize(monitored)
    env.reset()
    lengths = []
    for _ in range(60):
        _, _, dones, infos = env.step(np.zeros((3, 1), np.float32))
        lengths += [infos[i]["episode"]["l"] for i in np.flatnonzero(dones)]
        assert all(not infos[i] for i in np.flatnonzero(~dones))
    assert len(lengths) > 10
    assert np.isfinite(env.obs_rms.mean).all()  # type: ignore[union-attr]


def test_single_environments_in_subprocesses() -> None:
    env = SubprocVecEnv([lambda: make_env(Counter)] * 2)
    ours = make_vector_env(Counter, 2)
    env.seed(5)
    assert np.array_equal(env.reset(), ours.reset(seed=5)[0])
    env.close()


def test_callbacks_and_evaluation(tmp_path: Any) -> None:
    env = make_vec_env("toy/Counter-v0", 4, seed=0)
    judge = make_vec_env("toy/Counter-v0", 2, seed=0, world="validation")
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0)
    evaluate = EvalCallback(
        judge, eval_freq=32, n_eval_episodes=4, log_path=str(tmp_path), verbose=0
    )
    model.learn(256, callback=[evaluate, CheckpointCallback(32, str(tmp_path))])
    assert np.load(tmp_path / "evaluations.npz")["results"].shape == (2, 4)
    assert len(list(tmp_path.glob("*.zip"))) == 2
    returns, lengths = evaluate_policy(model, judge, 5, return_episode_rewards=True)
    assert len(returns) == len(lengths) == 5
    assert len(model.ep_info_buffer) > 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("algorithm", "id"),
    [(A2C, "toy/Gate-v0"), (DQN, "toy/Gate-v0"), (SAC, "toy/Counter-v0")],
)
def test_algorithms_learn_without_complaint(algorithm: Any, id: str) -> None:
    model = algorithm("MlpPolicy", make_vec_env(id, 2, seed=0), seed=1)
    model.learn(150)
    assert model.num_timesteps >= 150


def test_maskable_ppo_never_tries_what_is_masked() -> None:
    from sb3_contrib import MaskablePPO

    env = make_vec_env("toy/Gate-v0", 4, seed=0)
    model = MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0)
    model.learn(256)
    observation = env.reset()
    for _ in range(20):
        masks = np.stack(env.env_method("action_masks"))
        actions, _ = model.predict(observation, action_masks=masks)  # type: ignore[arg-type]
        assert masks[np.arange(4), actions].all()
        observation, *_ = env.step(actions)


def test_vec_video_recorder(tmp_path: Any) -> None:
    env = make_vec_env("toy/Tank-v0", 2, seed=0, render_mode="rgb_array")
    video = VecVideoRecorder(env, str(tmp_path), lambda step: step == 0, video_length=5)
    video.reset()
    for _ in range(6):
        action = {"pump": np.zeros((2, 2), np.float32), "valve": np.zeros(2, np.int64)}
        video.step(action)  # type: ignore[arg-type]
    video.close()
    assert list(tmp_path.glob("*.mp4"))
    assert env.get_images()[0].shape == (400, 600, 3)  # type: ignore[union-attr]


def test_a_float64_system_hands_sb3_float32_rewards() -> None:
    env = make_vec_env("toy/Counter-v0", 2, seed=0, dtype="float64")
    env.reset()
    observation, rewards, _, _ = env.step(zeros(env))
    assert np.asarray(observation).dtype == rewards.dtype == np.float32
    assert make_env(Counter, dtype="float64").reset(seed=0)[0].dtype == np.float32
