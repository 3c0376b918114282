"""Checks of the vector environment: every row is an environment of its own."""

from __future__ import annotations

import copy
import functools
import json
import os
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from sixgym.envs.core.conformance.single import require_raises
from sixgym.envs.core.conformance.subject import (
    LONGEST_EPISODE,
    SHORT_EPISODE,
    Actions,
    Skipped,
    Subject,
    check,
    info_row,
    numbers,
    require,
    require_close,
    require_equal,
    require_finite,
    require_near,
    row,
    shapes,
    stack,
)
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.make import make_env
from sixgym.envs.core.vector_view import SixgymVectorEnv

MODES = tuple(mode.value for mode in AutoresetMode)
FINAL = {"final_obs", "_final_obs", "final_info", "_final_info"}


def vector_contract(subject: Subject) -> None:
    """make_vec keeps Gymnasium's vector contract in all three modes and survives its spec."""
    for mode in MODES:
        env = subject.batch(3, mode, max_episode_steps=SHORT_EPISODE)
        require(env.metadata["autoreset_mode"] is AutoresetMode(mode), f"metadata of {mode}")
        batched = gym.vector.utils.batch_space
        spaces_fit = env.observation_space == batched(
            env.single_observation_space, 3
        ) and env.action_space == batched(env.single_action_space, 3)
        require(spaces_fit, "spaces are not the batched single spaces")
        observation, infos = env.reset(seed=0)
        told: list[Any] = [(observation, infos)]
        kept = copy.deepcopy(told)
        keys = infos.keys()
        actions = Actions(env.single_action_space)
        for t in range(2 * SHORT_EPISODE + 2):
            require(env.observation_space.contains(observation), "observation outside its space")
            step = env.step(actions.many(3, t))
            told.append(step)
            kept.append(copy.deepcopy(step))
            observation, reward, terminated, truncated, infos = step
            require(infos.keys() - FINAL == keys, f"info keys changed: {sorted(infos)}")
            _kinds(reward, terminated, truncated)
            ended = terminated | truncated
            if mode == "Disabled" and ended.any():
                observation, _ = env.reset(options={"reset_mask": ended})
        require_equal(told, kept, "what was handed out was written again")
        env.close()
        env.close()
    spec = subject.batch(2).spec
    require(spec is not None, "spec: None")
    json.loads(spec.to_json())  # type: ignore[union-attr]
    again = gym.make_vec(spec)  # type: ignore[arg-type]
    require_equal(again.reset(seed=1), subject.batch(2).reset(seed=1), "batch remade by its spec")


def _kinds(reward: Any, terminated: Any, truncated: Any) -> None:
    kinds = (reward.dtype.kind, terminated.dtype.kind, truncated.dtype.kind)
    require(kinds == ("f", "b", "b"), f"kinds of reward and flags: {kinds}; allowed: f, b, b")
    shapes = {reward.shape, terminated.shape, truncated.shape}
    require(shapes == {(3,)}, f"shapes of reward and flags: {shapes}; allowed: (3,)")


# ----------------------------------------------------------------- one row, one environment


class Event(NamedTuple):
    """What one call told one row."""

    restarted: bool
    seed: int | None
    action: Any
    result: Any
    """(observation, info) of a restart, the five of a step otherwise."""


