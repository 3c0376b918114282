"""What is checked, and the tools that the checks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor

from sixgym.envs.core.errors import ConformanceError
from sixgym.envs.core.gym_view import SixgymEnv
from sixgym.envs.core.registry import Entry, entry
from sixgym.envs.core.system import System
from sixgym.envs.core.vector_view import SixgymVectorEnv

SHORT_EPISODE = 6
"""Time limit of checks that need many ends."""
ROUNDING = 1e-4
"""How far apart rounding may bring one row computed in batches of two sizes."""
LONGEST_EPISODE = 200
"""Steps after which a check that plays a whole episode stops."""


class Skipped(Exception):  # noqa: N818  (not an error)
    """A check does not apply; the message says why."""


class Advised(Exception):  # noqa: N818  (not an error)
    """A check passes, but there is something that a user will trip over; the message says what."""


class Check(NamedTuple):
    """One promise that every environment keeps."""

    name: str
    title: str
    run: Callable[[Any], str | None]
    """Called with what is checked (a `Subject` or a `Guest`); returns None or what it measured.

    Raises `ConformanceError` (or what it met) if it fails, `Skipped` if it does not apply,
    `Advised` if it passes with a warning."""
    is_slow: bool = False

    def __str__(self) -> str:
        return self.name


def check(run: Callable[[Any], str | None], *, is_slow: bool = False) -> Check:
    """A check named and titled by its function and the first line of its docstring."""
    title = (run.__doc__ or run.__name__).splitlines()[0].rstrip(".")
    return Check(run.__name__, title, run, is_slow)


@dataclass(frozen=True)
class Subject:
    """A registered id with arguments, and the environments that the checks make of it.

    Args:
        id: a registered id.
        kwargs: parameters and options for ``gymnasium.make``.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> Entry:
        """What is registered under the id."""
        return entry(self.id)

    @property
    def system_class(self) -> type[System[Any, Any]]:
        """The class of the system."""
        return self.entry.load_system()

    @property
    def episode(self) -> int:
        """Steps of a whole episode, at most `LONGEST_EPISODE`."""
        return min(self.entry.max_episode_steps or LONGEST_EPISODE, LONGEST_EPISODE)

    def make(self, **kwargs: Any) -> gym.Env[Any, Any]:
        """The single environment as ``gymnasium.make`` gives it."""
        return gym.make(self.id, disable_env_checker=True, **{**self.kwargs, **kwargs})

    def bare(self, **kwargs: Any) -> SixgymEnv:
        """The single environment without wrappers."""
        return cast("SixgymEnv", self.make(**kwargs).unwrapped)

    def batch(self, num_envs: int, mode: str = "NextStep", **kwargs: Any) -> SixgymVectorEnv:
        """The vector environment as ``gymnasium.make_vec`` gives it."""
        merged = {**self.kwargs, **kwargs, "autoreset_mode": mode}
        return cast("SixgymVectorEnv", gym.make_vec(self.id, num_envs, **merged))


