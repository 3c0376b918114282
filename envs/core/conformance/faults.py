"""Checks that wrong things are refused by type, in one line, and change nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import annotated_types
import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sixgym.envs.core.conformance.single import require_raises
from sixgym.envs.core.conformance.subject import (
    Actions,
    Subject,
    check,
    require,
    require_equal,
    snapshot,
)
from sixgym.envs.core.errors import (
    ActionError,
    OptionsError,
    ParamsError,
    SeedError,
    StateError,
    UnknownIdError,
)
from sixgym.envs.core.vector_view import SixgymVectorEnv


def wrong_actions(subject: Subject) -> None:
    """NaN, wrong shape, wrong kind and out-of-space actions raise ActionError, changing nothing."""
    single, batch = subject.bare(), subject.batch(2)
    single.reset(seed=1)
    batch.reset(seed=1)
    good = Actions(single.action_space).one(0, 0)
    before = snapshot(single.rows.state_dict()), snapshot(batch.state_dict())
    for name, bad in _wrong(single.action_space, good):
        require_raises(ActionError, lambda bad=bad: single.step(bad), f"action: {name}")
    good = Actions(single.action_space).many(2, 0)
    for name, bad in _wrong(single.action_space, good, rows=2):
        require_raises(ActionError, lambda bad=bad: batch.step(bad), f"actions: {name}")
    after = snapshot(single.rows.state_dict()), snapshot(batch.state_dict())
    require_equal(after, before, "a refused action changed the state")
    single.step(Actions(single.action_space).one(0, 0))
    batch.step(good)


def _wrong(space: gym.Space[Any], good: Any, rows: int | None = None) -> Iterator[tuple[str, Any]]:
    """Actions that differ from a good one in one respect."""
    if isinstance(space, spaces.Dict):
        yield "no dictionary", np.zeros(3)
        yield "a missing part", dict(list(good.items())[1:])
        yield "an unknown part", {**good, "no such part": 1}
        for key, part in space.items():
            for name, bad in _wrong(part, good[key], rows):
                yield f"{key}: {name}", {**good, key: bad}
        return
    array = np.asarray(good)
    yield "None", None
    yield "text", "abc"
    yield "an axis too many", array[None]
    yield "numbers that are not real", array + 1j
    if array.ndim:
        yield "a number too few", array[..., :-1] if rows is None else array[:-1]
    last = (-1,) * array.ndim
    for name, value in _values(space):
        bad = copy.deepcopy(array).astype(type(value) if isinstance(value, float) else array.dtype)
        bad[last] = value
        yield name, bad


def _values(space: gym.Space[Any]) -> Iterator[tuple[str, float | int]]:
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        high, low = float(space.high.flat[-1]), float(space.low.flat[-1])
        yield "NaN", math.nan
        yield "infinity", math.inf
        if math.isfinite(high):
            yield "above the range", high + 0.1 * max(1.0, abs(high))
        if math.isfinite(low):
            yield "below the range", low - 0.1 * max(1.0, abs(low))
        return
    yield "half a choice", 0.5
    if isinstance(space, spaces.Discrete):
        yield "above the range", int(space.start + space.n)
        yield "below the range", int(space.start) - 1
    elif isinstance(space, spaces.MultiDiscrete):
        yield "above the range", int(space.start.flat[-1] + space.nvec.flat[-1])
        yield "below the range", int(space.start.flat[-1]) - 1
    elif isinstance(space, spaces.MultiBinary):
        yield "above the range", 2


def wrong_seeds_and_options(subject: Subject) -> None:
    """Wrong seeds, seed lists, reset masks and options are refused."""
    single, batch = subject.bare(), subject.batch(3)
    for seed in (-1, 0.5, "1", True, 2**62):
        require_raises(SeedError, lambda s=seed: single.reset(seed=s), f"seed {seed!r}")
        require_raises(SeedError, lambda s=seed: batch.reset(seed=s), f"seed {seed!r}")
    for seeds in ([1, 2], [1, 2, -3], [1, 2, 0.5]):
        require_raises(SeedError, lambda s=seeds: batch.reset(seed=s), f"seeds {seeds!r}")
    odd = {"no such option": 1}
    batch.reset(seed=0)
    require_raises(OptionsError, lambda: single.reset(seed=0, options=odd), "options")
    require_raises(OptionsError, lambda: batch.reset(options=odd), "options")
    masks: tuple[tuple[Any, type[Exception]], ...] = (
        ([True, True, True], TypeError),
        (np.array([1, 1, 1]), TypeError),
        (np.array([True]), ValueError),
        (np.zeros(3, dtype=bool), ValueError),
    )
    for mask, kind in masks:
        call = {"reset_mask": mask}
        require_raises(kind, lambda c=call: batch.reset(options=c), f"reset_mask {mask!r}")


def wrong_arguments(subject: Subject) -> None:
    """Unknown presets, parameters, dtypes, devices, modes and levels are refused by gym.make."""
    wrong: tuple[tuple[dict[str, Any], type[Exception]], ...] = (
        ({"preset": "no such preset"}, UnknownIdError),
        ({"no_such_parameter": 1}, ParamsError),
        ({"dtype": "float16"}, OptionsError),
        ({"device": "nowhere"}, OptionsError),
        ({"info_level": 7}, OptionsError),
        ({"render_mode": "ascii art"}, OptionsError),
    )
    for kwargs, kind in wrong:
        require_raises(kind, lambda k=kwargs: subject.batch(2, **k), f"make_vec with {kwargs}")
        if "render_mode" not in kwargs:  # gym.make warns of it first
            require_raises(kind, lambda k=kwargs: subject.bare(**k), f"make with {kwargs}")
    for kwargs in ({"num_envs": 0}, {"num_envs": 2, "mode": "Later"}):
        require_raises(OptionsError, lambda k=kwargs: subject.batch(**k), f"make_vec with {kwargs}")


def wrong_parameters(subject: Subject) -> None:
    """Every bounded parameter refuses what lies beyond its bounds, naming itself."""
    kind = subject.system_class.params_type
    for name, field in kind.model_fields.items():
        wrong: list[Any] = [object()]
        for limit in field.metadata:
            step = 1 if isinstance(field.default, int) else 0.5
            if isinstance(limit, annotated_types.Ge):
                wrong.append(limit.ge - step)  # type: ignore[operator]
            elif isinstance(limit, annotated_types.Gt):
                wrong.append(limit.gt)
            elif isinstance(limit, annotated_types.Le):
                wrong.append(limit.le + step)  # type: ignore[operator]
            elif isinstance(limit, annotated_types.Lt):
                wrong.append(limit.lt)
        if isinstance(field.default, float):
            wrong += [math.nan, math.inf, "1.0"]
        for value in wrong:
            call = {name: value}
            what = f"{name}={value!r}"
            text = require_raises(ParamsError, lambda c=call: kind.create(**c), what)
            require(name in text, f"{what}: the message does not name it: {text}")


def wrong_states(subject: Subject) -> None:
    """A saved state with missing, odd or misshapen tensors is refused, changing nothing."""
    env = subject.batch(2)
    env.reset(seed=1)
    good = env.state_dict()
    env.step(Actions(env.single_action_space).many(2, 0))
    before = snapshot(env.state_dict())
    for name in good:
        cut = {k: v for k, v in good.items() if k != name}
        bent = {**good, name: good[name][:1]}
        for what, bad in (("missing", cut), ("misshapen", bent)):
            require_raises(
                StateError, lambda b=bad: env.load_state_dict(b), f"state with {name} {what}"
            )
    extra = {**good, "no such tensor": good["rows.seed"]}
    require_raises(StateError, lambda: env.load_state_dict(extra), "state with a tensor too many")
    other: SixgymVectorEnv = subject.batch(3)
    require_raises(StateError, lambda: other.load_state_dict(good), "state of another batch size")
    require_equal(snapshot(env.state_dict()), before, "a refused state changed the rows")


CHECKS = (
    check(wrong_actions),
    check(wrong_seeds_and_options),
    check(wrong_arguments),
    check(wrong_parameters),
    check(wrong_states),
)
