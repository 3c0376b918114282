"""Counter-based random numbers: a draw is a hash of (row seed, episode, step, stream, element).

There is no generator object and no hidden state, so a row draws the same numbers in any batch, on
any device and after any order of resets. Every element of every stream of an episode is a
SplitMix64 generator of its own [standard: Steele, Lea, Flood, OOPSLA 2014]: it starts at the hash
of (row seed, episode) xor the hash of (stream, element), and the step says how far it has run. All
integers are int64; products wrap.

A word of 64 bits gives two uniforms of 23 bits, which are exact in float32 and never 0 or 1, and
from them one complex normal by Box and Muller's transform.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Kind = Literal["cn", "normal", "uniform", "exponential", "key"]
"""``cn``: complex normal with E|z|^2 = 1; ``normal``: N(0, 1); ``uniform``: open (0, 1);
``exponential``: mean 1; ``key``: no draw, but the episode's key, for a system whose world does not
go by steps: it keeps the key in its state and draws by a clock of its own."""

Draws = Mapping[str, Tensor]
"""What a `DrawTable` draws, by stream. A ``cn`` stream of shape s is (rows, 2, *s) with the real
part first, every other one (rows, *s); a ``key`` is (rows,) int64."""


def _signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit integer."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: the increment of SplitMix64."""
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)
_BITS_23 = 2**23 - 1


def mix64(word: Tensor) -> Tensor:
    """SplitMix64's finaliser, a bijection of 64-bit words.

    Args:
        word: int64, any shape; not changed.

    Returns:
        int64 of the same shape.
    """
    # In place on fresh tensors only: half the memory traffic of the plain expression.
    z = (word >> 30).bitwise_and_(2**34 - 1).bitwise_xor_(word).mul_(_MIX_1)
    z = (z >> 27).bitwise_and_(2**37 - 1).bitwise_xor_(z).mul_(_MIX_2)
    return (z >> 31).bitwise_and_(2**33 - 1).bitwise_xor_(z)


def episode_key(row_seed: Tensor, episode: Tensor) -> Tensor:
    """The key of an episode: changes at a reset only.

    Args:
        row_seed: (rows,) int64.
        episode: (rows,) int64, 0 after a seeded reset and one more at each unseeded one.

    Returns:
        (rows,) int64.
    """
    return mix64(mix64(row_seed * GOLDEN) + (episode + 1) * GOLDEN)


class _Stream(NamedTuple):
    kind: Kind
    shape: tuple[int, ...]
    first: int  # of its words in the group (complex or real)
    words: int


