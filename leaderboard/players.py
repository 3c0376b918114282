"""From a name to policies that play: baselines, shipped weights, files, or any object."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixgym.agents.zoo_index import ANY_PRESET, name_of, preset_of
from sixgym.agents.zoo_index import zoo as _zoo
from sixgym.baselines.policy import Baseline, Cost, load_baselines
from sixgym.envs.core.errors import PolicyError, UnknownIdError
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Policy, policy_name
from sixgym.leaderboard.protocol import Task
from sixgym.leaderboard.store import PolicyCard

if TYPE_CHECKING:
    from sixgym.agents.policies import Card
    from sixgym.envs.core.system import System

INTERFACE = ("observation", "action_mode", "mask_in_obs", "observe_others")
"""Parameters that only say how an agent is connected to a system. A trained policy brings them from
its card; everything else, the physics above all, is the task's."""

SEES = {"observation": "the same", "model": "the model", "oracle": "what nobody could"}
"""What a teacher sees, in words, beside a student that sees the observation."""

LANGUAGE_MODEL = "llm:"
"""What the name of a language model begins with; its file follows."""


@dataclass(frozen=True)
class Member:
    """One policy to roll out: a baseline, or the weights of one training seed."""

    make: Callable[[System[Any, Any]], Policy]
    training_seed: int | None = None
    training_steps: int | None = None
    weights: str = ""
    deterministic: bool = True
    """Whether it plays its best action; false for one that is meant to be sampled, as its training
    evaluated it."""
    curve: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Player:
    """A row to be: who plays, where, and with which members (one per training seed)."""

    card: PolicyCard
    members: list[Member] = field(default_factory=list)
    report: Callable[[], str] | None = None
    """What there is to say beside the scores once it has played, in one line."""
    cost: Cost = "fast"
    """Whether a board asks for all of a task's episodes, or for the first of them."""


def find_player(id: str, policy: str | Policy) -> Player:
    """Who a name, a path or an object stands for, in an environment.

    Args:
        id: the registered environment.
        policy: the name of a baseline or of shipped weights; the path of weights, of a run, or of
            the runs of several seeds; ``llm:FILE.yaml``, a language model behind a server (see
            `sixgym.agents.llm.player`); or an object with ``predict``.

    Raises:
        UnknownIdError: nothing of that name; the message lists what there is.
        PolicyError: the weights are damaged, or for another environment.
        ConfigError: the file of a language model is missing or malformed.
    """
    if not isinstance(policy, str):
        card = _card(policy_name(policy), "file", "learned", "observation", "A Python object.", id)
        return Player(card, [Member(lambda system: policy)])
    if policy.startswith(LANGUAGE_MODEL):
        return _language_model(id, policy)
    baselines = load_baselines(id)
    if policy in baselines:
        return player_of(baselines[policy], id)
    zoo = _zoo()
    if (id, policy) in zoo:
        return _trained(id, policy, "zoo", zoo[id, policy])
    if Path(policy).exists() or Path(policy).with_suffix(".json").exists():
        found = _trained(id, None, "file", _weights_below(Path(policy)))
        return replace(found, card=found.card.model_copy(update={"origin": policy}))
    known = [*shipped(id), *baselines]
    raise UnknownIdError(
        f"policy={policy!r}: unknown, and no such file; policies of {id}: {', '.join(known)}"
    )


def _language_model(id: str, policy: str) -> Player:
    """The player of a language model's file."""
    from sixgym.agents.llm.player import LlmPlayer, check_id

    check_id(entry(id).load_system(), id)
    model = LlmPlayer.load(policy.removeprefix(LANGUAGE_MODEL))
    card = _card(model.name, "file", "learned", "observation", model.description, id)
    card = card.model_copy(update={"origin": policy})
    return Player(card, [Member(model.make)], model.report, "slow")


def player_of(baseline: Baseline, id: str) -> Player:
    """The player of a baseline in the table of an environment."""
    where = baseline.env_id or id
    card = _card(
        baseline.name, "baseline", baseline.kind, baseline.sees, baseline.description, where
    )
    card = card.model_copy(update={"env_kwargs": dict(baseline.env_kwargs)})
    return Player(card, [Member(baseline.make)], cost=baseline.cost)


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


