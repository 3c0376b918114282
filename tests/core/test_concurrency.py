"""Environments in processes and threads, pickled and copied: always the same trajectory."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import sixgym
from sixgym.envs.core.registry import entries

FAST = ["sixgym/LlmMac-v0", "sixgym/NetGptBatch-v0"]
"""A flat action of a game, and observations that are a dictionary."""
EVERY = [
    pytest.param(e.id, marks=[] if e.id in FAST else [pytest.mark.slow])
    for e in entries()
    if e.id.startswith("sixgym/")
]
STARTS = [
    # Anything but a fork begins without torch.
    pytest.param(m, marks=[] if m == "fork" else [pytest.mark.slow])
    for m in multiprocessing.get_all_start_methods()
]
MODES = [
    # A bare interpreter takes seconds: one mode there; the makers are pickled for a server too.
    pytest.param(mode, *start.values, marks=start.marks)
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
    for start in STARTS
    if (mode, *start.values) != (AutoresetMode.SAME_STEP, "spawn")
]
LIMIT = 5
STEPS = 12

assert sixgym.__version__
# "spawn" shows what a bare interpreter does; a server of forks imports torch once for all of them.
multiprocessing.set_forkserver_preload(["sixgym.envs.core.make", "stable_baselines3"])


def make(id: str) -> gym.Env[Any, Any]:
    """At module level, so that every start method finds it."""
    torch.set_num_threads(1)
    return gym.make(f"sixgym:{id}", max_episode_steps=LIMIT, disable_env_checker=True)


def actions(space: gym.Space[Any], count: int = STEPS) -> list[Any]:
    space.seed(3)
    return [space.sample() for _ in range(count)]


def play(id: str, seed: int = 11, steps: int = STEPS) -> list[Any]:
    """Observations, rewards, flags and infos of a single environment, with its restarts."""
    env = make(id)
    return [env.reset(seed=seed), *go_on(env, actions(env.action_space, steps))]


def go_on(env: Any, moves: list[Any]) -> list[Any]:
    """What an environment tells from here on; a vector environment restarts by itself."""
    told: list[Any] = []
    for action in moves:
        told.append(env.step(action))
        if isinstance(env, gym.Env) and (told[-1][2] or told[-1][3]):
            told.append(env.reset())
    return told


def assert_equal(one: Any, other: Any) -> None:
    """Nested values, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif isinstance(one, np.ndarray) and one.dtype == object:
        assert_equal(one.tolist(), other.tolist())
    else:
        np.testing.assert_array_equal(one, other)


def play_batch(env: gym.vector.VectorEnv[Any, Any, Any]) -> list[Any]:
    told: list[Any] = [env.reset(seed=[5, 6, 7])]
    told.extend(env.step(action) for action in actions(env.action_space))
    env.close()
    return told


# ---------------------------------------------------------------------------------------- processes


@pytest.mark.parametrize(("mode", "start"), MODES)
@pytest.mark.parametrize("id", EVERY)
def test_async_vector_env_tells_what_sync_does(id: str, mode: AutoresetMode, start: str) -> None:
    """Gymnasium's own vectorisation, one process an environment."""
    makers: list[Callable[[], Any]] = [partial(make, id)] * 3
    serial = play_batch(SyncVectorEnv(makers, autoreset_mode=mode))
    parallel = play_batch(AsyncVectorEnv(makers, autoreset_mode=mode, context=start))
    assert_equal(parallel, serial)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("id", EVERY)
def test_every_start_method_plays_the_same(id: str, start: str) -> None:
    """Forked too, with torch used in the parent: one thread, so that no lock is left behind."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = play(id)
        context = multiprocessing.get_context(start)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert_equal(pool.submit(play, id).result(timeout=120), here)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("id", EVERY)
def test_subproc_vec_env_tells_what_dummy_does(id: str, start: str) -> None:
    """Stable-Baselines3's vectorisation, one process an environment."""
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    told = []
    makers = [partial(make, id)] * 2
    for cls in (vec_env.DummyVecEnv, partial(vec_env.SubprocVecEnv, start_method=start)):
        env = cls(makers)
        env.seed(9)
        story: list[Any] = [env.reset()]
        env.action_space.seed(1)
        pairs = [np.stack([env.action_space.sample() for _ in range(2)]) for _ in range(STEPS)]
        story.extend(env.step(pair) for pair in pairs)
        env.close()
        told.append(story)
    assert_equal(told[1], told[0])


# ------------------------------------------------------------------------------------------ threads


@pytest.mark.parametrize("id", EVERY)
def test_threads_do_not_meet(id: str) -> None:
    """Four environments in four threads, started together: each as if it were alone."""
    alone = [play(id, seed) for seed in range(4)]
    together = threading.Barrier(4)

    def run(seed: int) -> list[Any]:
        together.wait(timeout=60)
        return play(id, seed)

    with ThreadPoolExecutor(4) as pool:
        for mine, want in zip(pool.map(run, range(4)), alone, strict=True):
            assert_equal(mine, want)


# ------------------------------------------------------------------------------- pickles and copies


def through_pickle(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))  # noqa: S301 - our own, of a moment ago


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("id", EVERY)
def test_a_copy_in_mid_episode_goes_on_alike_and_apart(
    id: str, rows: int, copied: Callable[[Any], Any]
) -> None:
    env: Any = make(id) if rows == 1 else gym.make_vec(id, rows, max_episode_steps=LIMIT)
    env.reset(seed=4)
    first, *rest = actions(env.action_space, LIMIT)
    go_on(env, [first])  # where a round is one step, the copy is of the next one's beginning
    twin = copied(env)
    mine = go_on(env, rest)
    assert_equal(go_on(twin, rest), mine)
    again = copied(env)
    twin.reset(seed=99)  # what one does the other does not notice
    assert_equal(again.reset(seed=4), env.reset(seed=4))


@pytest.mark.slow
@pytest.mark.parametrize("id", FAST)
def test_a_pickle_goes_on_in_another_process(id: str) -> None:
    env = make(id)
    env.reset(seed=4)
    first, *rest = actions(env.action_space, LIMIT)
    env.step(first)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(_go_on, pickle.dumps(env), rest).result(timeout=120)
    assert_equal(there, go_on(env, rest))


def _go_on(data: bytes, rest: list[Any]) -> list[Any]:
    return go_on(pickle.loads(data), rest)  # noqa: S301 - made by the test