def row_is_single_environment(subject: Subject) -> None:
    """Row i of any batch is the single environment of seed s + i, whenever rows are reset."""
    for rows in (1, 3, 64):
        script = staggered(subject, rows)
        for i in sorted({0, rows // 3, rows - 2, rows - 1} & set(range(rows))):
            env = subject.make(max_episode_steps=SHORT_EPISODE)
            for at, event in enumerate(script[i]):
                if event.restarted:
                    got: Any = env.reset(seed=event.seed)
                else:
                    got = env.step(event.action)
                    got = (*got[:1], np.float32(got[1]), *got[2:4], _float32(got[4]))
                here = f"batch of {rows}, row {i}, call {at}"
                want = event.result
                if event.restarted:
                    require_near(got[0], want[0], here)
                else:
                    require_near(got, want, here)


def staggered(subject: Subject, rows: int, calls: int = 16) -> list[list[Event]]:
    """A run in which rows end by the limit and by themselves, and some are reset in between."""
    env = subject.batch(rows, max_episode_steps=SHORT_EPISODE)
    actions = Actions(env.single_action_space)
    observation, infos = env.reset(seed=100)
    told = [
        [Event(True, 100 + i, None, (row(observation, i), info_row(infos, i)))] for i in range(rows)
    ]
    ended = np.zeros(rows, dtype=bool)
    for t in range(calls):
        if t in (2, 9) and rows > 1:
            mask = np.arange(rows) % 3 == (1 if t == 2 else 2) % rows
            seeds = [None if t == 2 else 900 + i for i in range(rows)]
            observation, infos = env.reset(seed=seeds, options={"reset_mask": mask})
            for i in np.flatnonzero(mask).tolist():
                result = (row(observation, i), info_row(infos, i))
                told[i].append(Event(True, seeds[i], None, result))
            ended &= ~mask
        batch = actions.many(rows, t)
        observation, reward, terminated, truncated, infos = env.step(batch)
        for i in range(rows):
            seen = (row(observation, i), info_row(infos, i))
            if ended[i]:
                told[i].append(Event(True, None, None, seen))
                continue
            flags = (np.float32(reward[i]), bool(terminated[i]), bool(truncated[i]))
            step = (seen[0], *flags, _float32(seen[1]))
            told[i].append(Event(False, None, actions.one(i, t), step))
        ended = terminated | truncated
    return told


def _float32(info: dict[str, Any]) -> dict[str, Any]:
    return {k: np.asarray(v, dtype=np.float32) for k, v in info.items()}


def rows_do_not_meet(subject: Subject) -> None:
    """Another action or another seed of one row changes no other row, then or later."""
    odd = 2
    for change in ("action", "seed"):
        runs = []
        for changed in (False, True):
            env = subject.batch(5, max_episode_steps=SHORT_EPISODE)
            actions = Actions(env.single_action_space)
            env.reset(seed=50)
            env.step(actions.many(5, 0))
            if changed and change == "seed":
                mask = np.arange(5) == odd
                env.reset(seed=[777] * 5, options={"reset_mask": mask})
            told = []
            for t in range(1, 6):
                times = [t] * 5
                if changed and change == "action" and t == 1:
                    times[odd] += 13
                told.append(env.step(actions.many(5, times))[:4])
            runs.append(told)
        for t, (calm, stirred) in enumerate(zip(*runs, strict=True)):
            for i in (0, 1, 3, 4):
                a, b = ([row(part, i) for part in step] for step in (calm, stirred))
                require_equal(b, a, f"{change} of row {odd} reached row {i} after {t + 1} steps")


def modes_tell_the_same_episodes(subject: Subject) -> None:
    """NEXT_STEP, SAME_STEP and DISABLED with reset_mask give the same episodes."""
    stories = {mode: episodes(subject, mode) for mode in MODES}
    reference = stories.pop("NextStep")
    for mode, story in stories.items():
        for i, (mine, theirs) in enumerate(zip(reference, story, strict=True)):
            many = min(len(mine), len(theirs)) - 1
            require(many >= 1, f"{mode}: no episode of row {i} ended")
            require_near(theirs[:many], mine[:many], f"{mode} against NextStep, row {i}")


def episodes(subject: Subject, mode: str, rows: int = 3) -> list[list[list[Any]]]:
    """Of each row, its episodes as (observation, reward, flags, next observation) of each step."""
    env = subject.batch(rows, mode, max_episode_steps=SHORT_EPISODE)
    actions = Actions(env.single_action_space)
    observation, _ = env.reset(seed=30)
    told: list[list[list[Any]]] = [[[]] for _ in range(rows)]
    fresh = np.zeros(rows, dtype=bool)
    for _ in range(3 * SHORT_EPISODE + 3):
        times = [17 * len(story) + len(story[-1]) for story in told]
        following, reward, terminated, truncated, infos = env.step(actions.many(rows, times))
        ended = terminated | truncated
        final = infos.get("final_obs", following)
        for i in np.flatnonzero(~fresh).tolist():
            last = row(final if ended[i] else following, i)
            flags = (reward[i], terminated[i], truncated[i])
            told[i][-1].append((row(observation, i), *flags, last))
            if ended[i]:
                told[i].append([])
        if mode == "NextStep":
            quiet = not reward[fresh].any() and not ended[fresh].any()
            require(quiet, "NextStep: a restarted row was paid or ended")
            fresh = ended
        elif mode == "Disabled" and ended.any():
            following, _ = env.reset(options={"reset_mask": ended})
        observation = following
    return told


# ------------------------------------------------------------------------- save, restore, copy


def restored_state_continues(subject: Subject) -> None:
    """A saved state, loaded into another batch, goes on identically through ends and resets."""
    for mode in ("NextStep", "SameStep"):
        env, twin = (subject.batch(4, mode, max_episode_steps=SHORT_EPISODE) for _ in range(2))
        actions = Actions(env.single_action_space)
        env.reset(seed=60)
        for t in range(SHORT_EPISODE):
            env.step(actions.many(4, t))
        twin.load_state_dict(env.state_dict())
        for t in range(SHORT_EPISODE + 2):
            batch = actions.many(4, t + 3)
            require_equal(twin.step(batch), env.step(batch), f"{mode}: {t + 1} steps after loading")


def functions_are_pure(subject: Subject) -> None:
    """A step changes neither the state nor the action that it was given."""
    env = subject.batch(3)
    actions = Actions(env.single_action_space)
    env.reset(seed=2)
    for t in range(3):
        state = env.rows.state
        action = env._reader.read(actions.many(3, t), 3)
        kept = copy.deepcopy((tuple(state), action))
        env.rows.advance(action)
        env.rows.observation()
        require_equal((tuple(state), action), kept, "state and action that a step was given")


def torch_output(subject: Subject) -> None:
    """Torch output holds the same numbers as NumPy output, outside inference mode."""
    arrays, tensors = (subject.batch(3, output=kind) for kind in ("numpy", "torch"))
    actions = Actions(arrays.single_action_space)
    require_equal(tensors.reset(seed=1), arrays.reset(seed=1), "reset")
    for t in range(3):
        got, want = tensors.step(actions.many(3, t)), arrays.step(actions.many(3, t))
        require_equal(got, want, "step")
        for leaf in (*(got[0].values() if isinstance(got[0], dict) else (got[0],)), got[1]):
            sound = isinstance(leaf, torch.Tensor) and not leaf.is_inference()
            require(sound, f"torch output: {type(leaf).__name__}, or an inference tensor")


# ------------------------------------------------------------------------------- arithmetic


def double_precision(subject: Subject, rows: int = 64) -> None:
    """One step from the same state in float32 and float64 agrees in all but a row in 32."""
    single, double = (subject.batch(rows, dtype=d) for d in ("float32", "float64"))
    actions = Actions(single.single_action_space)
    single.reset(seed=5)
    double.reset(seed=5)
    for t in range(3):
        like = double.state_dict()
        saved = {k: v.to(like[k].dtype) for k, v in single.state_dict().items()}
        double.load_state_dict(saved)
        batch = actions.many(rows, t)
        a, b = (env.rows.advance(env._reader.read(batch, rows)) for env in (single, double))
        agree = torch.ones(rows, dtype=torch.bool)
        for name, value in numbers(a).items():
            other = numbers(b)[name].double().reshape(rows, -1)
            value = value.double().reshape(rows, -1)
            agree &= torch.isclose(value, other, rtol=1e-3, atol=1e-3).all(1)
        # A comparison that falls within rounding may go either way, in a row here and there.
        require(int((~agree).sum()) <= rows // 32, f"float32 and float64 differ in rows {~agree}")


def compiled_step(subject: Subject, rows: int = 16) -> None:
    """The compiled step agrees with the eager one from the same state."""
    if subject.system_class.contains_solver:
        require_raises(OptionsError, lambda: subject.batch(2, compile=True), "compile=True")
        raise Skipped("the step contains a solver")
    for n in (rows, 1):
        eager, fused = subject.batch(n), subject.batch(n, compile=True)
        actions = Actions(eager.single_action_space)
        eager.reset(seed=9)
        fused.reset(seed=9)
        for t in range(4):
            if t > 0:  # compiled of a first state, in which tensors may be one and the same
                fused.load_state_dict(eager.state_dict())
            batch = eager._reader.read(actions.many(n, t), n)
            a, b = (env.rows.advance(copy.deepcopy(batch)) for env in (eager, fused))
            for name, value in numbers(a).items():
                here = f"compiled {name} of {n} rows"
                require_close(numbers(b)[name], value, here, rtol=1e-3, atol=1e-4)
            require_equal(b.terminated, a.terminated, "compiled terminated")


# ------------------------------------------------------------------------------ whole episodes


def corner_actions(space: gym.Space[Any], random_corners: int = 12) -> list[Any]:
    """Actions at the edges of a space: all lowest, all highest, and random mixtures of both."""
    generator = np.random.default_rng(0)
    picks: list[Any] = [np.zeros, np.ones]

    def corner(part: gym.Space[Any], choose: Any) -> Any:
        if isinstance(part, gym.spaces.Dict):
            return {k: corner(s, choose) for k, s in part.items()}
        low, high = _bounds(part)
        pick = choose(np.shape(low)).astype(bool)
        return np.where(pick, high, low).astype(part.dtype)

    picks += [lambda shape: generator.integers(0, 2, shape)] * random_corners
    corners = [corner(space, pick) for pick in picks]
    if isinstance(space, gym.spaces.Discrete):
        corners += [space.dtype.type(space.start + i) for i in range(int(space.n))][:64]
    return corners


def _bounds(space: gym.Space[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(space, gym.spaces.Box):
        return space.low, space.high
    if isinstance(space, gym.spaces.Discrete):
        return np.asarray(space.start), np.asarray(space.start + space.n - 1)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    shape = space.shape or ()
    return np.zeros(shape, np.int8), np.ones(shape, np.int8)


def corners_stay_finite(subject: Subject) -> None:
    """Corners of the action space held for an episode give no NaN, no infinity, nothing outside."""
    system = subject.bare().system
    held = corner_actions(system.action_space)
    _play(subject.batch(len(held), info_level=1), [stack(system.action_space, held)], subject)


def random_play_stays_finite(subject: Subject) -> None:
    """Random actions for an episode of 32 rows give no NaN, no infinity, nothing outside."""
    env = subject.batch(32, info_level=1)
    actions = Actions(env.single_action_space, seed=3)
    _play(env, [actions.many(32, t) for t in range(LONGEST_EPISODE)], subject)


def _play(env: SixgymVectorEnv, batches: list[Any], subject: Subject) -> None:
    observation, infos = env.reset(seed=21)
    zero = shapes(infos)
    for t in range(subject.episode):
        observation, reward, _, _, infos = env.step(batches[t % len(batches)])
        here = f"step {t}"
        require(env.observation_space.contains(observation), f"{here}: observation outside")
        require_finite((observation, reward), here)
        require_equal(shapes(infos), zero, f"{here}: infos against those of a reset")
        for name, value in infos.items():
            require_finite(value, f"{here}, {name}")
    for name, leaf in env.state_dict().items():
        require(not leaf.is_floating_point() or not leaf.isnan().any(), f"{name} is not a number")


# ------------------------------------------------------------------------- others' vectorisers


def gymnasiums_sync(subject: Subject) -> None:
    """Gymnasium's SyncVectorEnv of single environments equals our batch."""
    ours = subject.batch(2, max_episode_steps=SHORT_EPISODE)
    theirs: Any = SyncVectorEnv([lambda: subject.make(max_episode_steps=SHORT_EPISODE)] * 2)
    actions = Actions(ours.single_action_space)
    require_near(theirs.reset(seed=3)[0], ours.reset(seed=3)[0], "reset")
    for t in range(SHORT_EPISODE + 2):
        got, want = theirs.step(actions.many(2, t)), ours.step(actions.many(2, t))
        require_near((got[0], *got[2:4]), (want[0], *want[2:4]), f"step {t}")
        require_near(got[1].astype(np.float32), want[1], f"reward of step {t}")
    theirs.close()


def gymnasiums_async(subject: Subject) -> None:
    """Gymnasium's AsyncVectorEnv runs the single environment in a process of its own."""
    system = subject.entry.system
    make = functools.partial(make_env, system, **subject.kwargs)
    ours = subject.batch(1)
    # A fork of a process that has used OpenMP may hang, so the child starts afresh.
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        theirs: Any = AsyncVectorEnv([make], context="spawn")
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
    actions = Actions(ours.single_action_space)
    require_equal(theirs.reset(seed=3)[0], ours.reset(seed=3)[0], "reset")
    require_equal(theirs.step(actions.many(1, 0))[0], ours.step(actions.many(1, 0))[0], "step")
    theirs.close()


CHECKS = (
    check(vector_contract),
    check(row_is_single_environment),
    check(rows_do_not_meet),
    check(modes_tell_the_same_episodes),
    check(restored_state_continues),
    check(functions_are_pure),
    check(torch_output),
    check(double_precision),
    check(corners_stay_finite),
    check(random_play_stays_finite),
    check(gymnasiums_sync),
    check(gymnasiums_async),
    check(compiled_step, is_slow=True),
)
