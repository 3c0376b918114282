"""Small games to play by hand, for the tests of LLM-MAC."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from sixgym.envs.core.game import GameStep
from sixgym.envs.core.make import make_system
from sixgym.envs.llm_mac import LlmMac
from sixgym.envs.llm_mac.state import MacState

SILENT = {"arrival_prob": 0.0, "tbler": 0.0, "mode": "team"}
"""Nothing arrives, nothing is erased, all are paid the team's reward."""


def game(num_users: int = 2, **params: Any) -> LlmMac:
    """A game of a fixed number of users with as many seats, unless said otherwise."""
    fixed = {"n_max": num_users, "population": "fixed", "num_users": num_users}
    return cast("LlmMac", make_system(LlmMac, joint="dict", **{**fixed, **params}))


def draws(system: LlmMac, rows: int, step: int, seed: int = 0) -> Any:
    """What a batch of rows draws at a step; 0 is the start."""
    key = torch.arange(rows, dtype=torch.int64) * 7919 + seed
    table = system.step_draws if step else system.start_draws
    return table.draw(key, torch.full((rows,), step, dtype=torch.int64))


def first(system: LlmMac, rows: int = 1, seed: int = 0) -> MacState:
    """First states."""
    return system.start(draws(system, rows, 0, seed))


def moves(m: Any, ue: Any, rows: int = 1) -> dict[str, Tensor]:
    """The same moves of all in every row: messages and users' actions by seat."""
    return {"bs": torch.tensor([[m]] * rows), "ue": torch.tensor([ue] * rows)}


def play(system: LlmMac, state: MacState, m: Any, ue: Any) -> tuple[MacState, GameStep]:
    """One slot of every row with the same moves."""
    rows = state.q.shape[0]
    step = int(state.slot[0]) + 1
    return system.play(state, moves(m, ue, rows), draws(system, rows, step))


def random_moves(system: LlmMac, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Moves drawn uniformly from the spaces."""
    found = {}
    for group in system.groups:
        space: Any = group.action_space
        sizes = torch.as_tensor(space.nvec if group.name == "bs" else [space.n])
        shape = (rows, group.seats, *(sizes.shape if group.name == "bs" else ()))
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        found[group.name] = (uniform * sizes).to(torch.int64)
    return found
