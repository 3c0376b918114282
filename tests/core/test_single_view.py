"""The single environment: Gymnasium's checker without silenced warnings, order, seeds, infos."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo
from toy_systems import Counter, Gate

from sixgym.envs.core.errors import ActionError, OptionsError, SeedError, StateError
from sixgym.envs.core.make import make_env, make_vector_env

TOYS = ("toy/Counter-v0", "toy/Gate-v0", "toy/Tank-v0")


@pytest.mark.parametrize("id", TOYS)
def test_check_env_has_nothing_to_say(id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(id).unwrapped)


@pytest.mark.parametrize("id", TOYS)
def test_the_spec_survives_json_and_makes_the_same_environment(id: str) -> None:
    env = gym.make(id, dtype="float64", info_level=1)
    json.loads(env.spec.to_json())  # type: ignore[union-attr]
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))  # type: ignore[union-attr]
    assert data_equivalence(env.reset(seed=1), again.reset(seed=1), exact=True)


def test_episodes_follow_one_another_from_the_first_seed() -> None:
    env = make_env(Counter)
    runs = [[env.reset(seed=s)[0] for s in (5, None, None)] for _ in range(2)]
    assert data_equivalence(runs[0], runs[1], exact=True)
    assert not np.array_equal(runs[0][0], runs[0][1])


def test_an_unseeded_environment_takes_its_seed_from_np_random() -> None:
    first, second = make_env(Counter), make_env(Counter)
    first.np_random = np.random.default_rng(1)
    second.np_random = np.random.default_rng(1)
    assert data_equivalence(first.reset()[0], second.reset()[0], exact=True)
    assert not np.array_equal(make_env(Counter).reset()[0], make_env(Counter).reset()[0])


def test_the_single_environment_is_row_0_of_a_batch() -> None:
    env, batch = make_env(Counter), make_vector_env(Counter, 3)
    alone, _ = env.reset(seed=8)
    together, _ = batch.reset(seed=8)
    assert np.array_equal(alone, together[0])
    action = np.full((3, 1), 0.3, np.float32)
    obs, reward, ended, _, info = env.step(action[0])
    many, rewards, ends, _, infos = batch.step(action)
    assert np.array_equal(obs, many[0])
    assert reward == rewards[0]
    assert ended == ends[0]
    assert info["moved"] == pytest.approx(infos["moved"][0])


def test_infos_have_the_same_keys_and_shapes_from_reset_to_end() -> None:
    env = make_env(Counter, info_level=1)
    _, first = env.reset(seed=1)
    _, _, _, _, later = env.step(np.zeros(1, np.float32))
    assert first.keys() == later.keys() == {"moved", "bias", "noise"}
    assert np.shape(first["noise"]) == np.shape(later["noise"]) == (2,)
    assert first["noise"].dtype == later["noise"].dtype
    assert make_env(Counter).reset(seed=1)[1].keys() == {"moved", "bias"}


def test_steps_out_of_order_are_refused() -> None:
    env = make_env(Gate)
    with pytest.raises(StateError, match="before reset"):
        env.step(0)
    env.reset(seed=1)
    for _ in range(200):
        if env.step(0)[2]:
            break
    with pytest.raises(StateError, match="after the end"):
        env.step(0)
    env.reset()
    env.step(0)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", True, 2**62, [1]])
def test_a_wrong_seed_is_refused(seed: Any) -> None:
    with pytest.raises(SeedError, match="seed"):
        make_env(Counter).reset(seed=seed)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(OptionsError, match="'start'"):
        make_env(Counter).reset(seed=1, options={"start": 2})


def test_a_refused_action_changes_nothing() -> None:
    env = make_env(Counter)
    env.reset(seed=1)
    saved = env.rows.state_dict()
    with pytest.raises(ActionError, match="nan"):
        env.step(np.array([np.nan]))
    assert all(bool((v == saved[k]).all()) for k, v in env.rows.state_dict().items())


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
def test_a_copy_goes_on_alike_and_apart(copier: Any) -> None:
    env = gym.make("toy/Tank-v0", render_mode="rgb_array")
    env.reset(seed=3)
    env.render()
    twin = copier(env)
    action = {"pump": np.ones(2, np.float32), "valve": np.int64(1)}
    assert data_equivalence(env.step(action), twin.step(action), exact=True)
    assert np.array_equal(env.render(), twin.render())


def test_masks() -> None:
    env = make_env(Gate)
    obs, _ = env.reset(seed=0)
    mask = env.action_masks()
    assert mask.dtype == np.bool_
    assert mask.tolist().count(False) == 1
    assert mask[int(obs.argmax())]
    boxed = make_env(Counter)
    boxed.reset(seed=0)
    with pytest.raises(OptionsError, match="Box"):
        boxed.action_masks()


def test_pictures() -> None:
    env = gym.make("toy/Tank-v0", render_mode="rgb_array")
    env.reset(seed=0)
    first: Any = env.render()
    assert first.shape == (400, 600, 3)
    assert first.dtype == np.uint8
    env.step({"pump": np.ones(2, np.float32), "valve": np.int64(0)})
    assert not np.array_equal(first, env.render())
    with pytest.raises(OptionsError, match="render_mode"):
        make_env(Counter, render_mode="rgb_array")


def test_record_episode_statistics() -> None:
    env = RecordEpisodeStatistics(gym.make("toy/Gate-v0"))
    env.reset(seed=0)
    total = 0.0
    while True:
        _, reward, terminated, truncated, info = env.step(0)
        total += float(reward)
        if terminated or truncated:
            break
    assert info["episode"]["r"] == pytest.approx(total)


def test_record_video(tmp_path: Any) -> None:
    env = RecordVideo(gym.make("toy/Tank-v0", render_mode="rgb_array"), str(tmp_path))
    env.reset(seed=0)
    for _ in range(20):
        env.step(env.action_space.sample())
    env.close()
    assert list(tmp_path.glob("*.mp4"))
