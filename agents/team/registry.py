"""Networks of teams by name, for configurations and cards."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sixgym.envs.core.errors import ConfigError

if TYPE_CHECKING:
    from sixgym.agents.team.nets import TeamActor, TeamCritic
    from sixgym.envs.core.game import Game
    from sixgym.envs.core.team_sb3 import Notes


class Net(NamedTuple):
    """A kind of network: where it lives."""

    actor: str
    """``module:Class`` of the actor."""
    critic: str
    """``module:Class`` of the critic."""

    def notes_of(self, game: Game[Any, Any], **kwargs: Any) -> Notes:
        """The notes that the actor takes of its moves."""
        found: Notes = _load(self.actor).notes_of(game, **kwargs)
        return found

    def make_actor(self, game: Game[Any, Any], **kwargs: Any) -> TeamActor:
        """The actor, with weights drawn from torch's generator."""
        made: TeamActor = _load(self.actor)(game, **kwargs)
        return made

    def make_critic(self, game: Game[Any, Any], *, central: bool, **kwargs: Any) -> TeamCritic:
        """The critic; ``central`` if it may see everything."""
        made: TeamCritic = _load(self.critic)(game, central=central, **kwargs)
        return made


NETS: dict[str, Net] = {
    "mac_flat": Net(
        "sixgym.agents.team.mac_flat:FlatActor", "sixgym.agents.team.mac_flat:FlatCritic"
    ),
    "mac_set": Net("sixgym.agents.team.mac_set:SetActor", "sixgym.agents.team.mac_set:SetCritic"),
    "mac_token": Net(
        "sixgym.agents.team.mac_token:TokenActor", "sixgym.agents.team.mac_token:TokenCritic"
    ),
    "twin_set": Net(
        "sixgym.agents.team.twin_set:TwinActor", "sixgym.agents.team.twin_set:TwinCritic"
    ),
}


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def notes_of(id: str, net: str, sizes: Mapping[str, Any], env_kwargs: Mapping[str, Any]) -> Notes:
    """The notes that a network of some sizes takes in an environment.

    Args:
        id: of a registered game.
        net: a name of `NETS`.
        sizes: of the network.
        env_kwargs: arguments of the environment.

    Raises:
        ConfigError: there is no such network, or it has no such size.
    """
    from sixgym.envs.core.pettingzoo_view import make_game
    from sixgym.envs.core.registry import entry

    if net not in NETS:
        raise ConfigError(f"net={net!r}: allowed: {', '.join(NETS)}")
    skipped = ("max_episode_steps", "compile")
    kwargs = {k: v for k, v in env_kwargs.items() if k not in skipped}
    game = make_game(entry(id).system, **kwargs)
    try:
        NETS[net].make_actor(game, **sizes)
    except TypeError as error:
        raise ConfigError(f"sizes={dict(sizes)}: {error}") from None
    return NETS[net].notes_of(game, **sizes)
