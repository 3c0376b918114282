"""How far each compiled step is from what this machine could do at all.

Run with ``python benchmarks/roofline.py``. One core. Measured of the machine: how fast it copies
memory, multiplies matrices, and takes logarithms and cosines of numbers in its cache. Counted of a
step, in the traced graph that is compiled: the bytes of its inputs and outputs, each moved once;
its operations, one for every element that an elementwise operation gives, a reduction takes or two
for every product of a matrix; and among them, apart, the special functions (log, cos, sqrt, ...).
Moving, indexing and converting count nothing, so all counts are lower bounds, and so is the limit:

    max(bytes / copy bandwidth, operations / peak + special functions / their rate)

Beside it stands what the start of an episode takes: where episodes last a step or a few it is most
of the time, and compiled too.

The compiler computes some values twice where that is cheaper than storing them; that is part of the
distance. Integer operations of the random numbers count like others although no processor does as
many of them a second as of fused multiply-adds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector.utils import batch_space
from timing import can_compile, ids_of, machine
from torch import Tensor, fx

from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rows import Rows
from sixgym.envs.core.spaces import ActionReader

ROWS = 4096
REPEATS = 7
LEAST_S = 0.05
"""CPU seconds of a turn."""
COPY_BYTES = 2**28
MATRIX = 1024
CACHED = 2**13
"""Elements whose special functions are timed: 32 KiB."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SPECIAL = _names(
    "acos asin atan atan2 cos cosh erf erfc erfinv exp exp2 expm1 lgamma log log10 log1p log2 "
    "pow reciprocal rsqrt sigmoid sin sinh softplus sqrt special_ndtri tan tanh _softmax logsumexp"
)
"""Operations that are many instructions an element."""
MOVES = _names(
    "_to_copy _unsafe_view alias arange as_strided cat clone constant_pad_nd copy copy_ detach "
    "diagonal empty empty_like expand fill fill_ flip full full_like gather index index_put "
    "index_select lift_fresh lift_fresh_copy new_empty new_full new_ones new_zeros ones ones_like "
    "permute repeat roll scalar_tensor scatter select select_scatter slice slice_scatter split "
    "split_with_sizes squeeze stack t transpose unbind unfold unsqueeze view zeros zeros_like "
    "getitem"
)
"""Operations that compute nothing."""
REDUCTIONS = _names(
    "all amax amin any argmax argmin cummax cummin cumprod cumsum linalg_vector_norm logcumsumexp "
    "max mean min prod std sum var"
)
"""One operation for every element they take; of two tensors, max and min are elementwise."""
PRODUCTS = _names("addmm baddbmm bmm mm mv dot")


@dataclass(frozen=True)
class Peak:
    """What one core of this machine does at best."""

    copy_bytes_per_s: float
    """Read and written, of 256 MiB: from memory, not from a cache."""
    flop_per_s: float
    """float32, multiplying matrices."""
    special_per_s: float
    """Mean of log, sqrt and cos of float32 in the cache."""


@dataclass(frozen=True)
class Work:
    """What one call of a step has to do at least."""

    bytes: int
    operations: int
    """Without special functions."""
    special: int

    def limit_s(self, peak: Peak) -> float:
        """Seconds in which it could be done."""
        computing = self.operations / peak.flop_per_s + self.special / peak.special_per_s
        return max(self.bytes / peak.copy_bytes_per_s, computing)


def best_s(call: Callable[[], Any], least_s: float = LEAST_S) -> float:
    """CPU seconds of a call, the best of some turns."""
    calls, best = 1, math.inf
    for _ in range(REPEATS):
        while True:
            began = time.process_time()
            for _ in range(calls):
                call()
            took = time.process_time() - began
            if took >= least_s:
                break
            calls *= 2
        best = min(best, took / calls)
    return best


