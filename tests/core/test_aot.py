"""Steps compiled ahead of time: what they compute, where they are kept, what happens without."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

import sixgym  # noqa: F401 - registers the systems
from sixgym.envs.core import aot
from sixgym.envs.core.aot import Kernel, KernelWarning, kernel_folder, kernel_name, reduced
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.fuse import trace
from sixgym.envs.core.make import make_env, make_vector_env
from sixgym.envs.core.registry import entries, entry

ID = "sixgym/EventOffloadExit-v0"
IDS = [e.id for e in entries() if not e.load_system().contains_solver]


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


def swapped(pair: Pair, named: dict[str, Tensor], unused: Tensor) -> tuple[Pair, Tensor, Tensor]:
    """Hands one tensor on, gives one result twice, and never looks at the last argument."""
    total = pair.left + named["scale"] * pair.right
    return Pair(total, pair.left), total, total * 2.0


def example(scale: float = 3.0) -> tuple[Pair, dict[str, Tensor], Tensor]:
    pair = Pair(torch.arange(4.0), torch.arange(4.0) + 1.0)
    return pair, {"scale": torch.full((4,), scale)}, torch.zeros(7)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sixgym" / "kernels"


def test_a_reduced_graph_takes_and_gives_only_what_is_computed() -> None:
    step = reduced(trace(swapped, *example()))
    assert step.needed == [0, 1, 2]
    (given,) = step.graph.graph.find_nodes(op="output")[0].args
    assert len(given) == 2
    pair, named, unused = example()
    flat = [*pair, *named.values(), unused]
    results = step.graph(*(flat[i] for i in step.needed))
    found = step.build([*results, *flat])
    due = swapped(pair, named, unused)
    assert isinstance(found[0], Pair)
    assert found[0].right is pair.left
    assert torch.equal(found[0].left, due[0].left)
    assert torch.equal(found[1], due[1])
    assert torch.equal(found[2], due[2])


def test_other_code_constants_and_shapes_are_other_kernels() -> None:
    def of(function: Callable[..., Any], *inputs: Any) -> str:
        step = reduced(trace(function, *inputs))
        return kernel_name(step.graph, step.inputs)

    table = torch.tensor([1.0, 2.0])
    names = [
        of(lambda x: x + table, torch.zeros(2)),
        of(lambda x: x - table, torch.zeros(2)),
        of(lambda x, other=table * 2: x + other, torch.zeros(2)),
        of(lambda x: x + 2.0, torch.zeros(2)),
        of(lambda x: x + 2.5, torch.zeros(2)),
        of(lambda x: x + table, torch.zeros(3, 2)),
        of(lambda x: x + table, torch.zeros(2, dtype=torch.float64)),
    ]
    assert len(set(names)) == len(names)
    assert of(lambda x: x + table.clone(), torch.zeros(2)) != ""
    assert of(lambda x: x + 2.0, torch.zeros(2)) == names[3]


def test_the_cache_is_made_for_the_user_alone(cache: Path) -> None:
    assert kernel_folder() == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert kernel_folder() == cache


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707])
def test_a_cache_that_others_can_reach_is_not_used(cache: Path, mode: int) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    with pytest.warns(KernelWarning, match="not yours alone"):
        assert kernel_folder() is None


def test_a_cache_that_is_a_link_is_not_used(cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    cache.parent.mkdir(parents=True)
    cache.symlink_to(elsewhere)
    with pytest.warns(KernelWarning, match="not yours alone"):
        assert kernel_folder() is None


def test_a_cache_that_cannot_be_made_is_said(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file")
    with pytest.warns(KernelWarning, match="are not kept"):
        assert kernel_folder() is None


def test_without_a_compiler_the_step_is_eager_with_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import cpp_builder, exc

    def none_here() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_here)
    plain, kept = (make_env(entry(ID).system, compile=mode) for mode in (False, "aot"))
    plain.reset(seed=1)
    kept.reset(seed=1)
    with pytest.warns(KernelWarning, match="no C\\+\\+ compiler is at hand; the step runs eagerly"):
        first = kept.step(1)
    assert np.array_equal(first[0], plain.step(1)[0])
    for action in (0, 2, 1):  # and says it once
        assert np.array_equal(kept.step(action)[0], plain.step(action)[0])
    assert list(cache.glob("*")) == []


def test_what_cannot_be_compiled_ahead_is_refused() -> None:
    with pytest.raises(OptionsError, match=r"compile='fast': allowed: True, False, 'aot'"):
        make_env(entry(ID).system, compile="fast")
    solver = next(e for e in entries() if e.load_system().contains_solver)
    with pytest.raises(OptionsError, match="contains a solver"):
        make_vector_env(solver.system, 2, compile="aot")


@pytest.mark.slow
def test_a_kernel_is_kept_and_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    due = swapped(*example())
    found = Kernel(swapped, *example())(*example())
    (kept,) = cache.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) & 0o077 == 0

    def never(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(aot, "_compile", never)
    again = Kernel(swapped, *example())(*example())
    for result in (found, again):
        assert torch.equal(result[0].left, due[0].left)
        assert torch.equal(result[2], due[2])
    wide = Pair(torch.ones(1).expand(4), torch.arange(8.0)[::2])
    other = Kernel(swapped, *example())(wide, example()[1], example()[2])
    assert torch.equal(other[1], swapped(wide, *example()[1:])[1])
    kept.chmod(0o755)
    with pytest.raises(AssertionError, match="compiled again"):
        Kernel(swapped, *example())


@pytest.mark.slow
@pytest.mark.parametrize("id", IDS)
def test_the_kernel_of_every_id_plays_what_the_eager_step_plays(id: str) -> None:
    """Step by step from the same states, through the single environment, over a reset.

    The kernel is made of a first state, whose tensors may be one and the same under several names.
    """
    plain, kept = (
        gym.make(id, compile=mode, disable_env_checker=True).unwrapped for mode in (False, "aot")
    )
    plain.action_space.seed(0)
    for seed in (5, None):
        plain.reset(seed=seed)
        kept.reset(seed=seed)
        for step in range(12):
            if step > 0:
                kept.rows.load_state_dict(plain.rows.state_dict())
            action = plain.action_space.sample()
            due, found = plain.step(action), kept.step(action)
            seen = [o if isinstance(o, dict) else {"": o} for o in (due[0], found[0])]
            for name, value in seen[0].items():
                np.testing.assert_allclose(seen[1][name], value, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found[1], due[1], rtol=1e-3, atol=1e-4)
            assert found[2:4] == due[2:4]
            assert found[4].keys() == due[4].keys()
            if due[2]:
                break
    assert isinstance(kept.rows._fused, Kernel)
