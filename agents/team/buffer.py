"""A rollout buffer of Stable-Baselines3 that keeps the agents of a row together.

What it hands out is what SB3's PPO reads, with two differences: a minibatch has whole rows of
pairs, and probabilities, values, advantages and returns only of pairs where somebody sat, in the
order in which `sixgym.agents.team.policy.TeamPolicy.evaluate_actions` returns its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples
from torch import Tensor

from sixgym.envs.core.team_sb3 import PRESENT


class TeamRolloutBuffer(DictRolloutBuffer):
    """The rollout of pairs (row, seat).

    Args:
        *args: as SB3's.
        groups: the seats of each group; advantages are normalised within a group, for leader and
            followers are paid on different scales.
        **kwargs: as SB3's.
    """

    def __init__(self, *args: Any, groups: Sequence[slice], **kwargs: Any) -> None:
        self.groups = tuple(groups)
        self.seats = max(g.stop for g in groups)
        super().__init__(*args, **kwargs)

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """SB3's returns and advantages, the latter normalised within each group."""
        super().compute_returns_and_advantage(last_values, dones)
        there = self._by_row(self.observations[PRESENT])[..., 0] > 0
        advantage = self._by_row(self.advantages)
        for seats in self.groups:
            own = advantage[:, seats][there[:, seats]]
            if own.size:
                advantage[:, seats] = (advantage[:, seats] - own.mean()) / (own.std() + 1e-8)
        self.advantages = advantage.reshape(self.advantages.shape)

    def _by_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """(steps * rows, seats, ...) of values (steps, rows * seats, ...)."""
        return values.reshape(-1, self.seats, *values.shape[2:])

    def get(  # type: ignore[override]  # as in SB3's own buffer of dictionaries
        self, batch_size: int | None = None
    ) -> Generator[DictRolloutBufferSamples, None, None]:
        """Minibatches of whole rows, in random order.

        Args:
            batch_size: rows of a minibatch, which are slots; None for all at once.
        """
        assert self.full, "a rollout is handed out when it is complete"
        seen = {key: self._by_row(value) for key, value in self.observations.items()}
        there = seen[PRESENT][..., 0] > 0
        rest = [
            self._by_row(v) for v in (self.values, self.log_probs, self.advantages, self.returns)
        ]
        actions = self._by_row(self.actions)
        order = np.random.permutation(len(there))  # noqa: NPY002 - SB3 seeds and saves this one
        size = batch_size or len(order)
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            is_there = there[rows]
            if not is_there.any():  # a mean of nothing is not a number
                continue
            flat = {k: v[rows].reshape(-1, *v.shape[2:]) for k, v in seen.items()}
            moved = actions[rows].reshape(-1, actions.shape[-1]).astype(np.float32, copy=False)
            values, log_probs, advantages, returns = (
                self.to_torch(v[rows][is_there]) for v in rest
            )
            yield DictRolloutBufferSamples(
                observations={k: self.to_torch(v) for k, v in flat.items()},
                actions=self.to_torch(moved),
                old_values=values,
                old_log_prob=log_probs,
                advantages=advantages,
                returns=returns,
            )
