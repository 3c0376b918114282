"""A step waits for nobody: no value leaves the device in it, and a GPU plays what the CPU plays."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import sixgym  # noqa: F401 - registers the systems
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entries
from sixgym.envs.core.rows import Outcome, Rows
from sixgym.envs.core.spaces import ActionReader
from sixgym.envs.core.system import Action

OURS = [e for e in entries() if e.id.startswith("sixgym/")]  # other tests register toys
IDS = [e.id for e in OURS if not e.load_system().contains_solver]
ROWS = 64
STEPS = 12
WAITS = {
    "_local_scalar_dense",  # .item(), int(t), if t
    "nonzero",
    "masked_select",
    "equal",
    "unique",
    "_unique2",
    "repeat_interleave.Tensor",
    "is_nonzero",
}
"""Operations whose result's shape or value the host must know before it goes on."""
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


class Waits(TorchDispatchMode):
    """Counts the operations for which the host would wait for an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        if name in WAITS or func.__name__ in WAITS:
            self.found[name] += 1
        is_index = name in ("index", "index_put", "index_put_")
        if is_index and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1]):
            self.found["index by a mask"] += 1
        return func(*args, **(kwargs or {}))


def started(id: str, device: str, dtype: str = "float64") -> Rows[Any, Any]:
    found = {e.id: e for e in entries()}[id]
    system = make_system(found.system, device=device, dtype=dtype)
    rows = Rows(system, ROWS, max_episode_steps=found.max_episode_steps)
    rows.start(seeds=torch.arange(ROWS, device=device))
    return rows


def action_of(rows: Rows[Any, Any], step: int) -> Action:
    """The same random actions on every device."""
    from gymnasium.vector.utils import batch_space

    system = rows.system
    space = batch_space(system.action_space, ROWS)
    space.seed(step)
    reader = ActionReader(system.action_space, dtype=system.dtype, device=torch.device("cpu"))
    read = reader.read(space.sample(), ROWS)
    if isinstance(read, dict):
        return {k: v.to(system.device) for k, v in read.items()}
    return read.to(system.device)


@pytest.mark.parametrize("id", IDS)
def test_the_host_waits_for_nothing_in_a_step(id: str) -> None:
    rows = started(id, "cpu", "float32")
    actions = [action_of(rows, step) for step in range(3)]
    with Waits() as waits:
        for action in actions:
            rows.advance(action)
    assert not waits.found, f"{id}: {dict(waits.found)}"


def test_a_step_that_waits_is_found() -> None:
    with Waits() as waits:
        x = torch.arange(4.0)
        _ = x[x > 1]
        _ = float(x.sum())
    assert waits.found["index by a mask"] == 1
    assert waits.found["_local_scalar_dense"] == 1


def played(rows: Rows[Any, Any]) -> list[Outcome]:
    return [rows.advance(action_of(rows, step)) for step in range(STEPS)]


@needs_gpu
@pytest.mark.parametrize("id", IDS)
def test_a_gpu_plays_what_the_cpu_plays(id: str) -> None:
    here, there = (played(started(id, device)) for device in ("cpu", "cuda"))
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(b.reward.cpu(), a.reward, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(b.metrics.cpu(), a.metrics, rtol=1e-6, atol=1e-8)
        assert torch.equal(b.terminated.cpu(), a.terminated)
        assert torch.equal(b.truncated.cpu(), a.truncated)
        seen = [o if isinstance(o, dict) else {"": o} for o in (a.observation, b.observation)]
        for key, value in seen[0].items():
            torch.testing.assert_close(seen[1][key].cpu(), value, rtol=1e-4, atol=1e-5)


@needs_gpu
@pytest.mark.parametrize("id", IDS)
def test_a_step_is_captured_as_a_cuda_graph(id: str) -> None:
    rows = started(id, "cuda", "float32")
    system, state, action = rows.system, rows.state, action_of(rows, 0)
    step = rows.step + 1

    def advance() -> tuple[Tensor, ...]:
        new, _ = system.advance(state, action, system.step_draws.draw(rows._key, step))
        return tuple(new)

    side = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(side):
        eager = advance()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        captured = advance()
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(eager, captured, strict=True):
        assert torch.equal(a, b)
