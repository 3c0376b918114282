"""Fusing a pure function of tensors into one compiled kernel.

The graph is handed to the compiler's backend directly, with the shapes fixed: the rows of an
environment never change in number. `torch.compile` would guard what cannot change, which at one row
costs several times the physics; and a graph whose number of rows is free takes up to twice the time
at a thousand rows, since loops of unknown length are not turned into vectors well.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, cast

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


class Traced(NamedTuple):
    """A pure function of tensors of fixed shapes as a graph of torch's operations."""

    graph: torch.fx.GraphModule
    """From the flat inputs to the flat results."""
    inputs: list[Tensor]
    """Copies of the example's tensors, contiguous, in order."""
    result: Any
    """The structure of the function's result; its tensors hold nothing."""


def trace(function: Callable[..., Any], *example: Any) -> Traced:
    """The graph of a pure function.

    Args:
        function: of nested tuples and dictionaries of tensors, to the same.
        *example: arguments of the shapes and dtypes of all later calls.
    """
    result: Any = None

    def flat(*inputs: Tensor) -> list[Tensor]:
        nonlocal result
        result = function(*builder(example)(inputs))
        return list(leaves_of(result))

    # Copies: two that are one tensor now (zeros of a first state) would be one input for ever.
    layout = torch.contiguous_format
    inputs = [leaf.clone(memory_format=layout) for leaf in leaves_of(example)]
    # Fake tensors: a branch on a value is an error here, not a constant in the graph.
    graph = make_fx(flat, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    return Traced(graph, inputs, result)


class Fused:
    """A pure function compiled for tensors of fixed shapes, called without guards.

    Args:
        function: of nested tuples and dictionaries of tensors, to the same.
        *example: arguments of the shapes and dtypes of all later calls.
    """

    def __init__(self, function: Callable[..., Any], *example: Any) -> None:
        traced = trace(function, *example)
        self._flat = flattener(example)
        self._build = builder(traced.result)
        # At few rows the kernels take less time than a wrapper in Python that calls them.
        options = {"cpp_wrapper": True, **loop_options()}
        fused = torch._inductor.compile(traced.graph, cast("list[Any]", traced.inputs), options)
        self._compiled = cast("Callable[..., list[Tensor]]", fused)

    def __call__(self, *arguments: Any) -> Any:
        """The function's result, in its own structure."""
        # The kernels know one layout; first states may be expanded, and theirs are as they like.
        leaves = (leaf.contiguous() for leaf in self._flat(arguments))
        return self._build(self._compiled(*leaves))


def loop_options() -> dict[str, Any]:
    """What the compiler is told about loops over rows; twice as fast where tensors are narrow.

    Its own heuristic gives up vectors for a whole loop, logarithms and hashes included, where rows
    lie apart in memory, as they do in any tensor of a few columns. And it forbids g++ to turn the
    loops into vectors that it has left alone; of two such flags the later one counts.
    """
    options: dict[str, Any] = {"cpp.enable_tiling_heuristics": False}
    if sys.platform == "linux" and platform.machine() == "x86_64":
        from torch._inductor import config, cpp_builder, exc

        with contextlib.suppress(exc.InvalidCxxCompiler):
            if hasattr(config.cpp, "march") and cpp_builder.is_gcc():  # torch 2.8 has no such
                options["cpp.march"] = "native -ftree-loop-vectorize"
    return options


def leaves_of(tree: Any) -> Iterator[Tensor]:
    """The tensors of nested tuples and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    else:
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves_of(part)


def flattener(like: Any) -> Callable[[Any], Sequence[Tensor]]:
    """`leaves_of` for trees of one structure, in a third of the time."""
    if isinstance(like, Tensor):
        return lambda tree: (tree,)
    if isinstance(like, dict):
        inner = flattener(tuple(like.values()))
        return lambda tree: inner(tuple(tree.values()))
    if all(isinstance(part, Tensor) for part in like):
        return lambda tree: cast("Sequence[Tensor]", tree)
    parts = [flattener(part) for part in like]
    return lambda tree: [
        leaf for flat, part in zip(parts, tree, strict=True) for leaf in flat(part)
    ]


def builder(like: Any, places: Iterable[int] | None = None) -> Callable[[Sequence[Any]], Any]:
    """What puts flat tensors (or arrays) into the structure of a tree, in a tenth of torch's time.

    Args:
        like: the tree.
        places: where in the flat sequence each of its tensors is; None: in order.
    """
    return _builder(like, itertools.count() if places is None else iter(places))


def _builder(like: Any, places: Iterator[int]) -> Callable[[Sequence[Any]], Any]:
    if isinstance(like, Tensor):
        return operator.itemgetter(next(places))
    if isinstance(like, dict):
        named = [(key, _builder(value, places)) for key, value in like.items()]
        return lambda flat: {key: build(flat) for key, build in named}
    make = getattr(type(like), "_make", tuple)
    if len(like) > 1 and all(isinstance(part, Tensor) for part in like):
        pick = operator.itemgetter(*(next(places) for _ in like))
        return lambda flat: make(pick(flat))
    parts = [_builder(part, places) for part in like]
    return lambda flat: make([build(flat) for build in parts])
