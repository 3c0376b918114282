"""Actor and critic of a team as a policy of Stable-Baselines3, and the PPO that trains them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from sixgym.agents.algorithms import Mixing
from sixgym.agents.policies import TeamArchitecture
from sixgym.agents.team.buffer import TeamRolloutBuffer
from sixgym.agents.team.mixing import SegmentMixer
from sixgym.agents.team.nets import ALIVE, Acted
from sixgym.agents.team.registry import NETS
from sixgym.envs.core.errors import ConfigError, PolicyError
from sixgym.envs.core.game import Game, keyed, part_of
from sixgym.envs.core.team_sb3 import ASKS, PRESENT, TeamVecEnv, action_columns

Ratio = Literal["agent", "mean"]
"""``agent``: PPO's probability ratio is each agent's own; ``mean``: all of a row share that of the
mean log-probability, as the code of LLM4MAC has it [related]."""


class TeamPolicy(BasePolicy):
    """Actor and critic of all agents of a game; observations and actions of whole rows of pairs.

    Args:
        observation_space: of a pair, from `sixgym.envs.core.team_sb3`.
        action_space: of a pair.
        lr_schedule: the learning rate.
        use_sde: SB3's; must be false.
        game: whose agents.
        net: a name in `sixgym.agents.team.registry.NETS`.
        critic: ``"central"`` sees everything, ``"own"`` what the agent sees (independent PPO).
        ratio: see `Ratio`.
        **net_kwargs: sizes of the networks.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        use_sde: bool = False,
        *,
        game: Game[Any, Any],
        net: str,
        critic: Literal["central", "own"] = "central",
        ratio: Ratio = "agent",
        **net_kwargs: Any,
    ) -> None:
        super().__init__(observation_space, action_space)
        if use_sde:
            raise PolicyError("use_sde=True: allowed for a team: False")
        self._game = [game]
        self.ratio = ratio
        self.architecture = TeamArchitecture(net=net, sizes=net_kwargs)
        kind = NETS[net]
        self.actor = kind.make_actor(game, **net_kwargs)
        self.critic = kind.make_critic(game, central=critic == "central", **net_kwargs)
        self._columns = action_columns(game)
        self._width = int(np.prod(action_space.shape or (1,)))
        self._is_discrete = isinstance(action_space, spaces.MultiDiscrete)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1), eps=1e-5)

    @property
    def game(self) -> Game[Any, Any]:
        """The game."""
        return self._game[0]

    def forward(
        self, obs: dict[str, Tensor], deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities of all pairs."""
        before = self._seen(obs)
        uniform = torch.rand(len(before[ALIVE]), self.actor.num_uniforms, device=self.device)
        acted = self.actor.act(before, uniform, deterministic)
        values = self.critic(before, self.game.hear(before, acted.moves)) * before[ALIVE]
        log_prob = self._shared(acted.log_prob, before[ALIVE])
        return self._table(acted), values.flatten(), log_prob.flatten()

    def evaluate_actions(
        self, obs: dict[str, Tensor], actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values, log-probabilities and entropies of the pairs where somebody sits, in order."""
        before = self._seen(obs)
        moves, notes = self._moves(actions)
        judged = self.actor.judge(before, moves, notes)
        values = self.critic(before, self.game.hear(before, moves))
        there = before[ALIVE] > 0
        log_prob = self._shared(judged.log_prob, before[ALIVE])
        return values[there], log_prob[there], judged.entropy[there]

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """(pairs, 1) values; of the pairs that ask alone, where any does."""
        assert isinstance(obs, dict)
        _, values, _ = self.forward(obs)
        asks = obs[ASKS][..., 0].flatten() > 0
        return (values[asks] if bool(asks.any()) else values).unsqueeze(1)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        assert isinstance(observation, dict)
        return self.forward(observation, deterministic)[0]

    def _seen(self, obs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What each group sees by row, from the pairs' observations."""
        game = self.game
        rows = {k: v.unflatten(0, (-1, game.num_seats)) for k, v in obs.items()}
        seen = {
            k: v[:, game.seats[k.partition(".")[0]]]
            for k, v in rows.items()
            if k not in (PRESENT, ASKS)
        }
        return {**seen, ALIVE: rows[PRESENT][..., 0]}

    def _shared(self, log_prob: Tensor, alive: Tensor) -> Tensor:
        """Log-probabilities as the ratio is to be made of them, (rows, agents)."""
        if self.ratio == "agent":
            return log_prob
        mean = log_prob.sum(1, keepdim=True) / alive.sum(1, keepdim=True).clamp_min(1)
        return mean * alive

    def _table(self, acted: Acted) -> Tensor:
        """(pairs, columns) actions from the groups' moves, and the notes."""
        game, moves = self.game, acted.moves
        some = next(iter(moves.values()))
        shape = (len(some), game.num_seats, self._width)
        table = torch.zeros(shape, dtype=some.dtype, device=some.device)
        if acted.notes is not None:
            table[..., self._first_note :] = acted.notes
        for group in game.groups:
            own = cast("Tensor", part_of(moves, group, "action_space"))
            table[:, game.seats[group.name], self._columns[group.name]] = (
                own.flatten(2) if (own.ndim > 2) else own.unsqueeze(2)
            )
        return table.flatten(0, 1)

    @property
    def _first_note(self) -> int:
        return max(int(c.stop) for c in self._columns.values())

    def _moves(self, actions: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """The groups' moves, and the notes, from actions (pairs, columns)."""
        game = self.game
        table = actions.unflatten(0, (-1, game.num_seats))
        if self._is_discrete:
            table = table.to(torch.int64)
        moves: dict[str, Tensor] = {}
        for group in game.groups:
            own = table[:, game.seats[group.name], self._columns[group.name]]
            shape = group.action_space.shape or ()
            moves |= keyed(own.unflatten(2, shape) if shape else own.squeeze(2), group)
        notes = table[..., self._first_note :]
        return moves, notes if notes.shape[-1] else None


class MAPPO(PPO):
    """SB3's PPO on all agents of a game, by `TeamPolicy` and `TeamRolloutBuffer`.

    ``n_steps`` and ``batch_size`` count slots of a row, ``total_timesteps`` pairs (slots times
    seats, empty ones included).

    Args:
        policy: ``"TeamPolicy"``.
        env: a `sixgym.envs.core.team_sb3.TeamVecEnv`, bare or in SB3's ``VecNormalize``.
        policy_kwargs: of `TeamPolicy`, without the game.
        mixing: agents mix their policies after an update, see `sixgym.agents.team.mixing`.
        **kwargs: of SB3's PPO.

    Raises:
        PolicyError: the environment is another one, or its observations are normalised.
        ConfigError: policies cannot be mixed.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"TeamPolicy": TeamPolicy}

    def __init__(
        self,
        policy: str | type[TeamPolicy],
        env: Any,
        *,
        policy_kwargs: dict[str, Any] | None = None,
        mixing: Mixing | None = None,
        **kwargs: Any,
    ) -> None:
        base = env
        while hasattr(base, "venv"):
            base = base.venv
        if not isinstance(base, TeamVecEnv):
            raise PolicyError(f"env={type(base).__name__}: allowed for MAPPO: TeamVecEnv")
        if getattr(env, "norm_obs", False):  # the flags of who is there would be normalised too
            raise PolicyError("norm_obs=True: allowed for MAPPO: False")
        groups = [base.game.seats[g.name] for g in base.game.groups]
        kwargs |= {
            "policy_kwargs": {**(policy_kwargs or {}), "game": base.game},
            "rollout_buffer_class": TeamRolloutBuffer,
            "rollout_buffer_kwargs": {"groups": groups},
        }
        super().__init__(policy, env, **kwargs)  # type: ignore[arg-type]  # of fewer policies
        self._mix = None
        if mixing is not None:
            if cast("TeamPolicy", self.policy).ratio != "agent":
                raise ConfigError("ratio='mean': allowed with mixing: agent")
            last = base.game.groups[-1]
            actor = cast("TeamPolicy", self.policy).actor
            seats = base.game.seats[last.name]
            self._mix = SegmentMixer(mixing, actor, prefix="user.", seats=seats)

    def train(self) -> None:
        """SB3's update, then the mixture of policies, if any."""
        super().train()
        if self._mix is not None:
            for name, value in self._mix(self).items():
                self.logger.record(name, value)
