"""Networks as data: weights in safetensors, sizes and origin in a JSON card, nothing executed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from sixgym.agents import weights
from sixgym.agents.toolcall.language import DIGEST
from sixgym.agents.toolcall.model import RewardNet, Sizes, ToolNet
from sixgym.envs.core.errors import PolicyError, UnknownIdError

SHIPPED = Path(__file__).parent / "weights"
"""The weights in the package: ``sft``, the supervised start, and ``edge``, improved from it."""

CURVES = Path(__file__).parent / "curves"
"""``RECIPE-SEED.csv``: curves of ``python -m sixgym.agents.toolcall RECIPE``."""

N = TypeVar("N", ToolNet, RewardNet)


class Card(BaseModel):
    """What is known of a network besides its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["sixgym toolcall 1"] = "sixgym toolcall 1"
    kind: Literal["edge", "reward"]
    width: int = Field(ge=1, le=512)
    layers: int = Field(ge=1, le=16)
    heads: int = Field(ge=1, le=64)
    vocabulary: str
    """SHA-256 of the vocabulary that the weights were trained on."""
    sha256: str
    """Of the safetensors file beside the card."""
    about: dict[str, JsonValue] = {}
    """Where it comes from: configuration, seed, scores, versions, commit."""


def save(net: ToolNet | RewardNet, path: str | Path, about: dict[str, JsonValue]) -> Path:
    """Write ``<path>.safetensors`` and the card ``<path>.json``.

    Args:
        net: what to write.
        path: with or without one of the two endings.
        about: origin, as plain data.

    Returns:
        The path of the weights.
    """
    data, sha256 = weights.packed(net)
    card = Card(
        kind="edge" if isinstance(net, ToolNet) else "reward",
        **net.sizes._asdict(),
        vocabulary=DIGEST,
        sha256=sha256,
        about=about,
    )
    return weights.write(path, data, card)


def load_edge(path: str | Path) -> ToolNet:
    """The edge agent of a file; see `load_card` for what is refused."""
    return _filled(ToolNet, path, "edge")


def load_reward(path: str | Path) -> RewardNet:
    """The reward model of a file; see `load_card` for what is refused."""
    return _filled(RewardNet, path, "reward")


def load_card(path: str | Path) -> Card:
    """The card of a network.

    Raises:
        PolicyError: the card is missing, not JSON, or a field is wrong.
    """
    _, card_path = weights.pair(path)
    if not card_path.is_file():
        raise PolicyError(f"{card_path}: no such network")
    try:
        return Card.model_validate_json(card_path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise PolicyError(f"{card_path}: not a card: not text") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise PolicyError(f"{card_path}: not a card: {where}: {first['msg']}") from None


def shipped_edge(name: str = "edge") -> ToolNet:
    """The package's own edge agent: ``edge``, or ``sft``, from which it was improved."""
    return load_edge(SHIPPED / name)


def stored_curve(recipe: str, seed: int) -> list[dict[str, float]]:
    """The evaluations of a run that ships with the package, first to last.

    Args:
        recipe: name of a recipe.
        seed: of the run.

    Returns:
        Of each, ``step`` and the fields of `sixgym.agents.toolcall.grading.Report`; after the first
        also those of `sixgym.agents.toolcall.improve.Progress` that were measured.

    Raises:
        UnknownIdError: there is no such run.
    """
    names = sorted(path.stem for path in CURVES.glob("*.csv"))
    if f"{recipe}-{seed}" not in names:
        raise UnknownIdError(f"curve={recipe}-{seed}: allowed: {', '.join(names)}")
    with (CURVES / f"{recipe}-{seed}.csv").open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def _filled(cls: type[N], path: str | Path, kind: str) -> N:
    """A network of exactly the card's sizes with exactly its tensors.

    Raises:
        PolicyError: a file is missing, truncated or altered, or is for something else.
    """
    file, card_path = weights.pair(path)
    card = load_card(path)
    if card.kind != kind:
        raise PolicyError(f"{card_path}: kind={card.kind!r}; allowed: {kind!r}")
    if card.vocabulary != DIGEST:
        raise PolicyError(f"{card_path}: trained on another vocabulary")
    data = weights.read(file, card_path, card.sha256)
    if card.width % card.heads:
        raise PolicyError(f"{card_path}: heads={card.heads}: allowed: divisors of {card.width}")
    net = cls(Sizes(card.width, card.layers, card.heads))
    weights.fill(net, data, file)
    return net
