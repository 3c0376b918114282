"""What the compiler made of a graph: how much of it runs one element at a time.

It turns a loop into vector instructions where neighbours in the loop are neighbours in memory; over
the columns of a table, or where one element says which other is read, it does not, and it tells the
C++ compiler not to do so either. This is counted in its C++ text, which is not run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from torch._inductor.utils import run_and_get_code

_NUMBER = r"(?:static_cast<int64_t>\()?(\d+)L?\)?"
_FOR = re.compile(
    rf"for ?\(int64_t (\w+) ?= ?{_NUMBER}; ?\w+ ?< ?{_NUMBER}; \w+\+(?:\+|={_NUMBER})\)"
)
_RANGE = re.compile(rf"(\w+) >= {_NUMBER} && \w+ < {_NUMBER}")
_RESULT = re.compile(r"auto tmp\d+ = (.*)")
_WORK = re.compile(
    r"tmp\d+ (?:[-+*/&|^<>?]|[<>=!]=|<<|>>) |[!-]tmp|std::\w+\(|_propagate_nan\(|imum\(|blendv\("
    r"|\.(?:neg|abs|floor|ceil|round|trunc)\("
)
_SPECIAL = re.compile(r"(std::|\.)(log|log1p|exp|expm1|sqrt|rsqrt|pow|cos|sin|tan|tanh|atan2)\(")


@dataclass
class Counts:
    """Operations of a compiled graph in one call; moving and converting count nothing."""

    loops: int = 0
    """Of them no other is around."""
    scalar: float = 0.0
    """On one element."""
    scalar_special: float = 0.0
    """Logarithms, roots, cosines, ... among them."""
    vector: float = 0.0
    """On a vector of elements, however many of its lanes are of use."""
    vector_special: float = 0.0

    def each(self, rows: int) -> dict[str, float]:
        """Of one row; the loops of the whole."""
        return {k: v if k == "loops" else v / rows for k, v in asdict(self).items()}


class _Loop(NamedTuple):
    name: str
    trips: int
    step: int


def compiled_counts(call: Callable[[], Any]) -> Counts:
    """Count what a call compiles; of one that compiles nothing all is 0."""
    _, texts = run_and_get_code(call)
    return counts_of("\n".join(texts))


def counts_of(text: str) -> Counts:
    """Count in the compiler's C++ text."""
    found = Counts()
    for line, loops, share in _nested(text):
        if _FOR.match(line):
            found.loops += not loops
        result = _RESULT.match(line)
        if result is None or not loops:
            continue
        is_special = _SPECIAL.search(result[1]) is not None
        if not is_special and _WORK.search(result[1]) is None:
            continue
        times = share * math.prod(loop.trips for loop in loops)
        is_rest = loops[-1].name.endswith("_tail")  # what a vector does not hold
        if any(loop.step > 1 for loop in loops) and not is_rest:
            found.vector += times
            found.vector_special += times * is_special
        else:
            found.scalar += times
            found.scalar_special += times * is_special
    return found


def _nested(text: str) -> Iterator[tuple[str, list[_Loop], float]]:
    """Lines with the loops around them and the share of their turns in which they are run."""
    blocks: list[tuple[_Loop | None, float]] = []
    opening: tuple[_Loop | None, float] = (None, 1.0)
    for raw in text.splitlines():
        line = raw.strip()
        loops = [loop for loop, _ in blocks if loop is not None]
        yield line, loops, math.prod(share for _, share in blocks)
        if head := _FOR.match(line):
            start, stop, step = (int(n or 1) for n in head.groups()[1:])
            opening = _Loop(head[1], -(-(stop - start) // step), step), 1.0
        elif "LIKELY(" in line:
            by_name = {loop.name: loop for loop in loops}
            share = 1.0
            for name, low, high in _RANGE.findall(line):
                loop = by_name[name]
                share *= -(-(int(high) - int(low)) // loop.step) / loop.trips
            opening = None, share
        for brace in re.findall(r"[{}]", line):
            if brace == "{":
                blocks.append(opening)
                opening = None, 1.0
            elif blocks:
                blocks.pop()
