"""Small teams that the tests of the agents share."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

import sixgym  # noqa: F401  (registers the ids)
from sixgym.agents.config import TrainConfig
from sixgym.agents.team.nets import ALIVE
from sixgym.agents.team.policy import MAPPO
from sixgym.envs.core.make import make_system
from sixgym.envs.core.team_sb3 import make_team_vec_env
from sixgym.envs.llm_mac import LlmMac

ID = "sixgym/LlmMac-v0"
STORMY: dict[str, Any] = {"population": "birth_death", "p_join": 0.4, "p_leave": 0.4, "n_lo": 1}
STORMY |= {"n_hi": 3, "n_max": 4, "max_agents": 60}
"""Users who come and go, and some seats empty at all times."""


def cell(**params: Any) -> LlmMac:
    """The game in the layout of views of seats."""
    return cast("LlmMac", make_system(LlmMac, joint="dict", **params))


def play_on(system: LlmMac, rows: int = 8, slots: int = 4, seed: int = 0) -> Any:
    """A state after some slots of random moves."""
    draw = torch.Generator().manual_seed(seed)
    key = torch.arange(rows, dtype=torch.int64) * 7919 + seed
    zero = torch.zeros(rows, dtype=torch.int64)
    state = system.start(system.start_draws.draw(key, zero))
    for t in range(slots):
        noise = system.step_draws.draw(key, zero + t + 1)
        state, _ = system.play(state, random_moves(system, rows, draw), noise)
    return state


def random_moves(system: LlmMac, rows: int, draw: torch.Generator) -> dict[str, Tensor]:
    """Moves drawn uniformly from the spaces."""
    found = {}
    for group in system.groups:
        space: Any = group.action_space
        sizes = torch.as_tensor(space.nvec if group.name == "bs" else [space.n])
        shape = (rows, group.seats, *(sizes.shape if group.name == "bs" else ()))
        uniform = torch.rand(shape, generator=draw, dtype=torch.float64)
        found[group.name] = (uniform * sizes).to(torch.int64)
    return found


def sights(system: LlmMac, rows: int = 8, slots: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """What all see after some slots of random moves, and who is there."""
    state = play_on(system, rows, slots, seed)
    return {**system.perceive(state, {}), ALIVE: system.alive(state).to(torch.float32)}


def uniforms(rows: int, count: int, seed: int = 0) -> Tensor:
    """Random numbers in [0, 1)."""
    return torch.rand(rows, count, generator=torch.Generator().manual_seed(seed))


def opinionated(module: torch.nn.Module, seed: int = 0, scale: float = 1.0) -> Any:
    """Fresh networks hold nearly no opinion: give them weights that tell things apart."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draw) / 3.0)
    return module


def small_team(
    rows: int = 3, seed: int = 0, *, net: dict[str, Any] | None = None, **changes: Any
) -> MAPPO:
    """A model of a small team, untrained; ``changes`` of PPO, or of the game as ``env_...``."""
    params = {k[4:]: changes.pop(k) for k in list(changes) if k.startswith("env_")}
    params = {**STORMY, "bs_action": "pointer", "pag_level": 2, "max_episode_steps": 7, **params}
    env = make_team_vec_env(ID, rows, seed=seed, **params)
    network = {"net": "mac_set", "width": 8, "heads": 2, **(net or {})}
    brief = {"n_steps": 5, "batch_size": 4, "n_epochs": 2, "seed": seed, "device": "cpu"}
    return MAPPO("TeamPolicy", env, policy_kwargs=network, **{**brief, **changes})


def team_config(**changes: Any) -> TrainConfig:
    """A training of a few slots; ``net`` and ``sizes`` may be given."""
    network: dict[str, Any] = {"net": changes.pop("net", "mac_set")}
    network["sizes"] = changes.pop("sizes", {"width": 8, "heads": 2, "level": 2})
    hyper = {"n_steps": 6, "batch_size": 8, "n_epochs": 2, "policy_kwargs": network}
    hyper |= changes.pop("hyperparameters", {})
    raw = {
        "name": "team",
        "env": ID,
        "env_kwargs": {**STORMY, "population_sizes": [2, 3], "bs_action": "pointer"},
        "algorithm": "mappo",
        "hyperparameters": hyper,
        "num_envs": 3,
        "total_steps": 3 * 6 * 5 * 4,  # four rollouts of 6 slots, 5 seats
        "evaluation": {"every": 90, "episodes": 4, "deterministic": False},
        "checkpoint": {"every": 180},
    }
    return TrainConfig.create({**raw, **changes})


def flat_table(model: MAPPO) -> dict[str, Any]:
    """The rollout of a model by (step, row, seat)."""
    buffer: Any = model.rollout_buffer
    shape = (buffer.buffer_size, -1, buffer.seats)
    names = ("actions", "rewards", "values", "log_probs", "advantages", "returns")
    found = {n: getattr(buffer, n) for n in names}
    found |= {f"seen.{k}": v for k, v in buffer.observations.items()}
    found["starts"] = buffer.episode_starts
    return {k: np.reshape(v, (*shape, *v.shape[2:])) for k, v in found.items()}
