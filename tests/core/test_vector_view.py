"""The vector environment: Gymnasium's vector contract, mirrored from its own tests."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, NormalizeReward, RecordEpisodeStatistics
from numpy.typing import NDArray
from toy_systems import Counter, Gate, Tank

from sixgym.envs.core.errors import ActionError, OptionsError, SeedError, StateError
from sixgym.envs.core.make import make_env, make_vector_env

TOYS = ("toy/Counter-v0", "toy/Gate-v0", "toy/Tank-v0")
MODES = [mode.value for mode in AutoresetMode]


def act(observation: Any) -> NDArray[np.float32]:
    """A policy of `Counter` without memory, so that modes see the same actions."""
    return np.sign(observation[:, :1]).astype(np.float32)


# ------------------------------------------------------------------ autoreset


Episode = list[tuple[float, float, float]]


def episodes(mode: str, n: int, steps: int = 60) -> list[list[Episode]]:
    """Of each row, its episodes as (first observation, reward, next observation) of every step."""
    env = make_vector_env(Counter, n, max_episode_steps=9, autoreset_mode=mode)
    observation, _ = env.reset(seed=40)
    told: list[list[Episode]] = [[[]] for _ in range(n)]
    fresh = np.zeros(n, dtype=bool)
    for _ in range(steps):
        following, reward, terminated, truncated, infos = env.step(act(observation))
        ended = terminated | truncated
        final = following
        if mode == "SameStep" and ended.any():
            assert np.array_equal(infos["_final_obs"], ended)
            final = np.where(ended[:, None], infos["final_obs"], following)
        for i in np.flatnonzero(~fresh):
            told[i][-1].append((observation[i, 0], reward[i], final[i, 0]))
            if ended[i]:
                told[i].append([])
        if mode == "NextStep":
            assert not ended[fresh].any()
            assert not reward[fresh].any()
            fresh = ended
        if mode == "Disabled" and ended.any():
            following, _ = env.reset(options={"reset_mask": ended})
        observation = following
    return told


@pytest.mark.parametrize("n", [1, 5])
def test_the_three_modes_tell_the_same_episodes(n: int) -> None:
    stories = [episodes(mode, n) for mode in MODES]
    for row in range(n):
        many = min(len(story[row]) for story in stories) - 1
        assert many >= 4
        for story in stories[1:]:
            assert story[row][:many] == stories[0][row][:many]


def test_next_step_ignores_the_action_of_an_ended_row() -> None:
    outcomes = []
    for odd in (0.0, 1.0, np.nan, 7.0):
        env = make_vector_env(Counter, 4, max_episode_steps=3)
        env.reset(seed=1)
        ended = np.zeros(4, dtype=bool)
        while not ended.any() or ended.all():
            _, _, terminated, truncated, _ = env.step(np.zeros((4, 1), np.float32))
            ended = terminated | truncated
        actions = np.zeros((4, 1), np.float32)
        actions[ended] = odd
        outcomes.append(env.step(actions)[:4])
    assert all(data_equivalence(outcomes[0], other, exact=True) for other in outcomes[1:])


def test_next_step_does_not_step_when_every_row_has_ended(monkeypatch: Any) -> None:
    """It is the restart alone, whose results are those of a batch that does step."""
    env, other = (
        make_vector_env(Counter, 3, end=10**9, max_episode_steps=2, info_level=1) for _ in range(2)
    )
    none = np.zeros((3, 1), np.float32)
    stepped = []
    advance = env.rows.advance
    monkeypatch.setattr(env.rows, "advance", lambda *a: stepped.append(1) or advance(*a))
    assert data_equivalence(env.reset(seed=1), other.reset(seed=1), exact=True)
    for i in range(12):
        assert data_equivalence(out := env.step(none), other.step(none), exact=True)
        other.load_state_dict(other.state_dict())  # forgets that all of them ended together
        assert bool(out[3].all()) == (i % 3 == 1)
        if i % 3 == 2:
            assert not any(np.any(value) for value in (out[1], out[2], out[3], out[4]["noise"]))
    assert len(stepped) == 8
    with pytest.raises(ActionError):
        env.step(none[:2])


def test_next_step_still_checks_the_rows_that_go_on() -> None:
    env = make_vector_env(Counter, 4)
    env.reset(seed=1)
    ended = np.zeros(4, dtype=bool)
    while not ended.any() or ended.all():
        ended = env.step(np.zeros((4, 1), np.float32))[2]
    actions = np.full((4, 1), np.nan, np.float32)
    with pytest.raises(ActionError, match="nan"):
        env.step(actions)


def test_same_step_gives_final_observation_and_info_only_when_something_ended() -> None:
    env = make_vector_env(Counter, 3, autoreset_mode="SameStep", info_level=1)
    env.reset(seed=2)
    seen = set()
    for _ in range(40):
        _, _, terminated, _, infos = env.step(np.zeros((3, 1), np.float32))
        seen.add(bool(terminated.any()))
        assert ("final_obs" in infos) == ("final_info" in infos) == bool(terminated.any())
        if terminated.any():
            assert infos["final_obs"].shape == (3, 2)
            assert np.array_equal(infos["_final_info"], terminated)
            assert infos["final_info"]["moved"][terminated].all()
            assert not infos["moved"][terminated].any()
            assert infos["noise"].shape == (3, 2)
    assert seen == {True, False}


def test_disabled_refuses_to_step_an_ended_row() -> None:
    env = make_vector_env(Counter, 2, max_episode_steps=1, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(np.zeros((2, 1)))
    with pytest.raises(StateError, match="reset_mask"):
        env.step(np.zeros((2, 1)))
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(StateError, match=r"rows \[1\]"):
        env.step(np.zeros((2, 1)))
    env.reset()
    env.step(np.zeros((2, 1)))


@pytest.mark.parametrize("mode", ["NextStep", "NEXT_STEP", AutoresetMode.NEXT_STEP])
def test_the_mode_is_an_enum_in_attribute_and_metadata(mode: Any) -> None:
    env = make_vector_env(Counter, 1, autoreset_mode=mode)
    assert env.metadata["autoreset_mode"] is env.autoreset_mode is AutoresetMode.NEXT_STEP
    assert "autoreset_mode" not in type(env).metadata


# ---------------------------------------------------------------------- seeds


def test_a_seed_list_and_a_first_seed_are_the_same() -> None:
    one, many = make_vector_env(Counter, 3), make_vector_env(Counter, 3)
    assert data_equivalence(one.reset(seed=5)[0], many.reset(seed=[5, 6, 7])[0], exact=True)
    assert data_equivalence(one.reset(seed=[9, None, 4])[0][1], many.reset()[0][1], exact=True)
    single = make_env(Counter)
    assert np.array_equal(one.rows.observation()[2], torch.from_numpy(single.reset(seed=4)[0]))


@pytest.mark.parametrize(
    "seed", [-1, 1.5, "12", True, 2**62 - 1, [1, 2], [1, 2.0, 3], [1, None, -3], "abc", {}]
)
def test_a_wrong_seed_is_refused(seed: Any) -> None:
    env = make_vector_env(Counter, 3)
    with pytest.raises(SeedError, match="seed"):
        env.reset(seed=seed)


def test_unseeded_batches_differ_and_repeat_by_np_random() -> None:
    first, second = (make_vector_env(Counter, 3) for _ in range(2))
    assert not np.array_equal(first.reset()[0], second.reset()[0])
    for env in (first, second):
        env.reset(seed=3)
        env.reset()
    assert data_equivalence(first.reset()[0], second.reset()[0], exact=True)


# ---------------------------------------------------------------- partial reset


def test_partial_reset() -> None:
    env = make_vector_env(Counter, 3, autoreset_mode="Disabled")
    env.reset(seed=1)
    before = env.step(np.zeros((3, 1)))[0]
    options = {"reset_mask": np.array([True, False, True])}
    after, _ = env.reset(seed=[10, 20, 30], options=options)
    assert "reset_mask" in options, "RecordEpisodeStatistics looks for it afterwards"
    single = make_env(Counter)
    assert np.array_equal(after[1], before[1])
    assert np.array_equal(after[0], single.reset(seed=10)[0])
    assert np.array_equal(after[2], single.reset(seed=30)[0])


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True, False, True], TypeError),
        (np.array([1, 0, 1]), TypeError),
        (np.array([True, False]), ValueError),
        (np.array([False, False, False]), ValueError),
    ],
)
def test_partial_reset_failure(mask: Any, error: type[Exception]) -> None:
    env = make_vector_env(Counter, 3)
    env.reset(seed=0)
    with pytest.raises(error, match="reset_mask"):
        env.reset(options={"reset_mask": mask})


def test_the_first_reset_is_of_all_rows_and_options_are_known() -> None:
    env = make_vector_env(Counter, 2)
    with pytest.raises(StateError, match="first reset"):
        env.reset(seed=1, options={"reset_mask": np.array([True, False])})
    with pytest.raises(OptionsError, match="'mask'"):
        env.reset(seed=1, options={"mask": 1})
    with pytest.raises(StateError, match="before reset"):
        env.step(np.zeros((2, 1)))


# -------------------------------------------------------------------- actions


def test_action_count_compatibility() -> None:
    env = make_vector_env(Gate, 3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(4, np.int64))
    with pytest.raises(TypeError, match="scalar"):
        env.step(1)
    env.step([0, 1, 2])
    env.step((0, 1, 2))
    env.step(torch.tensor([0, 1, 2]))


# --------------------------------------------------------------------- output


def test_torch_output_is_the_same_batch() -> None:
    arrays = make_vector_env(Tank, 3)
    tensors = make_vector_env(Tank, 3, output="torch")
    a, _ = arrays.reset(seed=1)
    t, _ = tensors.reset(seed=1)
    action = {"pump": np.full((3, 2), 0.5, np.float32), "valve": np.array([0, 1, 2])}
    as_tensors = {k: torch.from_numpy(v) for k, v in action.items()}
    for _ in range(3):
        assert all(isinstance(v, torch.Tensor) and not v.is_inference() for v in t.values())
        assert data_equivalence(a, {k: v.numpy() for k, v in t.items()}, exact=True)
        a, ra, *_ = arrays.step(action)
        t, rt, *_ = tensors.step(as_tensors)
        assert np.array_equal(ra, rt.numpy())


@pytest.mark.parametrize("id", TOYS)
@pytest.mark.parametrize("mode", MODES)
def test_spaces_shapes_and_kinds(id: str, mode: str) -> None:
    env = gym.make_vec(id, num_envs=4, autoreset_mode=mode)
    assert type(env).__name__ == "SixgymVectorEnv"
    assert env.observation_space == gym.vector.utils.batch_space(env.single_observation_space, 4)
    env.action_space.seed(0)
    observation, infos = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    keys = infos.keys()
    for _ in range(5):
        observation, reward, terminated, truncated, infos = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert reward.shape == terminated.shape == truncated.shape == (4,)
        assert reward.dtype == np.float32
        assert terminated.dtype == truncated.dtype == np.bool_
        assert infos.keys() - {"final_obs", "_final_obs", "final_info", "_final_info"} == keys
        if (terminated | truncated).any() and mode == "Disabled":
            env.reset(options={"reset_mask": terminated | truncated})
    env.close()
    env.close()


def test_make_vec_round_trip_and_other_vectorisations() -> None:
    env = gym.make_vec("toy/Counter-v0", num_envs=3, autoreset_mode="SameStep", gain=0.25)
    json.loads(env.spec.to_json())  # type: ignore[union-attr]
    again = gym.make_vec(env.spec)  # type: ignore[arg-type]
    assert again.num_envs == 3
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert again.system.params.gain == 0.25  # type: ignore[attr-defined]
    sync = gym.make_vec("toy/Counter-v0", num_envs=3, vectorization_mode="sync", gain=0.25)
    assert np.array_equal(sync.reset(seed=4)[0], env.reset(seed=4)[0])


@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_gymnasiums_own_batches_equal_ours(make: Any) -> None:
    """Row by row and step by step, through ends by the system and by the time limit."""
    ours = gym.make_vec("toy/Counter-v0", num_envs=3)
    theirs = make([lambda: gym.make("toy/Counter-v0")] * 3)
    a, _ = ours.reset(seed=7)
    b, _ = theirs.reset(seed=7)
    for _ in range(45):
        assert np.array_equal(a, b)
        action = act(a)
        a, ra, ta, ca, _ = ours.step(action)
        b, rb, tb, cb, _ = theirs.step(action)
        np.testing.assert_allclose(ra, rb, rtol=1e-6)
        assert np.array_equal(ta, tb)
        assert np.array_equal(ca, cb)
    theirs.close()


def test_nothing_handed_out_is_written_again() -> None:
    env = make_vector_env(Counter, 3, autoreset_mode="SameStep")
    kept = [env.reset(seed=0)]
    copies = [copy.deepcopy(kept[0])]
    for _ in range(12):
        kept.append(env.step(np.zeros((3, 1), np.float32)))  # type: ignore[arg-type]
        copies.append(copy.deepcopy(kept[-1]))
    assert data_equivalence(kept, copies, exact=True)


def test_writing_into_what_was_handed_out_does_not_reach_the_rows() -> None:
    env, twin = make_vector_env(Tank, 2), make_vector_env(Tank, 2)
    observation, _ = env.reset(seed=0)
    twin.reset(seed=0)
    action = {"pump": np.full((2, 2), 0.5, np.float32), "valve": np.array([0, 1])}
    for _ in range(3):
        observation["level"][:] = 9.0
        action_copy = copy.deepcopy(action)
        observation, reward, *_ = env.step(action_copy)
        action_copy["pump"][:] = 0.0
        reward[:] = 5.0
        other, *_ = twin.step(action)
        assert data_equivalence(observation, other, exact=True)


# ------------------------------------------------------------- save and restore


@pytest.mark.parametrize("mode", MODES)
def test_a_saved_batch_continues_identically_even_between_end_and_reset(mode: str) -> None:
    def make() -> Any:
        return make_vector_env(Counter, 4, max_episode_steps=5, autoreset_mode=mode)

    env = make()
    observation, _ = env.reset(seed=1)
    while True:
        observation, _, terminated, truncated, _ = env.step(act(observation))
        if (terminated | truncated).any():
            break
    twin = make()
    twin.load_state_dict(env.state_dict())
    if mode == "Disabled":
        mask = {"reset_mask": terminated | truncated}
        observation, _ = env.reset(options=mask)
        assert np.array_equal(observation, twin.reset(options=mask)[0])
    for _ in range(3 if mode == "Disabled" else 12):
        a, b = env.step(act(observation)), twin.step(act(observation))
        assert data_equivalence(a, b, exact=True)
        observation = a[0]
        if mode == "Disabled" and (a[2] | a[3]).any():
            break


def test_a_wrong_state_is_refused() -> None:
    env = make_vector_env(Counter, 2)
    env.reset(seed=0)
    saved = env.state_dict()
    with pytest.raises(StateError, match=r"rows\.ended"):
        make_vector_env(Counter, 3).load_state_dict(saved)
    del saved["rows.ended"]
    with pytest.raises(StateError, match=r"rows\.ended"):
        env.load_state_dict(saved)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
def test_a_copy_goes_on_alike(copier: Any) -> None:
    env = gym.make_vec("toy/Tank-v0", num_envs=2, render_mode="rgb_array")
    env.reset(seed=3)
    env.render()
    twin = copier(env)
    action = env.action_space.sample()
    assert data_equivalence(env.step(action), twin.step(action), exact=True)


# -------------------------------------------------------------------- wrappers


@pytest.mark.parametrize("mode", MODES)
def test_record_episode_statistics(mode: str) -> None:
    env = RecordEpisodeStatistics(gym.make_vec("toy/Counter-v0", num_envs=3, autoreset_mode=mode))
    env.reset(seed=0)
    told = []
    for _ in range(60):
        _, _, terminated, truncated, infos = env.step(np.zeros((3, 1), np.float32))
        if "episode" in infos:
            told += infos["episode"]["l"][infos["_episode"]].tolist()
        if mode == "Disabled" and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})
    plain = episodes(mode, 3)
    assert len(told) > 10
    assert max(told) <= 20
    assert plain


def test_other_wrappers_and_the_step_benchmark_work() -> None:
    env = NormalizeReward(DictInfoToList(gym.make_vec("toy/Counter-v0", num_envs=2)))
    env.reset(seed=0)
    _, _, _, _, infos = env.step(env.action_space.sample())
    assert [set(info) for info in infos] == [{"moved", "bias"}] * 2
    performance: Any = pytest.importorskip("gymnasium.utils.performance")
    if hasattr(performance, "benchmark_vector_step"):  # new in Gymnasium 1.4
        vector = gym.make_vec("toy/Counter-v0", num_envs=2)
        assert performance.benchmark_vector_step(vector, 0.05) > 0


def test_pictures_of_every_row() -> None:
    env = make_vector_env(Tank, 2, render_mode="rgb_array")
    env.reset(seed=0)
    frames: Any = env.render()
    assert len(frames) == 2
    assert frames[0].shape == (400, 600, 3)
    assert not np.array_equal(frames[0], frames[1])


@pytest.mark.parametrize(
    ("kwargs", "field"),
    [
        ({"num_envs": 0}, "num_envs"),
        ({"autoreset_mode": "Later"}, "autoreset_mode"),
        ({"output": "jax"}, "output"),
        ({"max_episode_steps": 0}, "max_episode_steps"),
        ({"render_mode": "rgb_array"}, "render_mode"),
        ({"dtype": "float16"}, "dtype"),
        ({"device": "nowhere"}, "device"),
        ({"info_level": 3}, "info_level"),
    ],
)
def test_wrong_arguments_are_named(kwargs: dict[str, Any], field: str) -> None:
    with pytest.raises(OptionsError, match=field):
        make_vector_env(Counter, **{"num_envs": 2, **kwargs})
