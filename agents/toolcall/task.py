"""Requests of the tool-calling task, the cloud agent that answers them, and the frozen sets.

A request names n operations (a plan), of which k are done; its answer is a call of the first that
is not. What makes it hard is known to the generator: long plans, progress to keep track of, rare
names, values given as one more or one less, and clauses that are negated.

Item i of a stream is drawn by a generator of its own, so it is the same in every batch. Streams are
independent, yet short requests are few: about a fifth of the frozen hard set and half of the easy
one also occur in a training's data, and are not left out [our choice: the laws stay as written].
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sixgym.agents.toolcall.language import (
    ACT,
    DONE,
    INTEGERS,
    MINUS,
    NEXT,
    NOT,
    PLUS,
    QUERY,
    TOOLS,
    Call,
)

CLOUD_ACCURACY = 0.95
"""The cloud agent's chance of the right answer. [our choice: dossier 4.2]"""
MAX_DISTRACTORS = 2
"""Negated clauses of a request: those that count for its difficulty, and with three the longest
prompt would have 36 tokens, more than the model takes. [our choice]"""
FROZEN_SEED = 251_122_217
"""Of the frozen evaluation sets; no training stream uses it."""
FROZEN_HARD, FROZEN_EASY = 1_000, 500
"""Sizes of the frozen sets; the first is that of the artifact's frozen_eval [paper]."""


class Law(NamedTuple):
    """The distribution of requests."""

    name: str
    plans: tuple[int, ...]
    """Numbers of operations, equally likely."""
    aliases: tuple[float, float, float]
    """Chances of a tool's three names."""
    modifier: float
    """Chance of an integer being given as one more or one less than another."""
    distractor: float
    """Chance of a negated clause before each clause of the plan."""


EASY = Law("easy", (1, 2), (0.8, 0.2, 0.0), 0.0, 0.0)
"""What the edge agent was trained on. [our choice: dossier 4.2]"""
FULL = Law("full", (1, 2, 3), (0.5, 0.3, 0.2), 0.35, 0.2)
"""Service traffic, the "hard" requests. [our choice: dossier 4.2]"""


class Item(NamedTuple):
    """One request and what its generator knows."""

    prompt: tuple[str, ...]
    """Tokens, at most 30."""
    answer: Call
    """Ground truth."""
    plan: int
    """Operations n."""
    done: int
    """Operations already done, k < n."""
    alias: int
    """Which of the target's three names is used."""
    mods: int
    """1 if the target's integer is modified."""
    distractors: int
    """Negated clauses."""

    @property
    def difficulty(self) -> float:
        """Difficulty d of this request, see `difficulty`."""
        return difficulty(self.plan, self.done, self.alias, self.mods, self.distractors)


class _Clause(NamedTuple):
    tokens: list[str]
    call: Call
    alias: int
    mods: int


def difficulty(plan: int, done: int, alias: int, mods: int, distractors: int) -> float:
    """``min(1, [.15(n-1) + .15k + .2 alias + .25 mods + .15 min(distractors, 2)] / 1.3)``.

    [our choice: dossier 4.2] Alias and modifiers are those of the clause that is the target.
    """
    sum_ = 0.15 * (plan - 1) + 0.15 * done + 0.2 * alias + 0.25 * mods
    return min(1.0, (sum_ + 0.15 * min(distractors, 2)) / 1.3)


def generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """The generator of one item of a named stream."""
    return np.random.default_rng((seed, zlib.crc32(stream.encode()), index))


def draw(law: Law, count: int, seed: int, stream: str, first: int = 0) -> list[Item]:
    """Requests ``first`` to ``first + count - 1`` of a stream.

    Args:
        law: their distribution.
        count: how many, >= 0.
        seed: any integer >= 0.
        stream: what they are for; streams of different names are independent.
        first: index of the first.
    """
    return [draw_item(law, generator(seed, stream, first + i)) for i in range(count)]


