"""From keyword arguments to environments: what ``gym.make`` and ``gym.make_vec`` call."""

from __future__ import annotations

from typing import Any, Literal

import torch

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.game import Game, Joint
from sixgym.envs.core.gym_view import SixgymEnv
from sixgym.envs.core.registry import load_system
from sixgym.envs.core.rows import Compile
from sixgym.envs.core.system import System
from sixgym.envs.core.vector_view import SixgymVectorEnv

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def make_system(
    system: str | type[System[Any, Any]],
    *,
    preset: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    info_level: int = 0,
    joint: Joint | None = None,
    **params: Any,
) -> System[Any, Any]:
    """A system from its class and plain arguments.

    Args:
        system: ``"module:Class"`` or the class.
        preset: a named set of parameters.
        dtype: ``"float32"`` or ``"float64"``, of the physics.
        device: a torch device.
        info_level: 0: reward terms and costs in ``info``; 1: diagnostics too.
        joint: of games only: how one controller sees and moves all agents, see `Game`.
        **params: parameters to replace.

    Raises:
        ParamsError: a parameter is unknown, of the wrong type or out of range.
        UnknownIdError: no such preset.
        OptionsError: a wrong dtype, device or info level; ``joint`` for what is no game.
    """
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise OptionsError(f"dtype={dtype!r}: allowed: {', '.join(map(repr, _DTYPES))}")
    if info_level not in (0, 1):
        raise OptionsError(f"info_level={info_level!r}: allowed: 0, 1")
    where = device_of(device)
    cls = load_system(system) if isinstance(system, str) else system
    values = cls.params_type.create(preset, **params)
    options: dict[str, Any] = {} if joint is None else {"joint": joint}
    if options and not issubclass(cls, Game):
        raise OptionsError(f"joint={joint!r}: {cls.__name__} is not a game; allowed: None")
    return cls(values, dtype=_DTYPES[dtype], device=where, info_level=info_level, **options)


def device_of(name: str) -> torch.device:
    """The device of a name, which must be there.

    Raises:
        OptionsError: there is no such device here, or it holds no numbers.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise OptionsError(f"device={name!r}: not available here: {reason}") from None
    if device.type == "meta":
        raise OptionsError(f"device={name!r}: holds no numbers; allowed: cpu, cuda, ...")
    return device


def make_env(
    system: str | type[System[Any, Any]],
    *,
    render_mode: str | None = None,
    compile: Compile = False,
    **kwargs: Any,
) -> SixgymEnv:
    """The single environment of a system; see `make_system` for the other arguments."""
    return SixgymEnv(make_system(system, **kwargs), compile=compile, render_mode=render_mode)


def make_vector_env(
    system: str | type[System[Any, Any]],
    num_envs: int = 1,
    *,
    max_episode_steps: int | None = None,
    autoreset_mode: str = "NextStep",
    output: Literal["numpy", "torch"] = "numpy",
    render_mode: str | None = None,
    compile: Compile = False,
    **kwargs: Any,
) -> SixgymVectorEnv:
    """The vector environment of a system; see `make_system` and `SixgymVectorEnv`."""
    return SixgymVectorEnv(
        make_system(system, **kwargs),
        num_envs,
        max_episode_steps=max_episode_steps,
        autoreset_mode=autoreset_mode,
        output=output,
        render_mode=render_mode,
        compile=compile,
    )
