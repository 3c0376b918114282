"""A trained team as a policy that plays: the actor alone, on the observations of one controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from sixgym.agents.policies import Card, TeamArchitecture, describe
from sixgym.agents.team.nets import ALIVE
from sixgym.agents.team.registry import NETS
from sixgym.baselines.coins import Coins
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv


class TeamPlayer(nn.Module):
    """The agents of a game, moved by one policy; each move depends on what its agent sees.

    Args:
        architecture: which network.
        system: the game that is played, in any layout. It may have another number of seats than the
            one trained in, where the network does not mind.
        name: what tables and error messages call it.

    Raises:
        PolicyError: not a game, or not one that the network plays.
    """

    normalization = None
    seats = None

    def __init__(
        self, architecture: TeamArchitecture, system: System[Any, Any], *, name: str = "policy"
    ) -> None:
        super().__init__()
        if not isinstance(system, Game):
            raise PolicyError(f"{type(system).__name__}: allowed for a team: a game")
        if architecture.net not in NETS:
            raise PolicyError(f"net={architecture.net!r}: allowed: {', '.join(NETS)}")
        self.architecture = architecture
        self.name = name
        self.card: Card | None = None
        self._game = [system]
        sizes: dict[str, Any] = dict(architecture.sizes)
        try:
            self.actor = NETS[architecture.net].make_actor(system, **sizes)
        except TypeError as error:
            raise PolicyError(f"net {architecture.net}: {error}") from None
        self.requires_grad_(False)
        self._coins = Coins(self.actor.num_uniforms, "team")

    @property
    def game(self) -> Game[Any, Any]:
        """The game that is played."""
        return self._game[0]

    def attach(self, env: SixgymVectorEnv) -> None:
        """Take row seeds and steps, by which coins are thrown, from ``env`` from now on."""
        self._coins.env = env

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Moves of all in the game's layout; see `sixgym.envs.core.rollout.Policy`.

        Coins are thrown with ``deterministic`` too: moves that are equally good are drawn among.
        """
        seen = self._seen(observation)
        uniform = torch.from_numpy(self._coins(len(seen[ALIVE]))).to(torch.float32)
        moves = self.actor.act(seen, uniform, deterministic).moves
        action = self.game.joint_action(moves)
        if isinstance(action, dict):
            return {key: part.numpy() for key, part in action.items()}, state
        return action.numpy(), state

    def _seen(self, observation: Any) -> dict[str, Tensor]:
        def tensor(part: Any) -> Tensor:
            return torch.as_tensor(np.asarray(part), dtype=torch.float32)

        is_dict = isinstance(observation, Mapping)
        whole = {k: tensor(v) for k, v in observation.items()} if is_dict else tensor(observation)
        seen = dict(self.game.seen(whole))
        if ALIVE not in seen:  # nobody comes or goes
            some = next(iter(seen.values()))
            seen[ALIVE] = torch.ones(len(some), self.game.num_seats)
        return seen

    def space_cards(self) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
        """What an agent of each group sees and does, as plain data."""
        seen: dict[str, JsonValue] = {
            g.name: describe(g.observation_space) for g in self.game.groups
        }
        moved: dict[str, JsonValue] = {g.name: describe(g.action_space) for g in self.game.groups}
        return {"kind": "Team", "groups": seen}, {"kind": "Team", "groups": moved}
