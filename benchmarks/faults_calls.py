"""Bad calls of Gymnasium's views: actions, seeds, options, masks, states, parameters, arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from faults_inputs import (
    ACTIONS,
    ARGUMENTS,
    MASKS,
    OPTIONS,
    SEEDS,
    STATES,
    Trial,
    anything,
    drawn,
    masks_like,
    options_like,
    spoiled,
    spoiled_states,
    values_of,
)

from sixgym.envs.core.registry import entry


def state_of(env: Any) -> dict[str, torch.Tensor]:
    """Everything that decides how an environment goes on."""
    return {k: v.clone() for k, v in env.unwrapped.rows.state_dict().items()}


def unchanged(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> None:
    """Raise unless two states are the same.

    Raises:
        AssertionError: they are not.
    """
    odd = [k for k, v in before.items() if not torch.equal(v.nan_to_num(), after[k].nan_to_num())]
    if odd:
        raise AssertionError(f"the state changed: {', '.join(odd)}")


def refused_whole(env: Any, call: Callable[[], Any]) -> Any:
    """What a call gives; where it is refused the state must be what it was."""
    before = state_of(env)
    try:
        return call()
    except Exception:
        unchanged(before, state_of(env))
        raise


def all_finite(told: Any) -> None:
    """Raise unless observations and rewards of a step are finite.

    Raises:
        AssertionError: they are not.
    """
    parts = told[0].values() if isinstance(told[0], dict) else [told[0]]
    arrays = [torch.as_tensor(p) for p in (*parts, told[1])]
    if not all(bool(a.isfinite().all()) for a in arrays):
        raise AssertionError("accepted, and what came of it is not finite")


def _views(id: str) -> Iterator[tuple[str, Any]]:
    """One row and three, in NumPy and in torch, with the name of each."""
    yield f"{id} x 1", gym.make(id)
    yield f"{id} x 3", gym.make_vec(id, 3)


def stepping(env: Any, action: Any) -> Callable[[], None]:
    """A step; where it is refused the state must be what it was, where not all must be finite."""

    def run() -> None:
        env.reset(seed=0)
        all_finite(refused_whole(env, lambda: env.step(action)))

    return run


def _stepping_on(env: Any, good: Any, action: Any) -> Callable[[], None]:
    """The same for a step after the end of an episode of some rows."""

    def run() -> None:
        env.reset(seed=0)
        env.step(good)
        mask = np.array([True, *[False] * (env.num_envs - 1)])
        env.reset(options={"reset_mask": mask})  # the others have ended
        all_finite(refused_whole(env, lambda: env.step(action)))

    return run


def actions(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Actions of the single and of the vector environment, and of one whose rows have ended."""
    for id in ids:
        more = (f"{id} x 3, torch", gym.make_vec(id, 3, output="torch"))
        for where, env in (*_views(id), more):
            env.action_space.seed(0)
            good = env.action_space.sample()
            hand = [*ACTIONS, *spoiled(good)]
            yield from (Trial("action", where, repr(a), stepping(env, a), True) for a in hand)
            for value in drawn(anything(), fuzz):
                yield Trial("action", where, repr(value), stepping(env, value))
            yield Trial(
                "action", where, "a good one, after all that", stepping(env, good), must_pass=True
            )
        for mode in ("NextStep", "Disabled"):
            env = gym.make_vec(id, 3, max_episode_steps=1, autoreset_mode=mode)
            env.action_space.seed(0)
            good = env.action_space.sample()
            for value in (*ACTIONS, *spoiled(good)):
                run = _stepping_on(env, good, value)
                # Of rows that have ended the action is not looked at.
                yield Trial("action", f"{id} x 3, ended, {mode}", repr(value), run)


