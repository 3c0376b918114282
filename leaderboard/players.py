"""From a name to policies that play: baselines, shipped weights, files, or any object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sixgym.baselines.policy import Baseline, load_baselines
from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Policy, policy_name
from sixgym.leaderboard.protocol import Task
from sixgym.leaderboard.store import PolicyCard

if TYPE_CHECKING:
    from sixgym.envs.core.system import System


@dataclass(frozen=True)
class Member:
    """One policy to roll out: a baseline, or the weights of one training seed."""

    make: Callable[[System[Any, Any]], Policy]
    training_seed: int | None = None
    training_steps: int | None = None
    weights: str = ""


@dataclass(frozen=True)
class Player:
    """A row to be: who plays, where, and with which members (one per training seed)."""

    card: PolicyCard
    members: list[Member] = field(default_factory=list)


def find_player(id: str, policy: str | Policy) -> Player:
    """Who a name, a path or an object stands for, in an environment.

    Args:
        id: the registered environment.
        policy: the name of a baseline or of shipped weights, the path of somebody's own weights, or
            an object with ``predict``.

    Raises:
        UnknownIdError: nothing of that name; the message lists what there is.
    """
    if not isinstance(policy, str):
        card = _card(policy_name(policy), "file", "learned", "observation", "A Python object.", id)
        return Player(card, [Member(lambda system: policy)])
    baselines = load_baselines(id)
    if policy in baselines:
        return player_of(baselines[policy], id)
    raise UnknownIdError(f"policy={policy!r}: unknown; baselines of {id}: {', '.join(baselines)}")


def player_of(baseline: Baseline, id: str) -> Player:
    """The player of a baseline in the table of an environment."""
    where = baseline.env_id or id
    card = _card(
        baseline.name, "baseline", baseline.kind, baseline.sees, baseline.description, where
    )
    card = card.model_copy(update={"env_kwargs": dict(baseline.env_kwargs)})
    return Player(card, [Member(baseline.make)])


def _card(
    name: str, source: Any, kind: Any, sees: Any, description: str, env_id: str
) -> PolicyCard:
    return PolicyCard(
        name=name, source=source, kind=kind, sees=sees, description=description, env_id=env_id
    )


def reference_of(id: str) -> str | None:
    """The baseline that scores of an environment are normalised by: its first ``reference``."""
    named = [b.name for b in load_baselines(id).values() if b.kind == "reference"]
    return named[0] if named else None


def kwargs_of(player: Player, task: Task) -> dict[str, Any]:
    """The arguments of the environment that a player acts in: the task's, then its own.

    Where it acts in another id than the task's, arguments that only the task's id knows (how its
    actions are meant) do not concern it and are left out.
    """
    params = dict(task.params)
    if player.card.env_id != task.env_id:
        asked = set(entry(task.env_id).load_system().params_type.model_fields)
        known = set(entry(player.card.env_id).load_system().params_type.model_fields)
        params = {k: v for k, v in params.items() if k not in asked - known}
    return {**params, **player.card.env_kwargs}


def shipped(id: str) -> list[str]:
    """Names of the trained policies that ship for an environment."""
    return []
