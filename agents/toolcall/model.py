"""A decoder-only transformer that reads a request and says a call, small enough for one CPU core.

Pre-norm, GELU of four widths, learned positions, output tied to the token embedding [standard].
Prompts are padded on the left, so an answer always begins at the same position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sixgym.agents.toolcall.language import (
    ANSWER_LENGTH,
    END_ID,
    PAD_ID,
    PROMPT_LENGTH,
    VOCABULARY,
    Call,
    decode,
    encode_answer,
    encode_prompt,
)
from sixgym.agents.toolcall.validator import validate


class Sizes(NamedTuple):
    """What makes a network; the defaults have 111,040 parameters [our choice: dossier 4.3]."""

    width: int = 64
    layers: int = 2
    heads: int = 4


DEFAULT_SIZES = Sizes()


class Cache(NamedTuple):
    """What later tokens need of those already read."""

    is_there: Tensor
    """(rows, columns) bool: no padding."""
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Of each layer, keys and values (rows, heads, columns, width / heads)."""


class Draft(NamedTuple):
    """What a network has said to a batch of prompts."""

    token: Tensor
    """(rows, 20) int64; padding behind ``<eos>``."""
    log_prob: Tensor
    """(rows, 20) log-probability of each token; 0 behind ``<eos>``."""
    is_said: Tensor
    """(rows, 20) bool: up to and including ``<eos>``."""

    def take(self, rows: Sequence[int] | Tensor) -> Draft:
        """Some of the rows."""
        return Draft(self.token[rows], self.log_prob[rows], self.is_said[rows])

    def then(self, more: Draft) -> Draft:
        """These rows, and more behind them."""
        return Draft(*(torch.cat(both) for both in zip(self, more, strict=True)))

    def texts(self) -> list[str]:
        """What was said, as text."""
        return [decode(row) for row in self.token.tolist()]

    def calls(self) -> list[Call | None]:
        """What the validator makes of it; None where it is refused."""
        return [validate(text).call for text in self.texts()]