def measured_peak(
    copy_bytes: int = COPY_BYTES, matrix: int = MATRIX, least_s: float = LEAST_S
) -> Peak:
    """Of this machine, one thread."""
    source = torch.zeros(copy_bytes // 4)
    target = torch.empty_like(source)
    a = torch.rand(matrix, matrix)
    numbers, result = torch.rand(CACHED) + 0.5, torch.empty(CACHED)
    functions = (torch.log, torch.sqrt, torch.cos)
    special = [best_s(lambda f=f: f(numbers, out=result), least_s) for f in functions]
    return Peak(
        2 * 4 * source.numel() / best_s(lambda: target.copy_(source), least_s),
        2 * matrix**3 / best_s(lambda: a @ a, least_s),
        CACHED * len(functions) / sum(special),
    )


def work_of(graph: fx.Graph, moved: Sequence[Tensor]) -> Work:
    """Count a traced graph; see the module.

    Args:
        graph: of torch's operations, with the shapes of what they give.
        moved: its inputs and outputs.
    """
    operations = special = 0
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        count, is_special = operations_of(node)
        operations += 0 if is_special else count
        special += count if is_special else 0
    return Work(sum(t.numel() * t.element_size() for t in moved), operations, special)


def operations_of(node: fx.Node) -> tuple[int, bool]:
    """How many operations a node is, and whether they are special functions."""
    name = name_of(node)
    if name in MOVES:
        return 0, False
    given, taken = tensors_of(node.meta.get("val")), inputs_of(node)
    size = given[0].numel() if given else 0
    if name in PRODUCTS:
        return 2 * size * taken[-2 if len(taken) > 1 else 0].shape[-1], False
    if name in REDUCTIONS and taken:
        return max(size, taken[0].numel()), False
    if name in ("sort", "topk", "argsort"):
        length = max(2, taken[0].shape[-1])
        return int(taken[0].numel() * math.log2(length)), False
    return size, name in SPECIAL


def name_of(node: fx.Node) -> str:
    """``add`` of ``aten.add_.Tensor``."""
    packet = getattr(node.target, "overloadpacket", node.target)
    name = getattr(packet, "__name__", str(packet))
    return name.removesuffix("_") or name


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors that a node gives."""
    if isinstance(value, Tensor):
        return [value]
    return [t for t in value if isinstance(t, Tensor)] if isinstance(value, tuple | list) else []


def inputs_of(node: fx.Node) -> list[Tensor]:
    """The tensors that a node takes."""
    return [t for source in node.all_input_nodes for t in tensors_of(source.meta.get("val"))]


def started(id: str, rows: int, *, compile: bool) -> tuple[Rows[Any, Any], Any]:
    """Rows at work, and an action of theirs."""
    found = entry(id)
    system = make_system(found.system)
    batch: Rows[Any, Any] = Rows(
        system, rows, max_episode_steps=found.max_episode_steps, compile=compile
    )
    batch.start(seeds=torch.arange(rows))
    space = batch_space(system.action_space, rows)
    space.seed(0)
    reader = ActionReader(system.action_space, dtype=system.dtype, device=system.device)
    return batch, reader.read(space.sample(), rows)


@torch.no_grad()
def counted(id: str, rows: int) -> Work:
    """What the step of an id has to do, of all rows together."""
    batch, action = started(id, rows, compile=False)
    graph = batch.traced(action).graph.graph
    graph.eliminate_dead_code()
    due: Any = graph.output_node().args[0]
    given = dict.fromkeys(node for node in due if node.op != "placeholder")
    # What is only handed on is not moved.
    taken = [n for n in graph.find_nodes(op="placeholder") if {u.op for u in n.users} - {"output"}]
    moved = [t for node in (*taken, *given) for t in tensors_of(node.meta.get("val"))]
    return work_of(graph, moved)


def measure(id: str, rows: int, peak: Peak) -> dict[str, Any]:
    """One id beside its limit; per row where the name says nothing else."""
    work = counted(id, rows)
    batch, action = started(id, rows, compile=True)
    batch.advance(action)
    step_s = best_s(lambda: batch.advance(action))
    limit_s = work.limit_s(peak)
    by_memory = work.bytes / peak.copy_bytes_per_s
    return {
        "rows": rows,
        "bytes": work.bytes / rows,
        "operations": work.operations / rows,
        "special": work.special / rows,
        "step_ns": 1e9 * step_s / rows,
        "start_ns": 1e9 * best_s(batch.start) / rows,
        "limit_ns": 1e9 * limit_s / rows,
        "bound": "memory" if by_memory >= limit_s else "arithmetic",
        "share_of_limit": limit_s / step_s,
        "bytes_per_s": work.bytes / step_s,
        "operations_per_s": (work.operations + work.special) / step_s,
    }


def main() -> int:
    """Measure, print and write after every id; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", action="append", help="an id; may be repeated; default: all")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the step")
    parser.add_argument("--resume", action="store_true", help="keep the ids that the JSON holds")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/roofline.json"), help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ids = [id for id in ids_of(options.env) if can_compile(id)]
    is_there = options.resume and options.out.exists()
    report = json.loads(options.out.read_text()) if is_there else {"steps": {}}
    peak = Peak(**report["peak"]) if is_there else measured_peak()
    report |= {"machine": machine(), "peak": asdict(peak)}
    print(
        f"one core copies {peak.copy_bytes_per_s / 1e9:.1f} GB/s (read and written), computes "
        f"{peak.flop_per_s / 1e9:.1f} GFLOP/s, {peak.special_per_s / 1e9:.2f} G special functions/s"
    )
    print(
        f"{'environment':<32}{'bytes':>8}{'ops':>8}{'special':>8}{'ns':>9}{'limit ns':>9}", end=""
    )
    print(f"{'start ns':>10}  share")
    failed = False
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for id in ids:
        if id in report["steps"]:
            continue
        try:
            found = report["steps"][id] = measure(id, options.rows, peak)
        except Exception as error:
            failed = True
            print(f"{id}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            continue
        line = f"{id:<32}{found['bytes']:>8,.0f}{found['operations']:>8,.0f}"
        line += f"{found['special']:>8,.0f}{found['step_ns']:>9,.0f}{found['limit_ns']:>9,.1f}"
        line += f"{found['start_ns']:>10,.0f}"
        print(f"{line}  {found['share_of_limit']:.1%} ({found['bound']})", flush=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(options.out)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