def shipped(id: str, preset: str | None = ANY_PRESET) -> list[str]:
    """Names of the trained policies that ship for an environment.

    Args:
        id: the registered environment.
        preset: only those trained in it (None is the default); all if left out.
    """
    wanted = preset or "default"
    return sorted(
        name
        for (env, name), cards in _zoo().items()
        if env == id and (wanted == ANY_PRESET or wanted == preset_of(_read(cards[0])))
    )


def _read(path: Path) -> Card:
    from sixgym.agents.policies import read_card

    return read_card(path)


def _weights_below(path: Path) -> list[Path]:
    """The cards that a path stands for.

    Raises:
        PolicyError: there are none.
    """
    if not path.is_dir():
        return [path.with_suffix(".json")]
    best = Path("policies", "best.json")
    for found in ([path / best], sorted(path.glob(f"*/{best}")), sorted(path.glob("*.json"))):
        there = [card for card in found if card.is_file()]
        if there:
            return there
    raise PolicyError(f"{path}: no weights in it; allowed: a card, a run, or a folder of runs")


def _trained(id: str, name: str | None, source: str, paths: list[Path]) -> Player:
    """The player of trained weights, one member for each card.

    Raises:
        PolicyError: the cards are of different policies, or of another environment.
    """
    cards = [_read(path) for path in paths]
    names = {name_of(card, path) for card, path in zip(cards, paths, strict=True)}
    if len(names) > 1:
        raise PolicyError(f"{paths[0].parent}: several policies: {', '.join(sorted(names))}")
    first = cards[0]
    if first.env != id and entry(first.env).baselines != entry(id).baselines:
        raise PolicyError(f"{paths[0]}: trained for {first.env}; allowed: {id}")
    algorithm = first.about.get("algorithm", "unknown")
    card = _card(
        name or names.pop(),
        source,
        "learned",
        "observation",
        f"Trained by {algorithm}{_imitated(first)}.",
        first.env,
    )
    connection = {k: v for k, v in first.env_kwargs.items() if k in INTERFACE}
    config = _config(first)
    is_untuned = source == "zoo" and config.get("untuned") is True
    card = card.model_copy(update={"env_kwargs": connection, "ranked": not is_untuned})
    pairs = zip(cards, paths, strict=True)
    members = [_member(one, path) for one, path in pairs]
    return Player(card, members, cost="slow" if config.get("cost") == "slow" else "fast")


def _imitated(card: Card) -> str:
    """Whom a policy imitates, and what that one sees, for its description."""
    teacher = card.about.get("imitates")
    if not isinstance(teacher, dict):
        return ""
    return f", imitates {teacher['baseline']}, which sees {SEES[str(teacher['sees'])]}"


def _config(card: Card) -> dict[str, Any]:
    """The configuration that a policy was trained by; empty where its card does not tell."""
    config = card.about.get("config")
    return config if isinstance(config, dict) else {}


def _member(card: Card, path: Path) -> Member:
    def make(system: System[Any, Any]) -> Policy:
        from sixgym.agents.policies import load_policy

        return load_policy(path, system=system)

    seed, config = card.about.get("seed"), _config(card)
    steps = config.get("total_steps")
    return Member(
        make,
        training_seed=seed if isinstance(seed, int) else None,
        training_steps=steps if isinstance(steps, int) else None,
        weights=card.sha256,
        deterministic=_is_deterministic(config),
        curve=_curve(card, path),
    )


def _is_deterministic(config: Mapping[str, Any]) -> bool:
    """Whether the evaluations of a training were of best actions."""
    told = config.get("evaluation")
    return not (isinstance(told, dict) and told.get("deterministic") is False)


def _curve(card: Card, path: Path) -> tuple[tuple[int, float], ...]:
    """Learning curve of a policy: the evaluations beside its card, or those of its run; or none.

    Raises:
        PolicyError: there is a table, but not of steps and the headline score.
    """
    tables = (path.with_suffix(".csv"), path.parent.parent / "evaluations.csv")
    table = next((t for t in tables if t.is_file()), None)
    if table is None:
        return ()
    score = entry(card.env).load_system().scores[0].name
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(int(row["step"]), row[score]) for row in csv.DictReader(file)]
        return tuple((step, float(value)) for step, value in rows if value)
    except (KeyError, ValueError, TypeError) as error:
        raise PolicyError(f"{table}: not a table of step and {score}: {error}") from None


def _card(
    name: str, source: Any, kind: Any, sees: Any, description: str, env_id: str
) -> PolicyCard:
    return PolicyCard(
        name=name, source=source, kind=kind, sees=sees, description=description, env_id=env_id
    )
