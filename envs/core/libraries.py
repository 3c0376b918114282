"""Which libraries can take which environment, and why not: facts from the spaces, no library asked.

=============== ====================================================================================
library         the view
=============== ====================================================================================
``gymnasium``   ``gymnasium.make(id)``; of a game: one controller of all agents
``vector``      ``gymnasium.make_vec(id)``: all rows in one batch
``sb3``         ``sixgym.sb3.make_vec_env(id)``
``pettingzoo``  parallel and AEC environments of games
``torchrl``     ``sixgym.torchrl.make_torchrl_env(id)``; of a game also ``make_torchrl_game(id)``
``rllib``       ``sixgym.rllib.register(id)``; of a game agents by name and one controller
=============== ====================================================================================

The tests make each view of every registered id, and of systems with odd spaces, and compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium import spaces

from sixgym.envs.core.game import Game
from sixgym.envs.core.make import make_system
from sixgym.envs.core.pettingzoo_view import make_game
from sixgym.envs.core.registry import Entry, entries, entry

LIBRARIES = ("gymnasium", "vector", "sb3", "pettingzoo", "torchrl", "rllib")

Space = spaces.Space[Any]


class Support(NamedTuple):
    """Whether a library can take an environment."""

    views: tuple[str, ...]
    """``"one controller"``, ``"agents"`` or both; empty if it cannot."""
    why_not: str = ""
    """Why not, or why one of the views of a game is missing."""

    @property
    def is_supported(self) -> bool:
        """Whether there is any view."""
        return bool(self.views)


def support(id: str) -> dict[str, Support]:
    """What every library can do with an environment, with its default parameters.

    Args:
        id: of a system.

    Raises:
        UnknownIdError: no such system.
    """
    found = entry(id)
    system = make_system(found.load_system())
    joint = (system.observation_space, system.action_space)
    groups = list(_groups(found))
    answers = {
        "gymnasium": Support(("one controller",)),
        "vector": Support(("one controller",)),
        "sb3": _answer(sb3_refuses, joint, []),
        "pettingzoo": Support(("agents",)),
        "torchrl": _answer(torchrl_refuses, joint, groups),
        "rllib": _answer(rllib_refuses, joint, groups),
    }
    if not found.is_game:
        answers["pettingzoo"] = Support((), "one controller, no agents")
    return answers


def _groups(found: Entry) -> Iterator[tuple[Space, Space]]:
    """The spaces of each group's agents, as agents by name have them."""
    if found.is_game:
        cls = cast("type[Game[Any, Any]]", found.load_system())
        for group in make_game(cls, **found.parallel).groups:
            yield group.observation_space, group.action_space


def _answer(
    refuses: Callable[[Space, Space], str],
    joint: tuple[Space, Space],
    groups: list[tuple[Space, Space]],
) -> Support:
    """The views that a library takes, by what it refuses."""
    kinds = {"one controller": [joint], "agents": groups}
    reasons = {
        kind: next(filter(None, (refuses(*pair) for pair in pairs)), "")
        for kind, pairs in kinds.items()
        if pairs
    }
    views = tuple(kind for kind, reason in reasons.items() if not reason)
    return Support(views, "; ".join(f"{k}: {reason}" for k, reason in reasons.items() if reason))


def sb3_refuses(observation: Space, action: Space) -> str:
    """Why Stable-Baselines3 cannot take these spaces of one controller; "" if it can."""
    plain = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(action, plain):
        return f"{type(action).__name__} actions"
    if not _counts_from_zero(action):
        return f"no distribution for {action}"
    parts = observation.values() if isinstance(observation, spaces.Dict) else [observation]
    odd = next((part for part in parts if not isinstance(part, plain)), None)
    return "" if odd is None else f"{type(odd).__name__} observations"


def torchrl_refuses(observation: Space, action: Space) -> str:
    """Why TorchRL cannot take these spaces, of one controller or of an agent; "" if it can."""
    for space in (*_leaves(observation), *_leaves(action)):
        if not _counts_from_zero(space):
            return f"no spec for {space}"
    return ""


def rllib_refuses(observation: Space, action: Space) -> str:
    """Why RLlib's default models cannot take these spaces, flattened; "" if they can."""
    for space in _leaves(observation):
        if not isinstance(space, spaces.Box):
            return f"no default model for {space}"
    for space in _leaves(action):
        is_flat = len(space.shape or ()) <= 1
        is_box = isinstance(space, spaces.Box)
        if not (is_flat and _counts_from_zero(space)) or (is_box and _is_integer(space)):
            return f"no distribution for {space}"
    return ""


def _leaves(space: Space) -> Iterator[Space]:
    """The plain spaces within dictionaries."""
    if isinstance(space, spaces.Dict):
        for part in space.values():
            yield from _leaves(part)
    else:
        yield space


def _is_integer(space: Space) -> bool:
    return bool(np.issubdtype(space.dtype, np.integer))


def _counts_from_zero(space: Space) -> bool:
    """Whether a space is of a kind that all learners know, and whole numbers begin at 0."""
    if isinstance(space, spaces.Discrete):
        return int(space.start) == 0
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec.ndim == 1 and not space.start.any()
    return isinstance(space, spaces.Box | spaces.MultiBinary)


def table() -> str:
    """Every registered id and every library, as a Markdown table; what is missing has a reason."""
    heads = ["Gymnasium", "vector", "SB3", "PettingZoo", "TorchRL", "RLlib"]
    lines = [["id", *heads], ["---"] * (1 + len(heads))]
    for found in entries():
        answers = support(found.id)
        lines.append([f"`{found.id}`", *(_cell(answers[name]) for name in LIBRARIES)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(answer: Support) -> str:
    short: dict[tuple[str, ...], str] = {("one controller",): "yes", ("agents",): "agents"}
    words = short.get(answer.views, "yes, agents") if answer.is_supported else "no"
    return f"{words}: {answer.why_not}" if answer.why_not else words
