"""All agents of a game as one Stable-Baselines3 ``VecEnv``, for policies that know who plays whom.

SB3 sees an environment for every (row, seat) pair, the groups in the game's order, so that rewards,
values, returns and advantages are each agent's own. All pairs have the same Dict observation, with
an entry for every part of every group, zero but in the agent's own, and two flags; and one action
space, the groups' side by side, of which an agent's own part counts. A step is one of the game:
who moves later in it is told what the others did by `sixgym.envs.core.game.Game.hear`, which is
the policy's business.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.core.errors import ActionError, OptionsError
from sixgym.envs.core.game import Game, keyed
from sixgym.envs.core.multiagent_sb3 import SeatsVecEnv, game_of, game_rows
from sixgym.envs.core.rows import tree_map
from sixgym.envs.core.spaces import as_array, to_numpy
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.core.worlds import World

PRESENT = "present"
"""Key of the observation that tells whether somebody sits on the seat, 1 or 0."""
ASKS = "asks"
"""Key that is 0 while playing. A last observation is that of the whole row, (seats, ...), because
nobody's value can be told from his own share; 1 marks the seat whose value is asked for."""


class Notes(NamedTuple):
    """Columns behind the actions that the environment does not read.

    They are a policy's own notes of how it came to a move, such as the words that were said.
    """

    columns: int = 0
    size: int = 2
    """Each is an integer from 0 to below this."""


NO_NOTES = Notes()


class TeamVecEnv(SeatsVecEnv):
    """The agents of all groups of a game; pair ``row * num_seats + seat``, groups in order.

    Args:
        env: rows of a game, see `SeatsVecEnv`.
        world: which range of row seeds ``seed`` selects from.
        finite_horizon: whether the time limit ends an episode for good, so that nobody bootstraps
            there; for observations that tell the time.
        notes: columns that are added to the actions.

    Raises:
        OptionsError: not a game, or its groups' actions cannot stand side by side.
    """

    def __init__(
        self,
        env: SixgymVectorEnv,
        *,
        world: World = "train",
        finite_horizon: bool = False,
        notes: Notes = NO_NOTES,
    ) -> None:
        game = game_of(env)
        super().__init__(
            env,
            slice(0, game.num_seats),
            pair_observation(game),
            pair_action(game, notes),
            world=world,
            finite_horizon=finite_horizon,
        )
        self._columns = action_columns(game)

    def _all_moves(self) -> dict[str, Tensor]:
        game = self.game
        wanted = (self.num_envs, *(self.action_space.shape or ()))
        given = as_array("actions", self._actions)
        if given.shape != wanted:
            raise ActionError(f"actions: shape {given.shape}; allowed: {wanted}")
        table = given.reshape(self.env.num_envs, game.num_seats, -1)
        moves: dict[str, Tensor] = {}
        for group in game.groups:
            own = table[:, game.seats[group.name], self._columns[group.name]]
            own = own.reshape(-1, *(group.action_space.shape or ()))
            read = self._readers[group.name].read(own, len(own))
            moves |= keyed(tree_map(lambda t, g=group: t.unflatten(0, (-1, g.seats)), read), group)
        return moves

    @torch.no_grad()
    def _look(self, remember: bool = True) -> Any:
        """What all see before anybody has moved, (pairs, ...) for each key."""
        del remember  # nothing is kept anyway
        game, state = self.game, self.env.rows.state
        seen = game.perceive(state, {})
        pairs = self.env.num_envs * game.num_seats
        found = {}
        for key, space in cast("spaces.Dict", self.observation_space).items():
            shape = space.shape or ()
            whole = torch.zeros(self.env.num_envs, game.num_seats, *shape, device=game.device)
            if key == PRESENT:
                whole[..., 0] = game.alive(state)
            elif key != ASKS:
                whole[:, game.seats[key.partition(".")[0]]] = seen[key].to(torch.float32)
            found[key] = whole.reshape(pairs, *shape)
        return to_numpy(found)

    def _last_sight(self, seen: Any, pair: int) -> Any:
        seats = self.game.num_seats
        row, seat = divmod(pair, seats)
        whole = {k: v[row * seats : (row + 1) * seats].copy() for k, v in seen.items()}
        whole[ASKS][seat] = 1.0
        return whole