def seeds(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Seeds of ``reset``, single and vector."""
    for id in ids:
        for where, env in _views(id):
            for value in SEEDS:
                yield Trial("seed", where, repr(value), resetting(env, seed=value), True)
            for value in drawn(anything(), fuzz):
                yield Trial("seed", where, repr(value), resetting(env, seed=value))
            yield Trial("seed", where, "5, after all that", resetting(env, seed=5), must_pass=True)


def resetting(env: Any, **kwargs: Any) -> Callable[[], None]:
    """A reset; where it is refused the state must be what it was."""

    def run() -> None:
        env.reset(seed=0)
        refused_whole(env, lambda: env.reset(**kwargs))

    return run


def options(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Options of ``reset``, single and vector."""
    for id in ids:
        for where, env in _views(id):
            known = env.unwrapped.system.reset_options
            for value in OPTIONS:
                yield Trial("options", where, repr(value), resetting(env, options=value), True)
            for value in drawn(options_like((*known, "reset_mask")), fuzz):
                yield Trial("options", where, repr(value), resetting(env, options=value))
            yield Trial(
                "options", where, "none, after all that", resetting(env, seed=1), must_pass=True
            )


def masks(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Masks of the rows that a ``reset`` restarts, in every autoreset mode."""
    for id in ids:
        for mode in ("NextStep", "SameStep", "Disabled"):
            env = gym.make_vec(id, 3, autoreset_mode=mode)
            where = f"{id} x 3, {mode}"
            for value in MASKS:
                given = {"reset_mask": value}
                yield Trial("mask", where, repr(value), resetting(env, options=given), True)
            for value in drawn(masks_like(), fuzz):
                given = {"reset_mask": value}
                yield Trial("mask", where, repr(value), resetting(env, options=given))
            first = {"reset_mask": np.array([True, False, True])}
            unstarted = gym.make_vec(id, 3, autoreset_mode=mode)
            yield Trial(
                "mask",
                where,
                "some rows in the first reset",
                lambda env=unstarted, first=first: env.reset(options=first),
                True,
            )
            yield Trial("mask", where, "a good one", resetting(env, options=first), must_pass=True)


def states(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """States that are loaded: other things, and a good one with one thing wrong."""
    for id in ids:
        env: Any = gym.make_vec(id, 3)
        env.reset(seed=0)
        good = env.state_dict()
        hand = [*((repr(s), s) for s in STATES), *spoiled_states(good)]
        for shown, value in hand:
            yield Trial("state", f"{id} x 3", shown, _loading(env, value), True)
        for shown, value in drawn(_states_like(good), fuzz):
            yield Trial("state", f"{id} x 3", shown, _loading(env, value))
        single: Any = gym.make(id).unwrapped
        single.reset(seed=0)
        for shown, value in (*hand[: len(STATES)], *spoiled_states(single.rows.state_dict())):
            yield Trial("state", f"{id} x 1", shown, _loading(single.rows, value, single), True)
        yield Trial("state", f"{id} x 3", "a good one", _loading(env, good), must_pass=True)


def _states_like(good: Mapping[str, torch.Tensor]) -> Any:
    """A good state with one tensor replaced by anything."""
    from hypothesis import strategies as st

    names = st.sampled_from(sorted(good))
    pairs = st.tuples(names, anything())
    return pairs.map(lambda pair: (f"{pair[0]}={pair[1]!r}", {**good, pair[0]: pair[1]}))


def _loading(target: Any, value: Any, env: Any = None) -> Callable[[], None]:
    """Load a state; where it is refused the state must be what it was."""
    of = target if env is None else env

    def run() -> None:
        of.reset(seed=1)
        refused_whole(of, lambda: target.load_state_dict(value))
        if env is None:
            of.action_space.seed(0)
            all_finite(of.step(of.action_space.sample()))

    return run


def params(ids: Sequence[str], fuzz: int) -> Iterator[Trial]:
    """Every parameter of every system, and the arguments that all have."""
    for id in ids:
        kind = entry(id).load_system().params_type
        for name in kind.model_fields:
            for value in values_of(name, fuzz):
                yield Trial(
                    "params",
                    id,
                    f"{name}={value!r}",
                    lambda kind=kind, name=name, value=value: kind.create(**{name: value}),
                )
        for given in ARGUMENTS:
            yield Trial("arguments", id, repr(given), _making(id, given), True)


def _making(id: str, given: Mapping[str, Any]) -> Callable[[], None]:
    def run() -> None:
        gym.make_vec(id, **{"num_envs": 2, **given})

    return run
