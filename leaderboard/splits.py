"""Splits: what a policy is judged on beside the task that agents train for.

The task of an environment's defaults is the split ``train``. An environment may be registered with
more: ``held_out`` are presets that nobody trained in, ``generalisation`` are other numbers of users
or devices, other loads and other statistics of the channel. Each is a task with a board of its own,
on the same row seeds. They stand where the environment is registered, so that a new one brings its
own; see `sixgym.envs.core.registry.register`.

A network of fixed sizes cannot take the observations of more users than it was trained with: such a
policy is left out of that task, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sixgym.envs.core.errors import OptionsError, SixgymError, UnknownIdError
from sixgym.envs.core.registry import SPLITS, entry
from sixgym.leaderboard.players import Player, find_player, kwargs_of
from sixgym.leaderboard.protocol import Task

TRAIN = "train"
"""The split of what agents train in: one task, the environment's defaults."""

ALL = "all"
"""Every split of an environment."""


class Part(NamedTuple):
    """One task of a split.

    Attributes:
        split: ``train``, ``held_out`` or ``generalisation``; empty for a task that is of none.
        variant: its name in the split; empty for ``train``.
        params: what differs from the defaults.
    """

    split: str
    variant: str
    params: dict[str, Any]


PATH = re.compile(r"^\S*[/\\]\S+?: ")
"""The file that an error begins with: where it lies is nobody's concern on a page."""

NONE = Part("", "", {})
"""Of no split."""


def splits_of(id: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The parameters of each task of an environment, by split and name; ``train`` first.

    Raises:
        UnknownIdError: there is no such environment.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {TRAIN: {"": {}}}
    for split, tasks in entry(id).splits.items():
        found[split] = {name: dict(params) for name, params in tasks.items()}
    return found


def parts_of(id: str, split: str) -> list[Part]:
    """The tasks of one split of an environment, or of all; none where it has no such split.

    Raises:
        UnknownIdError: there is no such environment.
        OptionsError: there is no such split anywhere.
    """
    allowed = (TRAIN, *SPLITS, ALL)
    if split not in allowed:
        raise OptionsError(f"split={split!r}: allowed: {', '.join(allowed)}")
    return [
        Part(name, variant, params)
        for name, tasks in splits_of(id).items()
        if split in (name, ALL)
        for variant, params in tasks.items()
    ]


def split_of(task: Task) -> Part:
    """Which task of which split one is; `NONE` for any other, and for one of what is not here."""
    try:
        parts = parts_of(task.env_id, ALL)
        held_back = entry(task.env_id).evaluation
    except UnknownIdError:
        return NONE
    own = _canonical(task.params)
    return next((p for p in parts if _canonical({**held_back, **p.params}) == own), NONE)


def _canonical(params: Mapping[str, Any]) -> str:
    """Parameters as a stored row has them: a tuple is a list."""
    return json.dumps(params, sort_keys=True)


def why_not(task: Task, player: Player) -> str:
    """Why a policy cannot play a task; empty where it can.

    It is asked for one decision: that takes a moment, and finds networks of other sizes.
    """
    from sixgym.envs.core.rollout import rollout
    from sixgym.leaderboard.runner import make_rows

    kwargs = {**kwargs_of(player, task), "max_episode_steps": 1}
    try:
        env = make_rows(player.card.env_id, 1, kwargs)
        try:
            for member in player.members[:1]:
                rollout(env, member.make(env.system), task.seeds[:1])
        finally:
            env.close()
    except SixgymError as error:
        return PATH.sub("", str(error))
    return ""


def left_out(task: Task) -> dict[str, str]:
    """The policies of a task's environment that cannot play it, by name, with the reason."""
    from sixgym.leaderboard.runner import policy_names

    names = policy_names(task.env_id)
    reasons = {name: why_not(task, find_player(task.env_id, name)) for name in names}
    return {name: reason for name, reason in reasons.items() if reason}
