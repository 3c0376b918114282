"""Users who come and go: fixed, anew in every episode, by a schedule, by birth and death."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.llm_mac.params import LlmMacParams

Streams = dict[str, tuple[Kind, tuple[int, ...]]]


class Change(NamedTuple):
    """What happens to the seats between two slots."""

    leaves: Tensor
    """(rows, N) bool: whose user leaves."""
    agent_id: Tensor
    """(rows, N) int64: who sits there then."""
    next_id: Tensor
    """(rows,) int64."""


class Population:
    """The population process of one set of parameters.

    Leaves come before joins, so a seat may be taken again at once. Who joins takes the lowest free
    seat, under a number that was never used in the episode.
    """

    def __init__(self, params: LlmMacParams, device: torch.device) -> None:
        self.params = p = params
        self.varies = p.population in ("schedule", "birth_death")
        """Whether users may leave or join within an episode."""
        self._seat = torch.arange(p.n_max, device=device)
        sizes, weights = first_sizes(p)
        self._sizes = torch.tensor(sizes, device=device)
        self._edges = torch.from_numpy(np.cumsum(weights)[:-1]).to(device)
        self._draws_size = len(sizes) > 1
        plan = torch.zeros(p.schedule[-1][0] + 1, dtype=torch.int64)
        for slot, number in p.schedule:
            plan[slot:] = number
        self._plan = plan.to(device)
        self.start_streams: Streams = {}
        if self._draws_size:
            self.start_streams["size"] = ("uniform", ())
        if p.random_rows:
            self.start_streams["seats"] = ("uniform", (p.n_max,))
        self.step_streams: Streams = {}
        if p.population == "birth_death":
            self.step_streams["population"] = ("uniform", (3,))
        elif p.population == "schedule":
            self.step_streams["leavers"] = ("uniform", (p.n_max,))

    def start(self, noise: Draws, rows: int) -> Tensor:
        """(rows, N) int64: the numbers of the first users, ascending by seat.

        Args:
            noise: drawn by ``start_streams``.
            rows: how many.
        """
        if self._draws_size:
            place = (noise["size"].unsqueeze(1) > self._edges).sum(1)
            number = self._sizes[place]
        else:
            number = self._sizes.expand(rows)
        order = self._seat.expand(rows, -1)
        if self.params.random_rows:
            order = rank(noise["seats"])
        taken = order < number.unsqueeze(1)
        return torch.where(taken, taken.cumsum(1) - 1, -1)

    def change(self, agent_id: Tensor, next_id: Tensor, slot: Tensor, noise: Draws) -> Change:
        """Who leaves and who joins at the end of a slot.

        Args:
            agent_id: (rows, N) int64.
            next_id: (rows,) int64.
            slot: (rows,) int64, the coming slot.
            noise: drawn by ``step_streams``.
        """
        here = agent_id >= 0
        number = here.sum(1)
        if self.params.population == "schedule":
            wanted = self._plan[slot.clamp_max(len(self._plan) - 1)]
            key = torch.where(here, noise["leavers"], 2.0)
            leaves = here & (rank(key) < (number - wanted).unsqueeze(1))
            joins = wanted - number
        else:
            leaves = self._leaver(here, number, noise["population"])
            after = number - leaves.sum(1)
            wants = noise["population"][:, 2] < self.params.p_join
            joins = (wants & (after < self.params.n_hi)).to(torch.int64)
        stays = here & ~leaves
        place = (~stays).cumsum(1)
        chance = torch.minimum(joins, self.params.agents - next_id).unsqueeze(1)
        sits = ~stays & (place <= chance)
        moved = torch.where(sits, next_id.unsqueeze(1) + place - 1, -1)
        return Change(leaves, torch.where(stays, agent_id, moved), next_id + sits.sum(1))

    def _leaver(self, here: Tensor, number: Tensor, noise: Tensor) -> Tensor:
        """(rows, N) bool: birth_death's leaver, the floor(v n)-th user by seat."""
        goes = (noise[:, 0] < self.params.p_leave) & (number > self.params.n_lo)
        pick = (noise[:, 1] * number).to(torch.int64)  # v < 1 - 2^-24, so below the number
        return here & (here.cumsum(1) - 1 == pick.unsqueeze(1)) & goes.unsqueeze(1)


def rank(key: Tensor) -> Tensor:
    """(rows, N) int64: the place of each number within its row, smallest first."""
    return key.argsort(1).argsort(1)


def first_sizes(params: LlmMacParams) -> tuple[list[int], NDArray[np.float64]]:
    """Numbers of users at the start, and their probabilities."""
    p = params
    if p.population == "birth_death":
        return list(range(p.n_lo, p.n_hi + 1)), stationary_law(p)
    if p.population == "episodic":
        return list(p.population_sizes), np.full(
            len(p.population_sizes), 1 / len(p.population_sizes)
        )
    return [p.num_users if p.population == "fixed" else p.schedule[0][1]], np.ones(1)


def stationary_law(params: LlmMacParams) -> NDArray[np.float64]:
    """Probabilities of n_lo, ..., n_hi users of birth_death in the long run.

    Detailed balance: pi(n+1) / pi(n) = b_n / d with d = p_leave (1 - p_join), b_n = p_join at n_lo
    and p_join (1 - p_leave) above [derived]. Where nobody ever leaves all start at n_hi, where
    nobody joins at n_lo.
    """
    p = params
    law = np.ones(p.n_hi - p.n_lo + 1)
    death = p.p_leave * (1.0 - p.p_join)
    for i in range(1, len(law)):
        birth = p.p_join * (1.0 if i == 1 else 1.0 - p.p_leave)
        law[i] = law[i - 1] * birth / death if death > 0.0 else float(birth > 0.0)
        if death == 0.0 and birth > 0.0:
            law[:i] = 0.0
    return np.asarray(law / law.sum())
