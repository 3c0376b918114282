"""How a row of a board is made again: the commands, as they are typed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

from sixgym.envs.core import plugins
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard.board import Board, BoardRow
from sixgym.leaderboard.protocol import EPISODES, Task


class Recipe(NamedTuple):
    """The commands of one row.

    Attributes:
        play: gives its scores.
        train: gives its weights; empty for what does not learn, and where no command is known.
        verify: plays it again and compares; empty where only its author can.
    """

    play: str
    train: str
    verify: str

    @property
    def text(self) -> str:
        """All of them, one a line."""
        return "\n".join(line for line in self if line)


def recipe(row: BoardRow, board: Board) -> Recipe:
    """How a row is made again."""
    task, card = board.task, row.policy
    if card.source == "submission":
        play = f"sixgym leaderboard submit {shlex.quote(card.origin)}"
        return Recipe(f"{play} --episodes {row.episodes} --replace", "", "")
    name = shlex.quote(card.origin or card.name)
    play = f"sixgym evaluate {task.env_id} --policy {name} --episodes {row.episodes}"
    verify = f"sixgym leaderboard verify --env {task.env_id} --policy {shlex.quote(card.name)}"
    return Recipe(play + _where(task), _training(row, task), verify)


def board_recipe(board: Board) -> str:
    """How all rows of a board are made again and looked at."""
    task, split = board.task, board.split
    command = f"sixgym benchmark --env {task.env_id}"
    cards = [row.policy for row in board.rows if row.policy.source != "submission"]
    if any(card.origin for card in cards):  # what came from a file is not played unless it is named
        command += "".join(f" --policy {shlex.quote(c.origin or c.name)}" for c in cards)
    if task.is_official and split not in ("", "train"):
        command += f" --split {split}"
    else:
        command += "" if task.episodes == EPISODES else f" --episodes {task.episodes}"
        command += _where(task)
    verify = f"sixgym leaderboard verify --env {task.env_id}"
    return "\n".join([command, verify, "sixgym leaderboard serve"])


def film_recipe(task: Task, policy: str, seed: int, steps: int) -> str:
    """How a video of one episode is made."""
    return (
        f"sixgym render {task.env_id} --policy {shlex.quote(policy)} --seed {seed} "
        f"--steps {steps}{_sets(task)} --out episode.mp4"
    )


def _training(row: BoardRow, task: Task) -> str:
    """How the weights of a row are trained.

    Only of weights that ship, and where there is a configuration of their name in the folder of
    their system.
    """
    if row.policy.source != "zoo":
        return ""
    name = _configurations().get((task.env_id, row.policy.name))
    return "" if name is None else f"sixgym train {name}"


@cache
def _configurations() -> Mapping[tuple[str, str], str]:
    """The shipped configuration of each policy that ships, by environment and name."""
    from sixgym.agents.zoo_index import zoo

    root, guests = resources.files("sixgym.configs"), plugins.configurations()
    found = {}
    for key, paths in zoo().items():
        folder = paths[0].parent.name
        name = f"{folder}/{key[1]}"
        if name in guests or (root / folder / f"{key[1]}.yaml").is_file():
            found[key] = name
    return found


def _where(task: Task) -> str:
    """The seed and the parameters of a task, as arguments; the evaluation world needs no seed."""
    usual = row_seed("evaluation", task.version)
    return ("" if task.first_seed == usual else f" --seed {task.first_seed}") + _sets(task)


def _sets(task: Task) -> str:
    """The parameters of a task, as arguments."""
    return "".join(f" --set {_assigned(k, v)}" for k, v in task.params.items())


def _assigned(name: str, value: Any) -> str:
    """``name=value`` for a shell; what YAML would not read back as it is, is written as JSON."""
    is_plain = isinstance(value, str) and yaml.safe_load(value) == value
    return shlex.quote(f"{name}={value if is_plain else json.dumps(value)}")
