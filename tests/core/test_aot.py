"""Steps compiled ahead of time: what they compute, where they are kept, what happens without."""

from __future__ import annotations

import copy
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
from sixgym.envs.core.aot import Kernel, KernelWarning, kernel_folder, kernel_name
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.fuse import leaves_of, trace
from sixgym.envs.core.make import make_env, make_vector_env
from sixgym.envs.core.packing import Packing, packed
from sixgym.envs.core.registry import entries, entry

ID = "sixgym/EventOffloadExit-v0"
OURS = [e for e in entries() if e.id.startswith("sixgym/")]  # other tests register toys
IDS = [e.id for e in OURS if not e.load_system().contains_solver]


class Sum(NamedTuple):
    total: Tensor
    more: dict[str, Tensor]


Carried = tuple[Tensor, Tensor, Tensor, Tensor]


def walk(carried: Carried, named: dict[str, Tensor], unused: Tensor) -> tuple[Carried, Sum]:
    """Hands one tensor on, swaps two, gives one result twice and never looks at the last."""
    left, right, count, scale = carried
    total = left + scale * right * named["by"]
    more = {"half": (total / 2.0)[:, :1], "odd": count % 2 == 1, "again": total}
    return (right, total, count + 1, scale), Sum(total, more)


def example(scale: float = 3.0) -> tuple[Carried, dict[str, Tensor], Tensor]:
    left = torch.arange(4.0)[None]
    carried = (left, left + 1.0, torch.tensor([5]), torch.full((1, 4), scale))
    return carried, {"by": torch.full((1,), 2.0)}, torch.zeros(7)


def unlike(found: Any, due: Any) -> list[int]:
    """Which tensors of two trees differ, in place, shape or value."""
    pairs = zip(leaves_of(found), leaves_of(due), strict=True)
    return [i for i, (a, b) in enumerate(pairs) if a.dtype != b.dtype or not torch.equal(a, b)]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sixgym" / "kernels"


def test_a_packed_graph_plays_what_the_function_plays() -> None:
    """Two steps through the buffers; what it never looks at is not asked for."""
    carried, named, unused = example()
    step = packed(trace(walk, *example()), len(carried))
    assert (step.moves, step.stays) == ((0, 1, 2), (3,))
    assert step.needed == (0, 1, 2, 3)  # floats and integers that move, what stays, and ``by``
    assert step.num_inputs == 2
    assert step.moving.dtypes == (torch.float32, torch.int64, torch.bool)
    moving = step.moving.pack([carried[i] for i in step.moves])
    still = step.still.pack([carried[i] for i in step.stays])
    for _ in range(2):
        carried, due = walk(carried, named, unused)
        moving = step.graph(*moving[: step.num_inputs], *still, named["by"])
        found = step.moving.tensors(moving)
        assert unlike(found, [*(carried[i] for i in step.moves), *leaves_of(due)]) == []
        read = step.moving.reader(len(step.moves))(moving)
        assert unlike(map(torch.from_numpy, read), due) == []


def test_a_packed_graph_can_do_without_carried_tensors() -> None:
    def double(carried: tuple[()], x: Tensor) -> tuple[tuple[()], tuple[Tensor]]:
        return carried, (x * 2.0,)

    step = packed(trace(double, (), torch.ones(1, 2)), 0)
    (found,) = step.graph(torch.ones(1, 2))
    assert step.num_inputs == 0
    assert found.tolist() == [2.0, 2.0]


def test_tensors_lie_end_to_end_by_dtype() -> None:
    tensors = [torch.ones(2, 3), torch.tensor([4]), torch.zeros(0), torch.full((), 5.0)]
    packing = Packing(tensors)
    floats, integers = packing.pack(tensors)
    assert floats.tolist() == [1.0] * 6 + [5.0]
    assert integers.tolist() == [4]
    assert unlike(packing.tensors([floats, integers]), tensors) == []
    assert [a.shape for a in packing.reader(1)([floats, integers])] == [(1,), (0,), ()]
    assert packing.pack(tensors[:1])[0].tolist() == [1.0] * 6 + [0.0]  # room for the rest