def require(condition: object, message: str) -> None:
    """Raise `ConformanceError` with the message unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


def require_equal(got: Any, expected: Any, what: str) -> None:
    """Raise `ConformanceError` naming the first place where two results differ by a bit."""
    where = difference(got, expected)
    require(where is None, f"{what}: {where}")


def require_near(got: Any, expected: Any, what: str) -> None:
    """As `require_equal`, but floats may differ by rounding.

    Row by row the arithmetic is the same, but torch adds up a row of a batch of one in another
    order than a row among many.
    """
    where = difference(got, expected, tolerance=ROUNDING)
    require(where is None, f"{what}: {where}")


def difference(a: Any, b: Any, path: str = "", tolerance: float = 0.0) -> str | None:
    """The first difference of two nested results, or None.

    Args:
        a: one result.
        b: the other.
        path: of both in what they are part of.
        tolerance: 0 for bit equality; of floats otherwise, relative where they exceed 1.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            return f"{path or 'keys'}: {sorted(a)} and {sorted(b)}"
        pairs = [(a[k], b[k], f"{path}[{k!r}]") for k in a]
    elif isinstance(a, tuple | list) and isinstance(b, tuple | list):
        if len(a) != len(b):
            return f"{path}: {len(a)} and {len(b)} items"
        pairs = [(x, y, f"{path}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        x, y = _array(a), _array(b)
        if x.shape != y.shape or x.dtype.kind != y.dtype.kind:
            return f"{path}: {x.dtype} {x.shape} and {y.dtype} {y.shape}"
        same = np.asarray(x == y)
        if tolerance and x.dtype.kind == "f":
            same = np.isclose(x, y, rtol=tolerance, atol=tolerance)
        if same.all():
            return None
        at = tuple(int(i) for i in np.argwhere(~np.atleast_1d(same))[0])
        return f"{path}: {np.atleast_1d(x)[at]!r} and {np.atleast_1d(y)[at]!r} at {at}"
    found = (difference(x, y, place, tolerance) for x, y, place in pairs)
    return next((text for text in found if text is not None), None)


def _array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def snapshot(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state dictionary as arrays, for `require_equal`."""
    return {k: v.numpy().copy() for k, v in state.items()}


class Actions:
    """A fixed pool of actions of a space, so that a step's action is a function of its place.

    Args:
        space: the action space of one row.
        seed: of the sampling.
        size: of the pool.
    """

    def __init__(self, space: gym.Space[Any], seed: int = 0, size: int = 37) -> None:
        space.seed(seed)
        self.space = space
        self._pool = [space.sample() for _ in range(size)]

    def one(self, row: int, time: int) -> Any:
        """The action of a row at a time, which may be counted in any way."""
        return self._pool[(row * 11 + time * 5) % len(self._pool)]

    def many(self, rows: int, time: int | Sequence[int]) -> Any:
        """The actions of a batch; ``time`` of all rows, or of each."""
        times = [time] * rows if isinstance(time, int) else time
        return stack(self.space, [self.one(i, t) for i, t in enumerate(times)])


def stack(space: gym.Space[Any], items: Sequence[Any]) -> Any:
    """Elements of a space as one of the batched space."""
    out: Any = create_empty_array(space, len(items))
    return concatenate(space, items, out)


def row(batch: Any, index: int) -> Any:
    """One row of a nested batch, as NumPy."""
    if isinstance(batch, Mapping):
        return {k: row(v, index) for k, v in batch.items()}
    return _array(batch)[index]


def info_row(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One row's info, without the masks."""
    return {k: row(v, index) for k, v in infos.items() if not k.startswith("_")}


def shapes(info: Mapping[str, Any]) -> dict[str, str]:
    """Shape and kind of every entry of an info."""
    arrays = {k: _array(v) for k, v in info.items()}
    return {k: f"{v.dtype} {v.shape}" for k, v in arrays.items()}


def leaves(value: Any) -> list[Any]:
    """The arrays of a nested result."""
    if isinstance(value, Mapping):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    return [_array(value)]


def require_finite(value: Any, what: str) -> None:
    """Raise `ConformanceError` if a number of a nested result is infinite or not a number."""
    for leaf in leaves(value):
        require(leaf.dtype.kind != "f" or np.isfinite(leaf).all(), f"{what}: not finite: {leaf}")


def require_close(a: Tensor, b: Tensor, what: str, *, rtol: float, atol: float) -> None:
    """Raise `ConformanceError` unless two tensors agree as `torch.allclose` has it."""
    off = (a.double() - b.double()).abs() - (atol + rtol * b.double().abs())
    worst = float(off.max()) if off.numel() else 0.0
    require(worst <= 0.0, f"{what}: off by {worst:.3g} more than rtol={rtol}, atol={atol} allow")


def numbers(outcome: Any) -> dict[str, Tensor]:
    """The float tensors of an `Outcome` by name."""
    seen = outcome.observation
    parts = dict(seen) if isinstance(seen, dict) else {"observation": seen}
    parts |= {"reward": outcome.reward, "metrics": outcome.metrics}
    return {k: v for k, v in parts.items() if v.dtype in (torch.float32, torch.float64)}
