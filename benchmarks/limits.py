"""What a step costs when it is written by hand: NumPy for one row, one C++ loop for many.

Run with ``python benchmarks/limits.py``. Both are checked against the environment on a trajectory
first, and are timed in turns with it. The C++ loop is the practical limit of the step: fused by
hand, with nothing else in it.

Below the rates stands where the time goes. Of one row, compiled ahead of time, in microseconds:

    raw    the library's run call alone: physics, random numbers, its tensors
    over   handing the state from one call to the next
    in     checking and converting the action
    out    observation, reward and info as NumPy and Python have them

Of many rows, in nanoseconds a row, each part compiled by itself; so what is one graph in the step
is cut, results that the step never stores are stored, and the parts may add up to more than it:

    words     hashing the random words, integers of 64 bits
    draws     the numbers made of them, hashing included; and the same by hand
    advance   dynamics, reward and metrics, given the draws; where a system draws by a clock of its
              own, with the draws
    pack      the metrics side by side, where that is not done by the dynamics
    observe   the observation of a state
    store     a copy of all that the step writes: what memory takes

And of the compiled step as a whole how much of it runs one element at a time, see ``loops.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from loops import Counts, compiled_counts
from native_exit import NativeExit
from native_loop import NativeLoop, compiled
from native_ris import NativeRis
from numpy_exit import NumpyExit
from numpy_ris import NumpyRis
from numpy_step import NumpyStep
from roofline import started
from single import profile
from timing import Block, Effort, action_pool, in_turns, machine, repeated, steps_block
from torch import Tensor

from sixgym.envs.core.fuse import Fused
from sixgym.envs.core.rows import Rows
from sixgym.envs.core.spaces import ActionReader

ROWS = 4096
CHECKED_STEPS = 400
EFFORT = Effort(turns=7, turn_s=0.15)
CALLS = 200
BLOCK_ROWS = 2**17
"""Rows times calls of a block."""
NUMPY, NATIVE = "numpy by hand", "C++ by hand"


def step_draws(system: Any, key: Tensor, step: Tensor) -> Any:
    """What a step draws."""
    return system.step_draws.draw(key, step)


def exit_draws(system: Any, key: Tensor, step: Tensor) -> Any:
    """What a step draws by clocks of its own: a gain and an event."""
    event = torch.zeros_like(step)
    gain = system._slot_draws.draw(key, step)["fading"]
    return gain, system._event_draws.draw_element("events", key, step + 1, event)


@dataclass(frozen=True)
class Case:
    """A step written by hand twice."""

    by_numpy: Callable[[Rows[Any, Any]], NumpyStep]
    by_loop: type[NativeLoop]
    draws: Callable[[Any, Tensor, Tensor], Any] = step_draws
    """The random numbers of a step alone: of system, keys and steps."""


CASES = {
    "sixgym/EventOffloadExit-v0": Case(NumpyExit, NativeExit, exit_draws),
    "sixgym/RisNoma-v0": Case(NumpyRis, NativeRis),
}


def check_numpy(id: str, steps: int = CHECKED_STEPS) -> float:
    """Play the environment (in float64) and the NumPy version; the largest difference.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    env: Any = gym.make(id, dtype="float64", disable_env_checker=True).unwrapped
    env.reset(seed=3)
    twin = CASES[id].by_numpy(env.rows)
    np.testing.assert_allclose(twin.observe(), env.rows.observation()[0].numpy(), rtol=1e-5)
    env.action_space.seed(0)
    worst = 0.0
    for _ in range(steps):
        action = env.action_space.sample()
        seen, reward, terminated, _, info = env.step(action)
        found = twin.step(action)
        np.testing.assert_allclose(found.observation, seen, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.reward, reward, rtol=1e-9, atol=1e-12)
        assert found.terminated == terminated
        assert found.info.keys() == info.keys()
        np.testing.assert_allclose(list(found.info.values()), list(info.values()), rtol=1e-9)
        worst = max(worst, float(np.abs(found.observation - seen).max()))
    return worst


