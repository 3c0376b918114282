"""Episodes that begin by a compiled kernel are those that begin without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core import starts
from sixgym.envs.core.aot import KernelError, KernelWarning
from sixgym.envs.core.fuse import leaves_of
from sixgym.envs.core.make import make_env, make_system
from sixgym.envs.core.registry import entries, entry
from sixgym.envs.core.rows import Rows
from sixgym.envs.core.starts import BLOCK_ROWS, LEAST_ROWS, Starts

SHORT = [e.id for e in entries() if e.id.startswith("sixgym/") and e.load_system().starts_often]


class Begun(NamedTuple):
    """What a function of keys and steps may give."""

    key: Tensor
    both: Tensor
    parts: dict[str, Tensor]


def draw(key: Tensor, step: Tensor) -> dict[str, Tensor]:
    return {"sum": key + step, "key": key}


def begin(noise: Draws) -> Begun:
    key, total = noise["key"], noise["sum"]
    both = torch.stack([total, 2 * key - total], -1)
    return Begun(key, both, {"half": 0.5 * key, "zero": torch.zeros_like(key)})


@pytest.fixture
def _without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function itself instead of the kernel, which insists on its shapes likewise."""

    def fixed(function: Callable[..., Any], *example: Any) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            pairs = zip(leaves_of(given), leaves_of(example), strict=True)
            assert all(g.shape == e.shape for g, e in pairs)
            return function(*given)

        return call

    monkeypatch.setattr(starts, "Fused", fixed)


@pytest.mark.usefixtures("_without_compiler")
@pytest.mark.parametrize("rows", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_blocks_are_filled_up_and_put_together(rows: int) -> None:
    made = Starts(draw, begin)
    for first in (0, 5):  # the kernel is made once
        key, step = torch.arange(first, first + rows), torch.arange(rows) % 3
        found, due = made(key, step), begin(draw(key, step))
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


@pytest.mark.slow
@pytest.mark.parametrize("id", SHORT)
def test_starts_ahead_of_time_are_the_eager_ones(id: str) -> None:
    """And a step goes on from what the library of the start has made."""
    system = entry(id).system
    fast, plain = make_env(system, compile="aot"), make_env(system)
    action = plain.action_space.sample()
    for seed in (3, None, None):
        told = []
        for env in (fast, plain):
            first, _ = env.reset(seed=seed)
            told.append((first, env.rows.state_dict(), env.step(action)[:4]))
        (first, state, step), (first_due, state_due, step_due) = told
        assert np.allclose(first, first_due, rtol=1e-5, atol=1e-5)
        for name, due in state_due.items():
            assert torch.allclose(state[name].double(), due.double(), rtol=1e-5, atol=1e-5), name
        for found, wanted in zip(step, step_due, strict=True):
            assert np.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_without_a_compiler_an_episode_begins_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise KernelError("no C++ compiler is at hand")

    monkeypatch.setattr("sixgym.envs.core.starts.Kernel", refuse)
    env = make_env(entry("sixgym/TwinRound-v0").system, compile="aot")
    with pytest.warns(KernelWarning, match="no C\\+\\+ compiler is at hand; the step runs eagerly"):
        first, _ = env.reset(seed=1)
    due, _ = make_env(entry("sixgym/TwinRound-v0").system).reset(seed=1)
    assert np.array_equal(first, due)