def pair_observation(game: Game[Any, Any]) -> spaces.Dict:
    """What an agent of any group sees: every part of every group, and the flags.

    Raises:
        OptionsError: a part is no Box.
    """
    parts: dict[str, spaces.Space[Any]] = {}
    for group in game.groups:
        for key, space in keyed(_inner(group.observation_space), group).items():
            if not isinstance(space, spaces.Box):
                raise OptionsError(f"{key}: observed as {space}; allowed for a team: Box")
            low = np.minimum(space.low, 0.0).astype(np.float32)
            high = np.maximum(space.high, 0.0).astype(np.float32)
            parts[key] = spaces.Box(low, high, dtype=np.float32)
    flags = {key: spaces.Box(0.0, 1.0, (1,), np.float32) for key in (PRESENT, ASKS)}
    return spaces.Dict({**parts, **flags})


def pair_action(game: Game[Any, Any], notes: Notes = NO_NOTES) -> spaces.MultiDiscrete | spaces.Box:
    """The groups' action spaces side by side, and the notes.

    Raises:
        OptionsError: some are discrete and others not, or one is neither Box nor discrete.
    """
    own = [g.action_space for g in game.groups]
    if all(isinstance(s, spaces.Discrete | spaces.MultiDiscrete) for s in own):
        counts = [np.ravel(getattr(s, "nvec", getattr(s, "n", 0))) for s in own]
        return spaces.MultiDiscrete(np.concatenate([*counts, [notes.size] * notes.columns]))
    if notes.columns:
        raise OptionsError(f"notes={notes}: allowed beside discrete actions only")
    if all(isinstance(s, spaces.Box) for s in own):
        boxes = cast("list[spaces.Box]", own)
        low, high = (np.concatenate([np.ravel(getattr(b, k)) for b in boxes]) for k in _BOUNDS)
        return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
    raise OptionsError(
        f"{type(game).__name__}: actions {', '.join(map(str, own))}; allowed for a team: all "
        "discrete, or all Box"
    )


_BOUNDS = ("low", "high")


def action_columns(game: Game[Any, Any]) -> dict[str, slice]:
    """Which columns of the action that all groups share are a group's own."""
    found, first = {}, 0
    for group in game.groups:
        width = int(np.prod(group.action_space.shape or (1,)))
        found[group.name] = slice(first, first + width)
        first += width
    return found


def _inner(space: spaces.Space[Any]) -> Any:
    return dict(space.items()) if isinstance(space, spaces.Dict) else space


def make_team_vec_env(
    id: str,
    num_rows: int,
    *,
    seed: int | None = None,
    world: World = "train",
    finite_horizon: bool = False,
    notes: Notes = NO_NOTES,
    max_episode_steps: int | None = None,
    compile: bool = False,
    render_mode: str | None = None,
    **kwargs: Any,
) -> TeamVecEnv:
    """All agents of a registered game, ready for `sixgym.agents.team`.

    Args:
        id: a registered game.
        num_rows: rows; SB3 sees ``num_rows`` times the game's seats.
        seed: block of row seeds within the world.
        world: ``"train"``, ``"tuning"``, ``"validation"`` or ``"evaluation"``.
        finite_horizon: see `TeamVecEnv`.
        notes: see `TeamVecEnv`.
        max_episode_steps: time limit; None is the registered one.
        compile: fuse the step with torch's compiler.
        render_mode: ``"rgb_array"``, ``"human"`` or None.
        **kwargs: parameters and options, as for ``gymnasium.make_vec``.

    Raises:
        UnknownIdError: no such id.
        OptionsError: not a game, or not one of a team.
        ParamsError: a wrong parameter.
    """
    env = game_rows(
        id,
        num_rows,
        max_episode_steps=max_episode_steps,
        compile=compile,
        render_mode=render_mode,
        **kwargs,
    )
    view = TeamVecEnv(env, world=world, finite_horizon=finite_horizon, notes=notes)
    if seed is not None:
        view.seed(seed)
    return view