def check_native(id: str, library: Any, rows: int = 64, steps: int = CHECKED_STEPS) -> float:
    """Play rows of the environment and the C++ loop; the largest difference of observations.

    Raises:
        AssertionError: they differ by more than rounding in float32.
    """
    batch, _ = started(id, rows, compile=False)
    twin = CASES[id].by_loop(batch, library)
    system = batch.system
    space = batch_space(system.action_space, rows)
    reader = ActionReader(system.action_space, dtype=system.dtype, device=system.device)
    space.seed(0)
    worst = 0.0
    for _ in range(steps):
        action = reader.read(space.sample(), rows)
        out = batch.advance(action)
        twin.step(action)
        due = (out.observation, out.reward, out.metrics, *batch.state)
        found_all = (twin.seen, twin.reward, twin.metrics, *twin.state)
        for found, wanted in zip(found_all, due, strict=True):
            rounding = 1e-4 * float(wanted.abs().double().mean()) + 1e-6
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=rounding)
        for found, wanted in ((twin.terminated, out.terminated), (twin.truncated, out.truncated)):
            assert torch.equal(found, wanted)
        assert torch.equal(twin.steps, batch.step)
        worst = max(worst, float((twin.seen - out.observation).abs().max()))
    return worst


def single_blocks(id: str, modes: Sequence[Any]) -> dict[str, Block]:
    """Bare steps of one row, in the modes of ``compile`` and by hand."""
    blocks: dict[str, Block] = {}
    for mode in modes:
        env: Any = gym.make(id, compile=mode, disable_env_checker=True).unwrapped
        env.reset(seed=0)
        actions = action_pool(env.action_space)
        env.step(next(actions))
        blocks[{False: "eager", True: "compiled"}.get(mode, mode)] = steps_block(
            env, actions, CALLS
        )
    env = gym.make(id, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    twin: Any = CASES[id].by_numpy(env.rows)
    blocks[NUMPY] = steps_block(twin, action_pool(env.action_space), CALLS)
    return blocks


def batch_blocks(
    id: str, rows: int, library: Any, modes: Sequence[bool]
) -> tuple[dict[str, Block], dict[str, Block], Counts]:
    """Steps of many rows, tensors in and tensors out; their parts; what the last mode compiled."""
    calls = max(1, BLOCK_ROWS // rows)
    steps: dict[str, Callable[[], Any]] = {}
    for mode in modes:
        batch, action = started(id, rows, compile=mode)
        steps["compiled" if mode else "eager"] = partial(batch.advance, action)
        counts = compiled_counts(partial(batch.advance, action))
    twin = CASES[id].by_loop(batch, library)
    steps[NATIVE] = partial(twin.step, action)
    parts = {name: fused(part, modes[-1]) for name, part in parts_of(id, batch, action).items()}
    parts["draws, C++"] = twin.draw
    blocks = {name: repeated(call, calls, rows) for name, call in steps.items()}
    return blocks, {name: repeated(call, calls, rows) for name, call in parts.items()}, counts


Part = tuple[Callable[..., Any], tuple[Any, ...]]
"""A pure function of tensors with its arguments."""


def parts_of(id: str, batch: Rows[Any, Any], action: Any) -> dict[str, Part]:
    """The parts of a step; see the module."""
    system, draws = batch.system, CASES[id].draws
    state, key, step = batch.state, batch._key, batch.step
    make = type(state)._make
    noise = system.step_draws.draw(key, step)
    _, (reward, _, metrics, packed) = system.advance(state, action, noise)

    def advance(state: Any, action: Any, noise: Any) -> Any:
        new, (reward, terminated, metrics, packed) = system.advance(make(state), action, noise)
        return tuple(new), reward, terminated, metrics if packed is None else packed

    parts: dict[str, Part] = {}
    if system.step_draws.words:
        parts["words"] = system.step_draws.bits, (key, step)
    parts["draws"] = lambda key, step: draws(system, key, step), (key, step)
    parts["advance"] = advance, (tuple(state), action, noise)
    if packed is None:
        parts["pack"] = batch._pack, (metrics, reward)
    parts["observe"] = lambda state: system.observe(make(state)), (tuple(state),)
    parts["store"] = lambda *tensors: [t.clone() for t in tensors], tuple(written(batch, action))
    return parts


def written(batch: Rows[Any, Any], action: Any) -> list[Tensor]:
    """Tensors like all that a step gives anew."""
    given: Any = batch.traced(action).graph.graph.output_node().args[0]
    new = dict.fromkeys(node for node in given if node.op != "placeholder")
    return [torch.zeros(n.meta["val"].shape, dtype=n.meta["val"].dtype) for n in new]


@torch.no_grad()
def fused(part: Part, compile: bool) -> Callable[[], Any]:
    """A call of a part."""
    function, arguments = part
    if compile:
        function = Fused(function, *arguments)
    return lambda: function(*arguments)


def timed(blocks: dict[str, Block], effort: Effort) -> dict[str, float]:
    """Steps per CPU second, the best turns."""
    found = in_turns(list(blocks.values()), effort)
    return {name: max(rates) for name, rates in zip(blocks, found, strict=True)}


def single_profile(id: str, effort: Effort) -> dict[str, float]:
    """Microseconds of the parts of a step of one row, ahead of time; see the module."""
    found = profile(id, effort)
    raw, read, whole = (found[f"{name}_us"] for name in ("raw", "read", "step"))
    over = found["advance_us"] - raw
    return {"raw": raw, "over": over, "in": read, "out": whole - raw - over - read}


def measure(id: str, rows: int, effort: Effort, quick: bool) -> dict[str, Any]:
    """All of one id: rates, and where the time goes."""
    by_numpy = check_numpy(id)
    library = compiled(CASES[id].by_loop.name)
    by_loop = check_native(id, library)
    print(f"{id}: by hand differs by {by_numpy:.1g} (NumPy) and {by_loop:.1g} (C++) at most")
    single = timed(single_blocks(id, (False,) if quick else (False, True, "aot")), effort)
    modes = (False,) if quick else (False, True)
    blocks, parts, counts = batch_blocks(id, rows, library, modes)
    rates = timed(blocks | parts, effort)
    batch = {name: rates[name] for name in blocks}
    spent = {name: 1e9 / rates[name] for name in parts}
    found = {"single": single, "batch": batch, "batch_parts_ns": spent}
    if not quick:
        found |= {"single_parts_us": single_profile(id, effort), "compiled": counts.each(rows)}
    return found


def show(rows: int, found: dict[str, Any]) -> None:
    """Print what `measure` found."""
    for count, rates, limit in ((1, found["single"], NUMPY), (rows, found["batch"], NATIVE)):
        unit, scale = ("us", 1e6) if count == 1 else ("ns a row", 1e9)
        whole = scale / rates[limit]
        for name, rate in rates.items():
            line = f"{count:>6} rows  {name:<16}{rate:>14,.0f} steps/CPU s"
            print(f"{line}{scale / rate:>10,.1f} {unit:<9}{rate / rates[limit]:.3f} of {limit}")
        parts = found.get("single_parts_us", {}) if count == 1 else found["batch_parts_ns"]
        for name, spent in parts.items():
            print(f"{'':>14}{name:<16}{spent:>36,.1f} {unit:<9}{spent / whole:.3f} of its time")
    if "compiled" in found:
        count = {name: f"{number:,.0f}" for name, number in found["compiled"].items()}
        for line in (
            f"compiled into {count['loops']} loops, that for a row do",
            f"{count['scalar']} operations on an element ({count['scalar_special']} special),",
            f"{count['vector']} operations on a vector ({count['vector_special']} special)",
        ):
            print(f"{'':>14}{line}")


def main() -> int:
    """Check, measure, print and write after every id."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", action="append", choices=CASES, help="may be repeated; or all")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the C++ loop")
    parser.add_argument("--quick", action="store_true", help="eager only, short turns")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/limits.json"), help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    effort = Effort(turns=2, turn_s=0.05) if options.quick else EFFORT
    report = {"machine": machine(), "method": asdict(effort), "rows": options.rows, "steps": {}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for id in options.env or CASES:
        found = report["steps"][id] = measure(id, options.rows, effort, options.quick)
        show(options.rows, found)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