def test_other_code_constants_shapes_and_options_are_other_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of(function: Callable[..., Any], *inputs: Any) -> str:
        step = trace(function, *inputs)
        return kernel_name(step.graph, step.inputs)

    table = torch.tensor([1.0, 2.0])
    names = [
        of(lambda x: (x + table,), torch.zeros(2)),
        of(lambda x: (x - table,), torch.zeros(2)),
        of(lambda x, other=table * 2: (x + other,), torch.zeros(2)),
        of(lambda x: (x + 2.0,), torch.zeros(2)),
        of(lambda x: (x + 2.5,), torch.zeros(2)),
        of(lambda x: (x + table,), torch.zeros(3, 2)),
        of(lambda x: (x + table,), torch.zeros(2, dtype=torch.float64)),
    ]
    assert len(set(names)) == len(names)
    assert of(lambda x: (x + 2.0,), torch.zeros(2)) == names[3]
    monkeypatch.setitem(aot.OPTIONS, "memory_pool", "none")
    assert of(lambda x: (x + 2.0,), torch.zeros(2)) not in names


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
    solver = next(e for e in OURS if e.load_system().contains_solver)
    with pytest.raises(OptionsError, match="contains a solver"):
        make_vector_env(solver.system, 2, compile="aot")


@pytest.mark.slow
def test_a_kernel_is_kept_and_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Kernel(walk, *example())
    (kept,) = cache.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) & 0o077 == 0

    def never(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(aot, "_compile", never)
    for kernel in (made, Kernel(walk, *example())):
        carried, named, unused = example()
        held = kernel.hold(carried)
        for _ in range(3):
            carried, due = walk(carried, named, unused)
            held = kernel(held, named, unused)
            assert unlike(kernel.carried(held), carried) == []
            assert unlike(kernel.tensors(held), due) == []
            arrays = kernel.arrays(held)
            assert isinstance(arrays, Sum)
            assert arrays.more.keys() == due.more.keys()
            assert np.array_equal(arrays.more["half"], due.more["half"].numpy())
    wide = (torch.ones(1).expand(1, 4), torch.arange(8.0)[None, ::2], *example()[0][2:])
    found = made.carried(made(made.hold(wide), *example()[1:]))
    assert unlike(found, walk(wide, *example()[1:])[0]) == []
    kept.chmod(0o755)
    with pytest.raises(AssertionError, match="compiled again"):
        Kernel(walk, *example())


@pytest.mark.slow
def test_rows_of_a_kernel_are_looked_at_restarted_saved_and_copied(cache: Path) -> None:
    """Everything that reads or sets the state between two steps finds the newest."""
    system = entry(ID).system
    plain, kept = (make_vector_env(system, 3, compile=mode) for mode in (False, "aot"))
    plain.reset(seed=4)
    kept.reset(seed=4)
    rng = np.random.default_rng(0)

    def step() -> None:
        actions = rng.integers(3, size=3)
        due, found = plain.step(actions), kept.step(actions)
        np.testing.assert_allclose(found[0], due[0], rtol=1e-4, atol=1e-5)
        state, seen = plain.rows.state_dict(), kept.rows.state_dict()
        assert seen.keys() == state.keys()
        for name, tensor in state.items():
            torch.testing.assert_close(seen[name], tensor, rtol=1e-4, atol=1e-5)

    for _ in range(3):
        step()
    for rows in (plain.rows, kept.rows):
        rows.start(torch.tensor([1]))
    step()
    saved = kept.rows.state_dict()
    for rows in (plain.rows, kept.rows):
        rows.load_state_dict(saved)
    step()
    kept = copy.deepcopy(kept)
    step()
    assert isinstance(kept.rows._fused, Kernel)


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
