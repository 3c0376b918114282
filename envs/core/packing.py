"""A step whose tensors travel in a few flat buffers, one of each dtype.

Making a tensor, an alias of one, or an array of one costs a fraction of a microsecond. A step has
dozens of them, which at one row is more than the physics of most (``benchmarks/single.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from sixgym.envs.core.fuse import Traced, leaves_of

FAN = 4
"""Tensors that are joined at once. A loop over a buffer asks of each element which it is of; as a
tree that takes few questions, and no alias of the buffer is made for each tensor."""
_OPS = torch.ops.aten


class Place(NamedTuple):
    """Where a tensor is."""

    buffer: int
    start: int
    stop: int
    shape: tuple[int, ...]


class Packing:
    """How tensors lie in flat buffers, one of each dtype in order of first appearance.

    Args:
        like: tensors of the shapes and dtypes; they may be fake.
    """

    def __init__(self, like: Sequence[Tensor]) -> None:
        self.dtypes = tuple(dict.fromkeys(tensor.dtype for tensor in like))
        sizes = [0] * len(self.dtypes)
        places = []
        for tensor in like:
            buffer = self.dtypes.index(tensor.dtype)
            start = sizes[buffer]
            sizes[buffer] += tensor.numel()
            places.append(Place(buffer, start, sizes[buffer], tuple(tensor.shape)))
        self.sizes = tuple(sizes)
        self.places = tuple(places)

    def pack(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Fresh buffers that hold the tensors; what is not given at the end is zero."""
        flat: list[list[Tensor]] = [[] for _ in self.dtypes]
        for place, tensor in zip(self.places, tensors, strict=False):
            flat[place.buffer].append(tensor.reshape(-1))
        buffers = []
        for parts, size, dtype in zip(flat, self.sizes, self.dtypes, strict=True):
            missing = size - sum(part.numel() for part in parts)
            buffers.append(torch.cat([*parts, torch.zeros(missing, dtype=dtype)]))
        return buffers

    def reader(self, first: int) -> Callable[[Sequence[Tensor]], list[NDArray[Any]]]:
        """What gives views of the tensors from the first on, as arrays, of buffers on the CPU."""
        used = sorted({place.buffer for place in self.places[first:]})
        parts = [
            (used.index(place.buffer), slice(place.start, place.stop), place.shape)
            for place in self.places[first:]
        ]

        def read(buffers: Sequence[Tensor]) -> list[NDArray[Any]]:
            flat = [buffers[i].numpy() for i in used]
            return [
                flat[i][part] if len(shape) == 1 else flat[i][part].reshape(shape)
                for i, part, shape in parts
            ]

        return read

    def tensors(
        self, buffers: Sequence[Tensor], first: int = 0, last: int | None = None
    ) -> list[Tensor]:
        """Views of the tensors from the first on to before the last."""
        places = self.places[first:last]
        return [buffers[i][start:stop].view(shape) for i, start, stop, shape in places]


class PackedStep(NamedTuple):
    """A graph from flat buffers to flat buffers.

    It takes the first `num_inputs` buffers of `moving`, those of `still` and the other arguments,
    of these `needed`, and gives all buffers of `moving`.
    """

    graph: fx.GraphModule
    inputs: list[Tensor]
    """An example of what it takes."""
    needed: tuple[int, ...]
    num_inputs: int
    """Buffers of `moving` that hold carried tensors; the rest are results only."""
    moving: Packing
    """The carried tensors that change, then the leaves of the result."""
    still: Packing
    """The carried tensors that are handed on as they are."""
    moves: tuple[int, ...]
    """Which of the carried tensors those of `moving` are."""
    stays: tuple[int, ...]
    """Which of the carried tensors those of `still` are."""


def packed(traced: Traced, num_carried: int) -> PackedStep:
    """The graph of a step with its tensors laid into buffers; it is rebuilt in place.

    Args:
        traced: a function whose first ``num_carried`` flat arguments are tensors that its first
            flat results replace in the next call.
    """
    graph = traced.graph.graph
    arguments = graph.find_nodes(op="placeholder")
    due = list(cast("Sequence[fx.Node]", graph.output_node().args[0]))
    stays = tuple(i for i in range(num_carried) if due[i] is arguments[i])
    moves = tuple(i for i in range(num_carried) if due[i] is not arguments[i])
    result = list(leaves_of(traced.result))[num_carried:]
    before = [traced.inputs[i] for i in moves]
    still = Packing([traced.inputs[i] for i in stays])
    moving = Packing([*before, *result])
    num_inputs = len(Packing(before).dtypes)
    inputs = [*moving.pack(before)[:num_inputs], *still.pack([traced.inputs[i] for i in stays])]

    with graph.inserting_before(arguments[0]):
        buffers = [graph.placeholder(f"buffer_{i}") for i in range(len(inputs))]
    known = arguments[0].meta["val"].fake_mode
    for node, buffer in zip(buffers, inputs, strict=True):
        node.meta["val"] = known.from_tensor(buffer)  # as the other arguments have it
    parts = _read(graph, buffers[:num_inputs], moving.places[: len(moves)])
    parts += _read(graph, buffers[num_inputs:], still.places)
    for i, part in zip((*moves, *stays), parts, strict=True):
        arguments[i].replace_all_uses_with(part)
        due = [part if node is arguments[i] else node for node in due]
    _write(graph, [due[i] for i in (*moves, *range(num_carried, len(due)))], moving)
    graph.eliminate_dead_code()
    for node in arguments[:num_carried]:
        graph.erase_node(node)
    taken = [*buffers, *arguments[num_carried:]]
    needed = tuple(i for i, node in enumerate(taken) if node.users)
    for node in taken:
        if not node.users:
            graph.erase_node(node)
    traced.graph.recompile()
    inputs += traced.inputs[num_carried:]
    example = [inputs[i] for i in needed]
    return PackedStep(traced.graph, example, needed, num_inputs, moving, still, moves, stays)


def _read(graph: fx.Graph, buffers: Sequence[fx.Node], places: Sequence[Place]) -> list[fx.Node]:
    """What lies at places of buffers."""
    first = next(node for node in graph.nodes if node.op != "placeholder")
    with graph.inserting_before(first):
        slices = [
            graph.call_function(_OPS.slice.Tensor, (buffers[p.buffer], 0, p.start, p.stop))
            for p in places
        ]
        return [
            graph.call_function(_OPS.view.default, (part, list(place.shape)))
            for part, place in zip(slices, places, strict=True)
        ]


def _write(graph: fx.Graph, nodes: Sequence[fx.Node], packing: Packing) -> None:
    """Make the graph's results the buffers of a packing."""
    with graph.inserting_before(graph.output_node()):
        flat = [graph.call_function(_OPS.reshape.default, (node, [-1])) for node in nodes]
        buffers = [
            _joined(graph, [f for f, p in zip(flat, packing.places, strict=True) if p.buffer == i])
            for i in range(len(packing.dtypes))
        ]
    graph.output_node().args = (buffers,)


def _joined(graph: fx.Graph, nodes: Sequence[fx.Node]) -> fx.Node:
    """The tensors end to end, as a tree: an element is asked few times where it comes from."""
    while len(nodes) > 1:
        groups = [nodes[i : i + FAN] for i in range(0, len(nodes), FAN)]
        nodes = [graph.call_function(_OPS.cat.default, (list(group),)) for group in groups]
    return nodes[0]
