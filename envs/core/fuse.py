"""Fusing a pure function of tensors into one compiled kernel.

The graph is handed to the compiler's backend directly, with the shapes fixed: the rows of an
environment never change in number. `torch.compile` would guard what cannot change, which at one row
costs several times the physics; and a graph whose number of rows is free takes up to twice the time
at a thousand rows, since loops of unknown length are not turned into vectors well.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

_AUTOGRAD = functools.reduce(
    operator.or_,
    (
        torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name))
        for name in ("AutogradCPU", "AutogradCUDA", "ADInplaceOrView")
    ),
)
"""Layers of torch's dispatcher that every operation passes, also where no gradient is recorded."""


def below_autograd() -> AbstractContextManager[Any]:
    """A context whose operations skip the layers of automatic differentiation.

    They take a fifth of a small step. `torch.inference_mode` skips them too, but its tensors are
    refused by later differentiation; those made here are ordinary. Nothing can be differentiated
    inside.
    """
    return torch._C._ExcludeDispatchKeyGuard(_AUTOGRAD)


class Fused:
    """A pure function compiled for tensors of fixed shapes, called without guards.

    Args:
        function: of nested tuples and dictionaries of tensors, to the same.
        *example: arguments of the shapes and dtypes of all later calls.
    """

    def __init__(self, function: Callable[..., Any], *example: Any) -> None:
        def flat(*inputs: Tensor) -> list[Tensor]:
            self._result = function(*_rebuild(example, iter(inputs)))
            return list(_leaves(self._result))

        leaves: list[Any] = [leaf.contiguous() for leaf in _leaves(example)]
        # Fake tensors: a branch on a value is an error here, not a constant in the graph.
        graph = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves)
        # At few rows the kernels take less time than a wrapper in Python that calls them.
        fused = torch._inductor.compile(graph, leaves, options={"cpp_wrapper": True})
        self._compiled = cast("Callable[..., list[Tensor]]", fused)

    def __call__(self, *arguments: Any) -> Any:
        """The function's result, in its own structure."""
        # The kernels know one layout; first states may be expanded, and theirs are as they like.
        leaves = (leaf.contiguous() for leaf in _leaves(arguments))
        return _rebuild(self._result, iter(self._compiled(*leaves)))


def _leaves(tree: Any) -> Iterator[Tensor]:
    """The tensors of nested tuples and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(part)


def _rebuild(like: Any, leaves: Iterator[Tensor]) -> Any:
    """The leaves in the structure of another tree; torch's own pytree takes ten times as long."""
    if isinstance(like, Tensor):
        return next(leaves)
    if isinstance(like, dict):
        return {k: _rebuild(v, leaves) for k, v in like.items()}
    parts = [_rebuild(v, leaves) for v in like]
    return type(like)._make(parts) if hasattr(like, "_make") else tuple(parts)
