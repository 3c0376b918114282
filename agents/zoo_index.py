"""The trained policies that ship: which there are, and one of them ready to play."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.registry import entry

if TYPE_CHECKING:
    from sixgym.agents.policies import AnyPolicy, Card

ANY_PRESET = "any"
"""Instead of a preset: whatever it was trained in."""


@cache
def zoo() -> dict[tuple[str, str], list[Path]]:
    """The cards that ship: by environment and name, one path a training seed."""
    import sixgym.agents
    from sixgym.agents.policies import read_card

    found: dict[tuple[str, str], list[Path]] = {}
    for folder in sixgym.agents.__path__:
        for path in sorted(Path(folder, "zoo").rglob("*.json")):
            card = read_card(path)
            found.setdefault((card.env, name_of(card, path)), []).append(path)
    return found


def name_of(card: Card, path: Path) -> str:
    """What a trained policy is called: its configuration's name, without the seed."""
    name = str(card.about.get("name", path.stem))
    return name.rpartition("/")[0] or name


def preset_of(card: Card) -> str:
    """The preset that the policy of a card was trained in."""
    return str(card.env_kwargs.get("preset") or "default")


def load(id: str, name: str, seed: int | None = None) -> AnyPolicy:
    """A trained policy that ships, with Stable-Baselines3's ``predict``.

    ```python
    policy = sixgym.agents.load("sixgym/RisNomaSelect-v0", "ppo")
    actions, state = policy.predict(observations)
    ```

    Args:
        id: the registered environment.
        name: of the policy, which is that of its configuration (``sixgym info ID``); or of an
            algorithm, for the policy that it trained. Of several, a tuned one comes first, and of
            those the one in the environment's default preset.
        seed: of the training; None takes the one of the best validation score.

    Raises:
        UnknownIdError: no such environment, policy or seed; the message lists what there is.
        PolicyError: the weights are damaged.
    """
    import sixgym  # noqa: F401 - registers the environments
    from sixgym.agents.policies import load_policy, read_card

    entry(id)
    cards = {path: read_card(path) for path in _paths(id, name)}
    if seed is None:
        return load_policy(_best(id, cards))
    by_seed = {card.about.get("seed"): path for path, card in cards.items()}
    if seed not in by_seed:
        known = ", ".join(map(str, by_seed))
        raise UnknownIdError(f"seed={seed!r}: seeds of {name} for {id}: {known}")
    return load_policy(by_seed[seed])


def _paths(id: str, name: str) -> list[Path]:
    """The cards of a policy by its name, else by its algorithm.

    Raises:
        UnknownIdError: there is none.
    """
    from sixgym.agents.policies import read_card

    index = zoo()
    if (id, name) in index:
        return index[id, name]
    ranked: list[tuple[bool, bool, str]] = []
    for env, other in index:
        card = read_card(index[env, other][0])
        if env == id and card.about.get("algorithm") == name:
            ranked.append((is_untuned(card), preset_of(card) != "default", other))
    if ranked:
        return index[id, min(ranked)[2]]
    known = ", ".join(sorted(other for env, other in index if env == id)) or "none"
    raise UnknownIdError(f"name={name!r}: trained policies of {id}: {known}")


def is_untuned(card: Card) -> bool:
    """Whether the policy's configuration says that nobody searched for its hyper-parameters."""
    config = card.about.get("config")
    return isinstance(config, dict) and config.get("untuned") is True


def _best(id: str, cards: dict[Path, Card]) -> Path:
    """The card of the best validation score; the first of equals, and where none was measured."""
    headline = entry(id).load_system().scores[0]
    sign = 1.0 if headline.higher_is_better else -1.0

    def worth(path: Path) -> float:
        point: Any = cards[path].about.get("validation")
        value = point.get(headline.name) if isinstance(point, dict) else None
        return sign * value if isinstance(value, int | float) else -float("inf")

    return max(cards, key=worth)