class DrawTable:
    """The random streams that one function of a system wants, drawn together.

    A stream is known by its name: the same name in two tables is the same stream, and a further
    stream changes no other. Put the axis that may grow (users, agents) first in a shape, so that a
    larger system draws the same numbers for the entities it shares with a smaller one.

    Args:
        streams: name -> (kind, shape of one row).
        device: where the numbers are drawn.
        dtype: float32 or float64 of the numbers; the underlying bits are the same.

    Raises:
        ValueError: an unknown kind or a negative dimension.
    """

    def __init__(
        self,
        streams: Mapping[str, tuple[Kind, tuple[int, ...]]],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        self._streams: dict[str, _Stream] = {}
        tables: dict[bool, list[Tensor]] = {True: [], False: []}
        counts = {True: 0, False: 0}
        for name, (kind, shape) in streams.items():
            if kind not in get_args(Kind):
                raise ValueError(f"stream {name!r}: kind={kind!r} is not a kind of draw")
            if any(n < 0 for n in shape):
                raise ValueError(f"stream {name!r}: shape={shape!r} has a negative dimension")
            size = 0 if kind == "key" else math.prod(shape)
            pair = kind in ("cn", "normal")
            words = (size + 1) // 2 if kind == "normal" else size
            self._streams[name] = _Stream(kind, shape, counts[pair], words)
            tables[pair].append(stream_table(name, words, device))
            counts[pair] += words
        self._pairs = counts[True]
        parts = tables[True] + tables[False]
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        self.table = torch.cat(parts) if parts else empty

    @property
    def words(self) -> int:
        """How many 64-bit words one row draws."""
        return int(self.table.shape[0])

    def draw(self, key: Tensor, step: Tensor) -> Draws:
        """Draw all streams for a batch of rows.

        Args:
            key: (rows,) int64 from `episode_key`.
            step: (rows,) int64, the index of the draw in the episode; 0 is the initial state.

        Returns:
            name -> tensor, see `Draws`.
        """
        if not self._streams:
            return {}
        words = self.bits(key, step)
        uniform = _uniform(words, self.dtype)
        normal = words  # not looked at where nothing is complex
        if self._pairs:
            normal = _complex_normal(words[:, : self._pairs], uniform[:, : self._pairs])
        return {
            name: key if stream.kind == "key" else self._take(stream, normal, uniform)
            for name, stream in self._streams.items()
        }

    def draw_element(self, name: str, key: Tensor, step: Tensor, element: Tensor) -> Tensor:
        """One element of a uniform stream, another for each row, without drawing the others.

        Args:
            name: of the stream.
            key: (rows,) int64 from `episode_key`.
            step: (rows,) int64.
            element: (rows,) int64, flat index within the stream's shape.

        Returns:
            (rows,) the number that `draw` gives in that place.

        Raises:
            ValueError: the stream is not uniform.
        """
        stream = self._streams[name]
        if stream.kind != "uniform":
            raise ValueError(f"stream {name!r}: kind={stream.kind!r}: allowed: 'uniform'")
        word = self.table[self._pairs + stream.first + element]
        return _uniform(mix64((key ^ word).add_(step * GOLDEN)), self.dtype)

    def draw_elements(self, key: Tensor, step: Tensor, element: Tensor) -> Draws:
        """One element of every stream, another for each row, without drawing the others.

        Args:
            key: (rows,) int64 from `episode_key`.
            step: (rows,) int64.
            element: (rows,) int64, flat index within the streams' shapes.

        Returns:
            name -> (rows,), the numbers that `draw` gives in that place.

        Raises:
            ValueError: the streams are not all uniform and of one size.
        """
        kinds = {(stream.kind, stream.words) for stream in self._streams.values()}
        if len(kinds) != 1 or next(iter(kinds))[0] != "uniform":
            raise ValueError(f"streams: {sorted(kinds)}: allowed: all uniform and of one size")
        words = self.table.reshape(len(self._streams), -1)[:, element]
        values = _uniform(mix64((key ^ words).add_(step * GOLDEN)), self.dtype)
        return dict(zip(self._streams, values.unbind(0), strict=True))

    def _take(self, stream: _Stream, normal: Tensor, uniform: Tensor) -> Tensor:
        rows, last = uniform.shape[0], stream.first + stream.words
        if stream.kind == "cn":
            return normal[:, :, stream.first : last].reshape(rows, 2, *stream.shape)
        if stream.kind == "normal":
            # Both parts have variance 1/2; interleaved, so that element j does not depend on how
            # many there are.
            both = normal[:, :, stream.first : last].transpose(1, 2).reshape(rows, -1)
            both = both[:, : math.prod(stream.shape)] * math.sqrt(2.0)
            return both.reshape(rows, *stream.shape)
        values = uniform[:, self._pairs + stream.first : self._pairs + last]
        values = values.reshape(rows, *stream.shape)
        return values if stream.kind == "uniform" else -values.log()

    def bits(self, key: Tensor, step: Tensor) -> Tensor:
        """The words behind a draw, (rows, words) int64: exact on every device."""
        return mix64((key[:, None] ^ self.table).add_((step * GOLDEN)[:, None]))


def stream_table(name: str, words: int, device: torch.device | str = "cpu") -> Tensor:
    """The constant words of a stream, (words,) int64: a hash of its name and each element."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    base = _signed(int.from_bytes(digest, "big"))
    element = torch.arange(words, dtype=torch.int64, device=device)
    return mix64(element * GOLDEN + base)


def _uniform(words: Tensor, dtype: torch.dtype) -> Tensor:
    """Uniforms in the open interval (0, 1) from the upper 23 bits."""
    return (words >> 41).bitwise_and_(_BITS_23).to(dtype).add_(0.5).mul_(2.0**-23)


def _complex_normal(words: Tensor, uniform: Tensor) -> Tensor:
    """(rows, 2, words): sqrt(-ln u) (cos 2 pi v, sin 2 pi v), so that E|z|^2 = 1.

    v comes from bits 9 to 31, which have no part in u.
    """
    radius = uniform.log().neg_().sqrt_()
    angle = (words >> 9).bitwise_and_(_BITS_23).to(uniform.dtype).mul_(2.0 * math.pi * 2.0**-23)
    return torch.stack((angle.cos(), angle.sin()), dim=1).mul_(radius[:, None])
