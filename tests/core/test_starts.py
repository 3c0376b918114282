"""Episodes that begin by a compiled kernel are those that begin without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from sixgym.envs.core import starts
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entries, entry
from sixgym.envs.core.rows import Rows
from sixgym.envs.core.starts import BLOCK_ROWS, LEAST_ROWS, Starts

SHORT = [e.id for e in entries() if e.id.startswith("sixgym/") and e.load_system().starts_often]


class Begun(NamedTuple):
    """What a function of keys and steps may give."""

    key: Tensor
    both: Tensor
    parts: dict[str, Tensor]


def begin(key: Tensor, step: Tensor) -> Begun:
    both = torch.stack([key + step, key - step], -1)
    return Begun(key, both, {"half": 0.5 * key, "zero": torch.zeros_like(key)})


@pytest.fixture
def _without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function itself instead of the kernel, which insists on its shapes likewise."""

    def fixed(function: Callable[..., Any], *example: Tensor) -> Callable[..., Any]:
        def call(*given: Tensor) -> Any:
            assert [g.shape for g in given] == [e.shape for e in example]
            return function(*given)

        return call

    monkeypatch.setattr(starts, "Fused", fixed)


@pytest.mark.usefixtures("_without_compiler")
@pytest.mark.parametrize("rows", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_blocks_are_filled_up_and_put_together(rows: int) -> None:
    made = Starts(begin)
    for first in (0, 5):  # the kernel is made once
        key, step = torch.arange(first, first + rows), torch.arange(rows) % 3
        found, due = made(key, step), begin(key, step)
        assert isinstance(found, Begun)
        assert torch.equal(found.key, due.key)
        assert torch.equal(found.both, due.both)
        assert found.parts.keys() == due.parts.keys()
        assert all(torch.equal(found.parts[k], due.parts[k]) for k in due.parts)


def test_episodes_of_a_step_or_a_few_are_among_ours() -> None:
    assert set(SHORT) == {"sixgym/AgentAggregation-v0", "sixgym/TwinRound-v0"}


def begun(id: str, compile: bool) -> list[dict[str, Tensor]]:
    """The rows after starts of all, of many and of few, and of many with an option."""
    rows = BLOCK_ROWS + 9
    batch: Rows[Any, Any] = Rows(make_system(entry(id).system), rows, compile=compile)
    many, few = torch.arange(0, rows, 2), torch.tensor([3, 70])
    assert len(many) > LEAST_ROWS > len(few)
    is_aggregation = id == "sixgym/AgentAggregation-v0"
    instance = {"payload": [1e7] * 10} if is_aggregation else {"f_min": [0.8] * 4}
    batch.start(seeds=torch.arange(rows))
    told = []
    for index, options in ((None, None), (many, None), (few, None), (many, {"instance": instance})):
        seen = batch.start(index, options=options)
        assert isinstance(seen, Tensor)
        told.append({**batch.state_dict(), "seen": seen})
    return told


@pytest.mark.slow
@pytest.mark.parametrize("id", SHORT)
def test_compiled_starts_are_the_eager_ones(id: str) -> None:
    for plain, fast in zip(begun(id, compile=False), begun(id, compile=True), strict=True):
        assert plain.keys() == fast.keys()
        for name, due in plain.items():
            assert fast[name].dtype == due.dtype
            assert torch.allclose(fast[name].double(), due.double(), rtol=1e-5, atol=1e-5), name