def draw_item(law: Law, rng: np.random.Generator) -> Item:
    """One request."""
    plan = law.plans[rng.integers(len(law.plans))]
    done = int(rng.integers(plan))
    # A negated clause stands before clause i; tools of all clauses are distinct.
    before = np.flatnonzero(rng.random(plan) < law.distractor)[:MAX_DISTRACTORS]
    names = [list(TOOLS)[k] for k in rng.permutation(len(TOOLS))[: plan + len(before)]]
    wanted = [_clause(law, name, rng) for name in names[:plan]]
    negated = {int(i): _clause(law, n, rng) for i, n in zip(before, names[plan:], strict=True)}

    prompt = [QUERY]
    for i, clause in enumerate(wanted):
        if i in negated:
            prompt += [NOT, *negated[i].tokens, NEXT]
        prompt += [*clause.tokens, *([NEXT] if i + 1 < plan else [])]
    prompt += [DONE, *(f"t_{name}" for name in names[:done]), ACT]
    target = wanted[done]
    return Item(tuple(prompt), target.call, plan, done, target.alias, target.mods, len(negated))


def _clause(law: Law, name: str, rng: np.random.Generator) -> _Clause:
    """One of a tool's names and a value for each of its arguments."""
    tool = TOOLS[name]
    alias = int(np.searchsorted(np.cumsum(law.aliases), rng.random(), side="right"))
    tokens, values, mods = [tool.aliases[alias]], list[int | str](), 0
    for argument in tool.args:
        value = argument.values[rng.integers(len(argument.values))]
        if isinstance(value, str):
            tokens.append(f"v_{value}")
        else:
            tokens.append(f"n_{value}")
            if rng.random() < law.modifier:
                # The result stays in 1 to 9: at an end there is only one way to go.
                up = value < INTEGERS[-1] and (value == INTEGERS[0] or bool(rng.integers(2)))
                tokens.append(PLUS if up else MINUS)
                value += 1 if up else -1
                mods += 1
        values.append(value)
    return _Clause(tokens, Call(name, tuple(values)), alias, mods)


def cloud_answer(item: Item, rng: np.random.Generator, accuracy: float = CLOUD_ACCURACY) -> Call:
    """The cloud agent's call: the truth, or with one argument drawn anew among its other values.

    A tool without arguments is always answered rightly, so the cloud is right a little more often
    than ``accuracy`` (.956 for .95).
    """
    call = item.answer
    if rng.random() < accuracy or not call.values:
        return call
    k = int(rng.integers(len(call.values)))
    others = [v for v in TOOLS[call.tool].args[k].values if v != call.values[k]]
    value = others[rng.integers(len(others))]
    return Call(call.tool, (*call.values[:k], value, *call.values[k + 1 :]))


def cloud_answers(
    items: Sequence[Item], seed: int, stream: str, accuracy: float = CLOUD_ACCURACY
) -> list[Call]:
    """The cloud agent's calls, item i by generator i of a stream."""
    return [
        cloud_answer(item, generator(seed, stream, i), accuracy) for i, item in enumerate(items)
    ]


def sft_examples(count: int, mix: float, seed: int) -> list[Item]:
    """Requests with their true answers for the supervised start.

    Args:
        count: how many.
        mix: share drawn from the full law, in [0, 1]; the others are easy.
        seed: of the training.
    """
    rngs = [generator(seed, "sft", i) for i in range(count)]
    return [draw_item(FULL if rng.random() < mix else EASY, rng) for rng in rngs]


def frozen_hard(count: int = FROZEN_HARD) -> list[Item]:
    """The first ``count`` of the 1,000 full-law requests that every agent is judged on."""
    return draw(FULL, count, FROZEN_SEED, "frozen hard")


def frozen_easy(count: int = FROZEN_EASY) -> list[Item]:
    """The first ``count`` of the 500 easy-law requests that show what was forgotten."""
    return draw(EASY, count, FROZEN_SEED, "frozen easy")
