"""Shared by the tests of `sixgym/AgentAggregation-v0`: systems, missions, and one round by hand."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

import sixgym
from sixgym.envs.core.make import make_system
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.twin_mobility import AgentAggregation
from sixgym.envs.twin_mobility.aggregation_moves import NUM_CONTROLS
from sixgym.envs.twin_mobility.aggregation_state import AggregationState

sixgym  # noqa: B018  (registers the ids)
ID = "sixgym/AgentAggregation-v0"


def system(**kwargs: Any) -> AgentAggregation:
    made = make_system(AgentAggregation, **{"dtype": "float64", "info_level": 1, **kwargs})
    assert isinstance(made, AgentAggregation)
    return made


def batch(rows: int, **kwargs: Any) -> SixgymVectorEnv:
    made: Any = gym.make_vec(ID, rows, **{"info_level": 1, **kwargs})
    return made


def pair_state(made: AgentAggregation, distance_m: float, payload: list[float]) -> AggregationState:
    """Two agents in the middle of their discs, the second east of the first; rho = 1."""
    one = {"dtype": torch.float64}
    centre = torch.tensor([[[100.0, 250.0], [100.0 + distance_m, 250.0]]], **one)
    radius = torch.full((1, 2), 90.0, **one)
    return made.first_state(centre, radius, centre, torch.tensor([payload], **one))


def controls(
    made: AgentAggregation,
    angle: float = 0.0,
    length: float = 0.0,
    time: float = 0.0,
    send: float = 1.0,
    keep: float = 1.0,
) -> list[float]:
    """The five controls; ``send`` and ``keep`` are ratios, ``angle`` is in radians."""
    p = made.params
    least, most = math.log(p.compression_min), math.log(p.compression_required)
    kept = (math.log(keep) - least) / (most - least) if most > least else 1.0
    u = [angle / (2.0 * math.pi), length, time, 1.0 - math.log(send) / least, kept]
    assert len(u) == NUM_CONTROLS
    return u


def sends_to(made: AgentAggregation, sender: int, receiver: int) -> torch.Tensor:
    """(1, N, N) scores of ``pairing="central"`` that want one pair."""
    count = made.params.num_agents
    score = torch.zeros(1, count, count, dtype=torch.float64)
    score[0, sender, receiver] = 1.0
    return score


def one_round(
    made: AgentAggregation, state: AggregationState, bid: torch.Tensor, u: list[list[float]]
) -> tuple[AggregationState, dict[str, Any], float]:
    """One round of one row: the new state, the metrics as plain numbers and lists, the reward."""
    control = torch.tensor([u], dtype=torch.float64)
    if made.params.action_mode == "flat":
        moves = {"agent": torch.cat([bid, control], -1)}
    else:
        moves = {"agent.bid": bid, "agent.u": control}
    new, step = made.play(state, moves, {})
    told = {name: value[0].tolist() for name, value in step.metrics.items()}
    return new, told, float(made.central_reward(step.reward)[0])


def play(env: SixgymVectorEnv, action: NDArray[Any], rounds: int) -> list[dict[str, Any]]:
    """What some rounds of the same action tell, with the flags; rows go on being counted."""
    told = []
    for _ in range(rounds):
        _, reward, terminated, truncated, infos = env.step(action)
        kept = {k: np.array(v) for k, v in infos.items() if not k.startswith("_")}
        told.append({**kept, "reward": reward, "over": terminated, "late": truncated})
    return told


def steady(env: SixgymVectorEnv, u: list[float]) -> NDArray[np.float32]:
    """The same controls for all agents of all rows, with fixed different bids."""
    n = env.system.params.num_agents
    generator = np.random.default_rng(5)
    bids = generator.random((n, n)) if env.system.params.pairing != "hmap" else np.zeros((n, 0))
    one = np.concatenate([bids, np.tile(u, (n, 1))], 1).astype(np.float32)
    return np.tile(one.ravel(), (env.num_envs, 1))
