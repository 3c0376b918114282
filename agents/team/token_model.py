"""A decoder-only transformer on tokens of the action grammar, small enough for one CPU core.

Two things differ from a text-book decoder. A token's position is its place within its clause, and
every token also carries the name that was spoken last (the identity of LLM4MAC's prompts [related]
as an embedding): nothing the model sees depends on how many users are spoken of, so no position is
untrained in a larger cell [our choice]. And the last layer is computed only where something is to
be said, which is at few tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sixgym.agents.team.nets import linear

EMBEDDING_STD, QUERY_GAIN, HEAD_GAIN = 0.1, 0.7, 0.5
"""Of the first weights [our choice, by how soon small models learn whom a message is for]: what
attention finds outweighs the token itself; a token looks at its like seven times as much as at
another (width 32, two heads); the head is large enough to teach the layers below it."""


class Text(NamedTuple):
    """Tokens of many lines, padded anywhere."""

    token: Tensor
    """(lines, columns) int64."""
    place: Tensor
    """(lines, columns) int64: where in its clause."""
    name: Tensor
    """(lines, columns) int64: the row that was named last, the number of rows for none."""
    is_there: Tensor
    """(lines, columns) bool: no padding."""

    def last(self) -> Text:
        """Its last column."""
        return Text(*(part[:, -1:] for part in self))

    def then(self, more: Text) -> Text:
        """Each line, and more behind it."""
        return Text(*(torch.cat(both, 1) for both in zip(self, more, strict=True)))


class Cache(NamedTuple):
    """What later tokens need of those already read."""

    is_there: Tensor
    """(lines, columns) bool."""
    keys: tuple[tuple[Tensor, Tensor], ...]
    """Of each layer, keys and values (lines, heads, columns, width / heads)."""


class TokenModel(nn.Module):
    """Next-token logits.

    Args:
        tokens: in the vocabulary.
        places: positions within a clause.
        names: rows that can be named.
        width: of the embedding.
        layers: of attention and a two-layer network each.
        heads: of the attention; divides the width.
    """

    def __init__(
        self, tokens: int, places: int, names: int, *, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, width)
        self.place = nn.Embedding(places, width)
        self.name = nn.Embedding(names + 1, width)
        for table in (self.token, self.place, self.name):
            nn.init.normal_(table.weight, std=EMBEDDING_STD)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = linear(width, tokens, HEAD_GAIN)

    def forward(self, text: Text, read: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Logits of what follows some columns, and what to keep to go on.

        Args:
            text: (lines, columns), behind what is in the cache.
            read: (k,) int64, the columns of this text to be followed.
            cache: from before; None at the beginning.

        Returns:
            (lines, k, tokens), and the cache with this text in it.
        """
        x = self.token(text.token) + self.place(text.place) + self.name(text.name)
        looks, is_there = _looks(text.is_there, cache)
        kept = []
        for k, layer in enumerate(self.layers):
            last = k == len(self.layers) - 1
            past = None if cache is None else cache.keys[k]
            x, now = layer(x, looks, read if last else None, past)
            kept.append(now)
        logits: Tensor = self.head(self.norm(x))
        return logits, Cache(is_there, tuple(kept))


def _looks(is_there: Tensor, cache: Cache | None) -> tuple[Tensor, Tensor]:
    """(lines, columns, all columns) who looks at whom, and (lines, all columns) who is there."""
    before = is_there[:, :0] if cache is None else cache.is_there
    everyone = torch.cat([before, is_there], 1)
    columns, total = is_there.shape[1], everyone.shape[1]
    earlier = torch.ones(columns, total, dtype=torch.bool, device=is_there.device)
    earlier = earlier.tril(total - columns)
    # Nobody to look at would be not a number: padding may look at itself.
    itself = earlier & ~earlier.tril(total - columns - 1)
    return (earlier & everyone.unsqueeze(1)) | itself, everyone


class _Layer(nn.Module):
    """Attention and a two-layer network, each added to what comes in, normalised before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self._begin(width)

    def _begin(self, width: int) -> None:
        """Weights with which equal tokens find each other and what is found is passed on in full.

        Keys begin as queries (Trockman and Kolter 2023, arXiv 2305.09828) [related]; values and
        outputs keep lengths, or an untrained layer hardly tells which word a user has just heard.
        """
        for part in (self.query, self.out):
            nn.init.orthogonal_(part.weight, QUERY_GAIN if part is self.query else 1.0)
            nn.init.zeros_(part.bias)
        nn.init.orthogonal_(self.key_value.weight[width:])
        nn.init.zeros_(self.key_value.bias)
        with torch.no_grad():
            self.key_value.weight[:width] = self.query.weight

    def forward(
        self, x: Tensor, looks: Tensor, read: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        inner = self.norm_1(x)
        both = self.key_value(inner).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        key, value = both.unbind(0)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        if read is not None:
            x, inner, looks = x[:, read], inner[:, read], looks[:, read]
        query = self.query(inner).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=looks.unsqueeze(1)
        )
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        x = x + self.narrow(nn.functional.gelu(self.wide(self.norm_2(x))))
        return x, (key, value)
