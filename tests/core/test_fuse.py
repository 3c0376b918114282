"""A compiled step is one graph and knows one layout of its inputs, whatever they come in."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium.vector.utils import batch_space
from torch import Tensor

import sixgym  # noqa: F401 - registers the systems
from sixgym.envs.core.fuse import Fused, builder, flattener, leaves_of, trace
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entries, entry
from sixgym.envs.core.rows import Outcome, Rows
from sixgym.envs.core.spaces import ActionReader
from sixgym.envs.core.system import Action, System

OURS = [e for e in entries() if e.id.startswith("sixgym/")]  # other tests register toys
IDS = [e.id for e in OURS if not e.load_system().contains_solver]


def mixed(inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    a, b = inputs
    return a + 2.0 * b, a * b.sum(1, keepdim=True)


@pytest.mark.slow
def test_inputs_of_any_layout_give_the_same_result() -> None:
    plain = torch.arange(12.0).reshape(3, 4), torch.arange(12.0, 24.0).reshape(3, 4)
    expanded = torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 4)
    fused = Fused(mixed, (expanded, plain[1]))
    turned = plain[0].T.contiguous().T
    for inputs in (plain, (turned, plain[1]), (expanded, plain[1]), (plain[0], turned)):
        for found, due in zip(fused(inputs), mixed(inputs), strict=True):
            assert torch.equal(found, due)


def test_trees_are_taken_apart_and_put_together() -> None:
    a, b, c, d, e, f = (torch.full((1,), float(i)) for i in range(6))
    outcome = Outcome({"x": a}, b, c, d, e, {})
    tree: Any = ((a, b), {"y": c, "z": (d,)}, (), outcome, f)
    flat = list(leaves_of(tree))
    assert [id(t) for t in flattener(tree)(tree)] == [id(t) for t in flat]
    again = builder(tree)(flat)
    assert isinstance(again[3], Outcome)
    assert again[0] == (a, b)
    assert again[1].keys() == tree[1].keys()
    assert [id(t) for t in leaves_of(again)] == [id(t) for t in flat]
    backwards = builder((a, (b, c)), [2, 1, 0])([a, b, c])
    assert [id(t) for t in leaves_of(backwards)] == [id(c), id(b), id(a)]


def test_inputs_that_are_one_tensor_in_the_example_stay_two() -> None:
    """First states hand out one tensor of zeros under several names."""
    zeros = torch.zeros(3)
    traced = trace(lambda a, b, c: (a - 2.0 * b, b * c), zeros, zeros, zeros.view(3))
    a, b, c = torch.arange(3.0), torch.ones(3), torch.full((3,), 5.0)
    for found, due in zip(traced.graph(a, b, c), (a - 2.0 * b, b * c), strict=True):
        assert torch.equal(found, due)


@pytest.mark.slow
@pytest.mark.parametrize("id", IDS)
def test_the_graph_of_a_first_state_is_that_of_a_later_one(id: str) -> None:
    system = make_system(entry(id).system)
    batch: Rows[Any, Any] = Rows(system, 2)
    batch.start(seeds=torch.arange(2))
    action = action_of(system, 2)
    first = batch.traced(action).graph.code
    batch.advance(action)
    assert batch.traced(action).graph.code == first


def action_of(system: System[Any, Any], rows: int) -> Action:
    space = batch_space(system.action_space, rows)
    space.seed(0)
    reader = ActionReader(system.action_space, dtype=system.dtype, device=system.device)
    return reader.read(space.sample(), rows)


def graph_of(id: str, rows: int) -> list[str]:
    """The operations of the traced step of so many rows, in order.

    Its trace is strict: a branch on a value would raise, so there is never a second graph.
    """
    system = make_system(entry(id).system)
    batch: Rows[Any, Any] = Rows(system, rows)
    batch.start(seeds=torch.arange(rows))
    traced = batch.traced(action_of(system, rows))
    return [str(n.target) for n in traced.graph.graph.nodes if n.op == "call_function"]


@pytest.mark.slow
@pytest.mark.parametrize("id", IDS)
def test_every_batch_has_the_same_single_graph(id: str) -> None:
    two, seven = graph_of(id, 2), graph_of(id, 7)
    assert len(two) > 20
    assert two == seven
    assert len(graph_of(id, 1)) > 20
