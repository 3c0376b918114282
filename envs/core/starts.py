"""Episodes that begin by a compiled kernel, for systems whose episodes last a step or a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.aot import OPTIONS, Kernel
from sixgym.envs.core.fuse import Fused, builder, flattener

BLOCK_ROWS = 64
"""A kernel has fixed shapes, and how many rows begin changes from step to step: it takes blocks of
this many."""
LEAST_ROWS = BLOCK_ROWS // 2
"""Fewer begin sooner without it."""


class StartKernel:
    """A pure function of episode keys and steps as a library, for one number of rows.

    Args:
        function: of (rows,) int64 keys and (rows,) int64 steps, to nested tuples and dictionaries
            of tensors.
        key: an example.
        step: an example.

    Raises:
        KernelError: there is no compiler, see `Kernel`.
    """

    def __init__(
        self, function: Callable[[Tensor, Tensor], Any], key: Tensor, step: Tensor
    ) -> None:
        # Tables that are joined again and again would be written out in full: minutes to compile.
        options = {**OPTIONS, "force_pointwise_cat": False}
        self._kernel = Kernel(lambda both: (both, function(*both)), (key, step), options=options)

    def __call__(self, key: Tensor, step: Tensor) -> Any:
        """The function's result, in its own structure; its tensors are views of few buffers."""
        return self._kernel.tensors(self._kernel(self._kernel.hold((key, step))))


class Starts:
    """First draws and what is made of them, compiled, for any number of rows.

    Two kernels: in one, numbers that are asked for in several places are drawn in each of them.

    Args:
        draw: a pure function of (rows,) int64 keys and (rows,) int64 steps, to a dictionary of
            tensors with the rows first.
        begin: a pure function of these, to nested tuples and dictionaries of such tensors.
    """

    def __init__(
        self,
        draw: Callable[[Tensor, Tensor], Draws],
        begin: Callable[[Draws], Any],
    ) -> None:
        self._draw = draw
        self._begin = begin
        self._fused: tuple[Fused, Fused] | None = None

    def __call__(self, key: Tensor, step: Tensor) -> Any:
        """The result of ``begin``, in its own structure.

        Args:
            key: (rows,) int64, at least one row.
            step: (rows,) int64.
        """
        rows = key.shape[0]
        # The last block is filled up with rows that nobody looks at.
        missing = (0, -rows % BLOCK_ROWS)
        keys = torch.nn.functional.pad(key, missing).split(BLOCK_ROWS)
        steps = torch.nn.functional.pad(step, missing).split(BLOCK_ROWS)
        if self._fused is None:
            draw = Fused(self._draw, keys[0], steps[0])
            self._fused = draw, Fused(self._begin, draw(keys[0], steps[0]))
        draw, begin = self._fused
        blocks = [begin(draw(k, s)) for k, s in zip(keys, steps, strict=True)]
        leaves = zip(*map(flattener(blocks[0]), blocks), strict=True)
        return builder(blocks[0])([torch.cat(parts)[:rows] for parts in leaves])
