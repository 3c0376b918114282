"""What an actor and a critic of a team are, and the parts that they are built of."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.team_sb3 import Notes

if TYPE_CHECKING:
    from sixgym.envs.core.game import Game

Seen = Mapping[str, Tensor]
"""What every seat sees by group and part, (rows, seats, ...), as `Game.perceive` has it; with
``alive`` (rows, agents), 1 where somebody sits."""
ALIVE = "alive"


class Acted(NamedTuple):
    """Moves of all, and how likely they were."""

    moves: dict[str, Tensor]
    """As `sixgym.envs.core.game.Moves`, int64 or float32."""
    log_prob: Tensor
    """(rows, agents); 0 on empty seats."""
    notes: Tensor | None = None
    """(rows, agents, count) int64: what `TeamActor.judge` must know beside the moves."""


class Judged(NamedTuple):
    """How likely moves are; (rows, agents) each, 0 on empty seats."""

    log_prob: Tensor
    entropy: Tensor


class TeamActor(nn.Module, ABC):
    """Moves of all agents, each by what it sees itself.

    Args:
        game: whose agents; kept to know who hears what.
    """

    def __init__(self, game: Game[Any, Any]) -> None:
        super().__init__()
        self._game = [game]  # a list, for nn.Module would look into it

    @property
    def game(self) -> Game[Any, Any]:
        """The game."""
        return self._game[0]

    @classmethod
    def notes_of(cls, game: Game[Any, Any], **sizes: Any) -> Notes:
        """The notes that it takes of every move; none here.

        Args:
            game: as of the constructor.
            **sizes: likewise.
        """
        return Notes()

    @property
    @abstractmethod
    def num_uniforms(self) -> int:
        """Random numbers in [0, 1) that `act` takes for a row."""

    @abstractmethod
    def act(self, seen: Seen, uniform: Tensor, deterministic: bool) -> Acted:
        """Moves of all.

        Args:
            seen: before anybody has moved.
            uniform: (rows, num_uniforms).
            deterministic: the best moves, ties broken at random.
        """

    @abstractmethod
    def judge(self, seen: Seen, moves: Mapping[str, Tensor], notes: Tensor | None = None) -> Judged:
        """How likely these moves are, differentiable.

        Args:
            seen: before anybody has moved.
            moves: of all.
            notes: (rows, agents, count) int64 that `act` took, where it takes any.
        """


class TeamCritic(nn.Module, ABC):
    """Values of all agents; only training needs it, so it may see what they do not."""

    @abstractmethod
    def forward(self, before: Seen, after: Seen) -> Tensor:
        """(rows, agents) values; anything on empty seats.

        Args:
            before: what is seen before anybody has moved.
            after: what is seen by those who move last, from `Game.hear`.
        """


def of_the_seated(values: Tensor, alive: Tensor) -> Tensor:
    """(rows, agents) with 0 on empty seats, whatever stood there: a product keeps infinities.

    Args:
        values: (rows, agents).
        alive: (rows, agents), 1 where somebody sits.
    """
    return torch.where(alive > 0, values, 0.0)


def check_size(name: str, value: object, least: int) -> None:
    """Refuse what is no size.

    Raises:
        PolicyError: no integer, or a smaller one.
    """
    if type(value) is not int or value < least:
        raise PolicyError(f"{name}={value!r}: allowed: integers from {least}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Refuse what is none of the choices.

    Raises:
        PolicyError: it is another.
    """
    known = tuple(choices)
    if value not in known:
        raise PolicyError(f"{name}={value!r}: allowed: {', '.join(map(str, known))}")


def mlp(
    sizes: list[int], activation: type[nn.Module] = nn.Tanh, gain: float = 1.0
) -> nn.Sequential:
    """Linear layers with an activation between them, orthogonal as SB3's are.

    Args:
        sizes: widths from input to output.
        activation: between two layers.
        gain: of the last layer's weights.
    """
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        last = i == len(sizes) - 2
        layers.append(linear(a, b, gain if last else 2.0**0.5))
        if not last:
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def linear(inputs: int, outputs: int, gain: float = 2.0**0.5) -> nn.Linear:
    """A linear layer with orthogonal weights and no bias at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class SeatNets(nn.Module):
    """The layers of `mlp` with weights of their own for every seat, side by side.

    Args:
        seats: how many.
        sizes: widths from input to output.
    """

    def __init__(self, seats: int, sizes: list[int]) -> None:
        super().__init__()
        nets = [mlp(sizes, gain=0.01) for _ in range(seats)]
        layers = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
        columns = list(zip(*layers, strict=True))
        self.weights, self.biases = (
            nn.ParameterList(
                nn.Parameter(torch.stack([getattr(layer, kind).data for layer in column]))
                for column in columns
            )
            for kind in ("weight", "bias")
        )

    def forward(self, x: Tensor) -> Tensor:
        """(rows, seats, outputs) of inputs (rows, seats, inputs)."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.einsum("rsi,soi->rso", torch.tanh(x) if i else x, weight) + bias
        return x


class SetEncoder(nn.Module):
    """Embeds the members of a set, equivariant to their order, for any number of them.

    Args:
        inputs: features of a member.
        width: of the embedding.
        blocks: blocks of attention among the members; 0 embeds each by itself.
        heads: of the attention; divides the width.
    """

    def __init__(self, inputs: int, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.first = mlp([inputs, width, width], gain=2.0**0.5)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(blocks))

    def forward(self, member: Tensor, is_in: Tensor) -> Tensor:
        """(rows, members, width); zero for places that are not in the set.

        Args:
            member: (rows, members, inputs).
            is_in: (rows, members) bool.
        """
        x = torch.tanh(self.first(member))
        # Nobody to look at would be not a number: who is not in the set may look at itself.
        looks = is_in.unsqueeze(1) | torch.eye(is_in.shape[1], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, looks.unsqueeze(1))
        return x * is_in.unsqueeze(-1)


class _Block(nn.Module):
    """Attention and a two-layer network, each added to what comes in, normalised before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, looks: Tensor) -> Tensor:
        parts = self.into(self.norm_1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=looks)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        wide: Tensor = self.narrow(nn.functional.gelu(self.wide(self.norm_2(x))))
        return x + wide