class ToolNet(nn.Module):
    """Next-token logits of answers.

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: Sizes = DEFAULT_SIZES) -> None:
        super().__init__()
        self.sizes = sizes
        self.body = Body(sizes)

    def forward(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """Teacher-forced logits of every answer token.

        Args:
            prompt: (rows, 34) int64, padded on the left.
            answer: (rows, n) int64, n <= 20, padded on the right.

        Returns:
            (rows, n, 117): column k predicts token k from the prompt and the tokens before it.
        """
        hidden = _read_pair(self.body, prompt, answer[:, :-1], answer.shape[1])
        return self._logits(hidden)

    @torch.no_grad()
    def generate(self, prompt: Tensor, noise: torch.Generator | None = None) -> Draft:
        """Say an answer to each prompt, with the keys and values of earlier tokens kept.

        Args:
            prompt: (rows, 34) int64, padded on the left.
            noise: samples at temperature 1 by it; None takes the most probable token.
        """
        rows = prompt.shape[0]
        hidden, cache = self.body(*_cropped(prompt), read=1)
        is_on = torch.ones(rows, dtype=torch.bool)
        tokens, log_probs, said = [], [], []
        for k in range(ANSWER_LENGTH):
            scores = self._logits(hidden[:, -1]).log_softmax(-1)
            if noise is None:
                token = scores.argmax(-1)
            else:
                token = torch.multinomial(scores.exp(), 1, generator=noise)[:, 0]
            log_prob = scores.gather(1, token[:, None])[:, 0]
            tokens.append(torch.where(is_on, token, PAD_ID))
            log_probs.append(torch.where(is_on, log_prob, 0.0))
            said.append(is_on)
            is_on = is_on & (token != END_ID)
            if k + 1 == ANSWER_LENGTH or not bool(is_on.any()):
                break
            hidden, cache = self.body(tokens[-1][:, None], PROMPT_LENGTH + k, cache)
        missing = ANSWER_LENGTH - len(tokens)
        pad = (0, missing)
        return Draft(
            nn.functional.pad(torch.stack(tokens, 1), pad, value=PAD_ID),
            nn.functional.pad(torch.stack(log_probs, 1), pad),
            nn.functional.pad(torch.stack(said, 1), pad),
        )

    def _logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.body.token.weight.T


class RewardNet(nn.Module):
    """The same body with one number at ``<eos>``: how good an answer is, r(x, y).

    Args:
        sizes: of the network.
    """

    def __init__(self, sizes: Sizes = DEFAULT_SIZES) -> None:
        super().__init__()
        self.sizes = sizes
        self.body = Body(sizes)
        self.head = nn.Linear(sizes.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """Rewards (rows,) of answers (rows, n) to prompts (rows, 34), read where they end."""
        hidden = _read_pair(self.body, prompt, answer, answer.shape[1])
        ends = answer == END_ID
        last = torch.where(ends.any(1), ends.int().argmax(1), answer.shape[1] - 1)
        at_end = hidden[torch.arange(answer.shape[0]), last]
        reward: Tensor = self.head(at_end)[:, 0]
        return reward


class Body(nn.Module):
    """Embeddings, layers and the last normalisation."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        if sizes.width % sizes.heads:
            raise ValueError(f"heads={sizes.heads}: allowed: divisors of width={sizes.width}")
        self.token = nn.Embedding(len(VOCABULARY), sizes.width)
        self.place = nn.Embedding(PROMPT_LENGTH + ANSWER_LENGTH, sizes.width)
        self.layers = nn.ModuleList(_Layer(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        # The tied output's logits then begin with a deviation of 1. At GPT-2's .02 attention starts
        # so flat that the supervised steps end at .78 of the easy requests instead of .99.
        for table in (self.token, self.place):
            nn.init.normal_(table.weight, std=sizes.width**-0.5)

    def forward(
        self, token: Tensor, first: int, cache: Cache | None = None, read: int | None = None
    ) -> tuple[Tensor, Cache]:
        """Hidden states of the last columns, and what to keep to go on.

        Args:
            token: (rows, columns) int64, behind what is in the cache.
            first: position of the first column, 0 to 53.
            cache: from before; None at the beginning.
            read: how many columns from the end are wanted; None for all.

        Returns:
            (rows, read, width), and the cache with these columns in it.
        """
        columns = token.shape[1]
        x = self.token(token) + self.place(torch.arange(first, first + columns))
        looks, is_there = _looks(token != PAD_ID, cache)
        kept = []
        for k, layer in enumerate(self.layers):
            is_last = k + 1 == len(self.layers)
            past = None if cache is None else cache.layers[k]
            x, now = layer(x, looks, (read or columns) if is_last else columns, past)
            kept.append(now)
        return self.norm(x), Cache(is_there, tuple(kept))


class _Layer(nn.Module):
    """Attention and a two-layer network, each added to what comes in, normalised before."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, self.heads = sizes.width, sizes.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, looks: Tensor, read: int, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        three = self.look(self.norm_1(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = three.permute(2, 0, 3, 1, 4).unbind(0)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        mixed = nn.functional.scaled_dot_product_attention(
            query[:, :, -read:], key, value, attn_mask=looks[:, None, -read:]
        )
        x = x[:, -read:] + self.out(mixed.transpose(1, 2).flatten(2))
        x = x + self.narrow(nn.functional.gelu(self.wide(self.norm_2(x))))
        return x, (key, value)


def _looks(is_there: Tensor, cache: Cache | None) -> tuple[Tensor, Tensor]:
    """(rows, columns, all columns) who looks at whom, and (rows, all columns) who is there."""
    before = is_there[:, :0] if cache is None else cache.is_there
    everyone = torch.cat([before, is_there], 1)
    columns, total = is_there.shape[1], everyone.shape[1]
    earlier = torch.ones(columns, total, dtype=torch.bool).tril(total - columns)
    # Nobody to look at would be not a number: padding may look at itself.
    itself = earlier & ~earlier.tril(total - columns - 1)
    return (earlier & everyone[:, None]) | itself, everyone


def _cropped(token: Tensor) -> tuple[Tensor, int]:
    """Without the columns in which every row is padding on the left, and how many they were."""
    is_there = (token != PAD_ID).any(0)
    first = int(is_there.int().argmax())
    return token[:, first:], first


def _read_pair(body: Body, prompt: Tensor, answer: Tensor, read: int) -> Tensor:
    hidden: Tensor = body(*_cropped(torch.cat([prompt, answer], 1)), read=read)[0]
    return hidden


def prompt_tensor(prompts: Sequence[Sequence[str]]) -> Tensor:
    """(rows, 34) int64 of tokens, padded on the left."""
    return torch.tensor([encode_prompt(p) for p in prompts]).reshape(-1, PROMPT_LENGTH)


def answer_tensor(calls: Sequence[Call]) -> Tensor:
    """(rows, 20) int64 of calls, padded on the right."""
    return torch.tensor([encode_answer(c) for c in calls]).reshape(-1, ANSWER_LENGTH)


def said(answer: Tensor) -> Tensor:
    """(rows, n) bool of the tokens up to and including ``<eos>`` of answers (rows, n)."""
    ended = (answer == END_ID).int().cumsum(1) - (answer == END_ID).int()
    return ended == 0


def count_parameters(net: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(weight.numel() for weight in net.parameters())
