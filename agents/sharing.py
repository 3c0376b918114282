"""One policy that all agents of a game share, as the policy of a single controller.

How a controller's observation and action lie is the game's to say; each agent is handed what it
sees itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game, keyed, part_of
from sixgym.envs.core.spaces import to_numpy
from sixgym.envs.core.system import System


class Sharing:
    """The agents of a game of one group, as rows of their own.

    Args:
        system: the game, in any layout.
        seats: agents that must be in it; None takes as many as there are.

    Raises:
        PolicyError: no game, or not one of exactly these agents.
    """

    def __init__(self, system: System[Any, Any], seats: int | None = None) -> None:
        groups = system.groups if isinstance(system, Game) else ()
        wanted = "" if seats is None else f"{seats} "
        if len(groups) != 1 or seats not in (None, groups[0].seats):
            kinds = ", ".join(f"{g.seats} {g.name}" for g in groups) or "no game"
            raise PolicyError(
                f"policy of {wanted}agents of one kind; {type(system).__name__}: {kinds}"
            )
        assert isinstance(system, Game)
        self.game: Game[Any, Any] = system
        self.group = groups[0]

    @property
    def seats(self) -> int:
        """How many agents there are."""
        return self.group.seats

    def is_batch(self, observation: Any) -> bool:
        """Whether a controller's observation has an axis of rows.

        Raises:
            PolicyError: it is of another shape than the game's.
        """
        space: Any = self.game.observation_space
        if isinstance(observation, Mapping):
            key = next(iter(space))
            return np.ndim(observation[key]) > len(space[key].shape)
        found = np.shape(observation)
        if space.shape != found[-1:]:
            raise PolicyError(
                f"observation of shape {found}; allowed: flat, of {self.seats} agents: "
                f"{space.shape}"
            )
        return len(found) > 1

    def split(self, observation: Any) -> Any:
        """What each agent sees, (rows * seats, ...), of what the controller sees."""
        is_batch = self.is_batch(observation)

        def tensor(part: Any) -> Tensor:
            whole = torch.as_tensor(np.asarray(part), dtype=torch.float32)
            return whole if is_batch else whole.unsqueeze(0)

        is_dict = isinstance(observation, Mapping)
        whole = {k: tensor(v) for k, v in observation.items()} if is_dict else tensor(observation)
        seen = {k: v.flatten(0, 1) for k, v in self.game.seen(whole).items() if k != "alive"}
        return to_numpy(part_of(seen, self.group, "observation_space"))

    def join(self, actions: Any, *, is_batch: bool) -> Any:
        """The controller's action of each agent's, (rows * seats, ...)."""
        own = torch.as_tensor(actions).unflatten(0, (-1, self.seats))
        joint = to_numpy(self.game.joint_action(keyed(own, self.group)))
        if is_batch:
            return joint
        return {k: v[0] for k, v in joint.items()} if isinstance(joint, dict) else joint[0]
