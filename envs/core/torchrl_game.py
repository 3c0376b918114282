"""The rows of a game as a TorchRL ``EnvBase``, agents in groups: the seats of a group are an axis.

The keys are those of TorchRL's own multi-agent environments. B rows first, then n seats:

============================ ===================================================================
key                          what it holds
============================ ===================================================================
``GROUP, observation``       (B, n, ...); of a Dict space its parts by name below it
``GROUP, action``            (B, n, ...); discrete ones are categorical, not one-hot
``GROUP, mask``              (B, n) bool: somebody sits there whose turn it is
``GROUP, left``              (B, n) bool: whoever sat there in the last step is gone
``GROUP, action_mask``       (B, n, choices) bool, of groups that have masks; full where nobody sits
``GROUP, reward``            (B, n, 1)
``state``                    (B, m): what a critic of all agents may see
``metrics``, ``done``, ...   of the game, as in `sixgym.envs.core.torchrl_view`
============================ ===================================================================

GROUP is the name of the group, with an s where TorchRL keeps the word for itself: the group
``device`` is ``devices``. In a game of several turns a step is one turn. The moves of groups whose
turn it is not are not read, and rewards, metrics and ends come with the last turn; rows are always
at the same turn. Where nobody sits, observations are anything within the space and rewards are 0.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Binary, Composite, Unbounded

from sixgym.envs.core.errors import ActionError, StateError
from sixgym.envs.core.game import AGENT_REWARD, Game, Group, choices, keyed, part_of
from sixgym.envs.core.pettingzoo_view import make_game
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rows import Outcome, tree_map
from sixgym.envs.core.spaces import ActionReader
from sixgym.envs.core.torchrl_view import RowsEnv, plain, space_spec
from sixgym.envs.core.worlds import World


class SixgymTorchRLGame(RowsEnv):
    """All rows of a game as one batch-locked environment of TorchRL, its agents in groups.

    Attributes:
        group_map: the agents of each group, in the order of their seats.

    Args:
        game: the dynamics, in the layout ``"dict"``.
        num_envs: rows, the batch size.
        **kwargs: see `RowsEnv`.
    """

    def __init__(self, game: Game[Any, Any], num_envs: int = 1, **kwargs: Any) -> None:
        super().__init__(game, num_envs, **kwargs)
        self.game = game
        self._group_keys = {g.name: _key(g.name) for g in game.groups}
        self.group_map = {
            self._group_keys[g.name]: [f"{g.name}_{i}" for i in range(g.seats)] for g in game.groups
        }
        self._readers = {
            g.name: ActionReader(
                g.action_space, dtype=game.dtype, device=game.device, name=f"{g.name}.action"
            )
            for g in game.groups
        }
        self._turn = 0
        self._moves: dict[str, Tensor] = {}
        self._make_specs()

    def _make_specs(self) -> None:
        batch, device = self.batch_size, self.device
        seen, moved, paid = {}, {}, {}
        for group in self.game.groups:
            seats = torch.Size([*batch, group.seats])
            key = self._group_keys[group.name]
            seen[key] = self._seen_spec(group, seats)
            action = space_spec(group.action_space, seats, device)
            moved[key] = Composite(action=action, shape=seats, device=device)
            reward = Unbounded(shape=(*seats, 1), dtype=torch.float32, device=device)
            paid[key] = Composite(reward=reward, shape=seats, device=device)
        whole = self.game.overview(self.rows.state).shape
        seen["state"] = Unbounded(shape=whole, dtype=torch.float32, device=device)
        seen |= self._shared_specs()
        self.observation_spec = Composite(seen, shape=batch, device=device)
        self.action_spec = Composite(moved, shape=batch, device=device)
        self.reward_spec = Composite(paid, shape=batch, device=device)

    def _seen_spec(self, group: Group, seats: torch.Size) -> Any:
        device = self.device
        flag = Binary(shape=seats, dtype=torch.bool, device=device)
        parts = {
            "observation": space_spec(group.observation_space, seats, device),
            "mask": flag,
            "left": flag.clone(),
        }
        if group.is_masked:
            shape = (*seats, choices(group.action_space))
            parts["action_mask"] = Binary(shape=shape, dtype=torch.bool, device=device)
        return Composite(parts, shape=seats, device=device)

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        """Begin episodes: in all rows, or in those of the mask ``_reset``.

        Raises:
            StateError: some rows are to begin while the others are between two turns.
        """
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if self._turn and self._row_seeds is None and mask is not None and not bool(mask.all()):
            raise StateError("reset between two turns: allowed for all rows together")
        self._begin(tensordict)
        self._turn, self._moves = 0, {}
        seated = self.game.agent_ids(self.rows.state)
        return self._told(None, torch.zeros_like(seated, dtype=torch.bool))

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        """One turn of every row.

        Raises:
            ActionError: a move of a group whose turn it is is not in its space.
        """
        game = self.game
        for group in game.groups:
            if group.name in game.turns[self._turn]:
                self._moves |= self._read(
                    group, tensordict.get((self._group_keys[group.name], "action"))
                )
        before = game.agent_ids(self.rows.state)
        self._turn += 1
        out = None
        if self._turn == len(game.turns):
            out = self.rows.advance(self._moves)
            self._turn, self._moves = 0, {}
        left = (before >= 0) & (before != game.agent_ids(self.rows.state))
        told = self._told(out, left)
        reward = torch.zeros(left.shape, device=game.device)
        if out is not None:
            paid = out.diagnostics[AGENT_REWARD.name].to(torch.float32)
            reward = paid.masked_fill(before < 0, 0.0)
        for group in game.groups:
            seats = game.seats[group.name]
            told.set((self._group_keys[group.name], "reward"), reward[:, seats, None])
        return told

    def _read(self, group: Group, action: Any) -> dict[str, Tensor]:
        """The moves of a group: every seat is read as a row."""
        rows, seats = self.batch_size[0], group.seats
        self._check_places(group, plain(action))
        flat: Any = tree_map(lambda t: t.reshape(rows * seats, *t.shape[2:]), plain(action))
        read = self._readers[group.name].read(flat, rows * seats)
        return keyed(tree_map(lambda t: t.unflatten(0, (rows, seats)), read), group)

    def _check_places(self, group: Group, action: Any) -> None:
        """Raise unless every part of the moves of a group is of every row and seat."""
        places = (self.batch_size[0], group.seats)
        for part in action.values() if isinstance(action, dict) else [action]:
            if not isinstance(part, Tensor) or tuple(part.shape[:2]) != places:
                shape = getattr(part, "shape", None)
                found = type(part).__name__ if shape is None else f"shape {tuple(shape)}"
                raise ActionError(f"{group.name}.action: {found}; allowed: {places} first")

    @torch.no_grad()
    def _told(self, out: Outcome | None, left: Tensor) -> TensorDictBase:
        game, state = self.game, self.rows.state
        seen = game.perceive(state, self._moves)
        masks = game.allowed(state, self._moves)
        alive = game.alive(state)
        told: dict[str, Any] = {"state": game.overview(state), **self._shared(out)}
        for group in game.groups:
            seats = game.seats[group.name]
            here = alive[:, seats]
            is_turn = group.name in game.turns[self._turn]
            parts: dict[str, Any] = {
                "observation": self._nested(part_of(seen, group, "observation_space"), group.seats),
                "mask": here & is_turn,
                "left": left[:, seats],
            }
            if group.is_masked:
                parts["action_mask"] = masks[group.name] | ~here[..., None]
            told[self._group_keys[group.name]] = self._nested(parts, group.seats)
        return TensorDict(told, batch_size=self.batch_size, device=self.device)


def _key(name: str) -> str:
    """The key of a group; TorchRL's specs take none that is an attribute of theirs."""
    return f"{name}s" if hasattr(Composite(), name) else name


def make_torchrl_game(
    id: str,
    num_envs: int = 1,
    *,
    seed: int = 0,
    world: World = "train",
    compile: bool = False,
    **kwargs: Any,
) -> SixgymTorchRLGame:
    """The rows of a game for TorchRL, agents in groups, with its registered time limit.

    Args:
        id: of a game.
        num_envs: rows.
        seed: block of row seeds; see `sixgym.envs.core.worlds`.
        world: the range of row seeds.
        compile: fuse the step with torch.compile.
        **kwargs: parameters and options, as for PettingZoo's views; ``max_episode_steps`` replaces
            the registered limit.

    Raises:
        UnknownIdError: no such system.
        ParamsError: a parameter is unknown or out of range.
        OptionsError: the system is not a game.
    """
    found = entry(id)
    limit = kwargs.pop("max_episode_steps", found.max_episode_steps)
    game = make_game(cast("Any", found.load_system()), **{**found.parallel, **kwargs})
    return SixgymTorchRLGame(
        game, num_envs, max_episode_steps=limit, seed=seed, world=world, compile=compile
    )
