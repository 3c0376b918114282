"""Tools, vocabulary and tokens of the tool-calling language.

A prompt is ``<q> clause (; clause)* <done> t_tool* <act>``, an answer is tokens that concatenate
to a JSON object. Every token is a whole word, so 117 of them are the entire vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PROMPT_LENGTH = 34
"""Columns of a prompt, padded on the left. [our choice: dossier 4.3]"""
ANSWER_LENGTH = 20
"""Columns of an answer, padded on the right. [our choice: dossier 4.3]"""
INTEGERS = tuple(range(1, 10))
"""Every integer argument. [our choice: one token each]"""

PAD, QUERY, DONE, ACT, END = "<pad>", "<q>", "<done>", "<act>", "<eos>"
NEXT, NOT, PLUS, MINUS = ";", "not", "plus1", "minus1"


class Argument(NamedTuple):
    """One argument of a tool; all are required."""

    name: str
    values: tuple[int, ...] | tuple[str, ...]
    """What is allowed: integers 1 to 9, or words."""

    @property
    def is_integer(self) -> bool:
        """Whether the values are numbers."""
        return self.values == INTEGERS


class Tool(NamedTuple):
    """One operation of the workflow."""

    name: str
    aliases: tuple[str, str, str]
    """What users call it, from usual to rare."""
    args: tuple[Argument, ...]
    describes: str
    """For a language model."""


class Call(NamedTuple):
    """A valid call."""

    tool: str
    values: tuple[int | str, ...]
    """In the order of the tool's arguments."""

    @property
    def args(self) -> dict[str, int | str]:
        """Arguments by name."""
        return {a.name: v for a, v in zip(TOOLS[self.tool].args, self.values, strict=True)}

    @property
    def text(self) -> str:
        """As the JSON that an agent answers with."""
        return json.dumps({"name": self.tool, "args": self.args}, separators=(",", ":"))


_LEVELS = ("low", "mid", "high")

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "select_clients",
            ("pick", "recruit", "enlist"),
            (Argument("num", INTEGERS), Argument("strategy", ("random", "loss", "speed"))),
            "Choose the clients that take part in the round.",
        ),
        Tool(
            "broadcast_model",
            ("push", "send", "share"),
            (Argument("version", INTEGERS),),
            "Send a version of the global model to the chosen clients.",
        ),
        Tool(
            "local_train",
            ("train", "fit", "learn"),
            (Argument("epochs", INTEGERS), Argument("lr", _LEVELS)),
            "Train on the clients' own data.",
        ),
        Tool(
            "compress_update",
            ("compress", "shrink", "pack"),
            (Argument("bits", ("b4", "b8", "b16")),),
            "Quantise the clients' updates.",
        ),
        Tool(
            "aggregate",
            ("merge", "average", "fuse"),
            (
                Argument("method", ("fedavg", "fedprox", "scaffold")),
                Argument("weight", ("uniform", "samples")),
            ),
            "Combine the updates into a new global model.",
        ),
        Tool(
            "evaluate",
            ("check", "score", "measure"),
            (Argument("split", ("val", "test")), Argument("rounds", INTEGERS)),
            "Measure the global model.",
        ),
        Tool(
            "schedule_slot",
            ("book", "reserve", "allot"),
            (Argument("slot", INTEGERS), Argument("prio", _LEVELS)),
            "Reserve a radio slot for the round.",
        ),
        Tool("finish", ("stop", "end", "close"), (), "End the workflow."),
    )
}
"""The eight operations. [our choice: dossier 4.2, in the domain of the paper's artifact]"""


def _vocabulary() -> tuple[str, ...]:
    """All tokens, each once, in a fixed order: prompts' words, then those of answers."""
    words = [v for t in TOOLS.values() for a in t.args for v in a.values if not a.is_integer]
    values = list(dict.fromkeys(map(str, words)))
    tokens = [PAD, QUERY, DONE, ACT, END, NEXT, NOT, PLUS, MINUS]
    tokens += [alias for t in TOOLS.values() for alias in t.aliases]
    tokens += [f"t_{name}" for name in TOOLS]
    tokens += [f"n_{n}" for n in INTEGERS] + [f"v_{word}" for word in values]
    tokens += ["{", "}", ":", ",", '"name"', '"args"', *(f'"{name}"' for name in TOOLS)]
    tokens += dict.fromkeys(f'"{a.name}"' for t in TOOLS.values() for a in t.args)
    tokens += [f'"{word}"' for word in values] + [str(n) for n in INTEGERS]
    return tuple(tokens)


VOCABULARY = _vocabulary()
"""117 tokens."""
INDEX = {token: i for i, token in enumerate(VOCABULARY)}
PAD_ID, END_ID = INDEX[PAD], INDEX[END]
DIGEST = hashlib.sha256("\n".join(VOCABULARY).encode()).hexdigest()
"""Of the vocabulary: weights of another one mean nothing."""


def emit(call: Call) -> tuple[str, ...]:
    """The tokens of a call, ``<eos>`` included; at most 18."""
    tokens = ["{", '"name"', ":", f'"{call.tool}"', ",", '"args"', ":", "{"]
    for k, (argument, value) in enumerate(zip(TOOLS[call.tool].args, call.values, strict=True)):
        tokens += [","] if k else []
        tokens += [f'"{argument.name}"', ":", str(value) if argument.is_integer else f'"{value}"']
    return (*tokens, "}", "}", END)


def join(tokens: Iterable[str]) -> str:
    """The text of answer tokens, up to ``<eos>``."""
    text = []
    for token in tokens:
        if token == END:
            break
        text.append(token)
    return "".join(text)


def encode_prompt(tokens: Sequence[str]) -> list[int]:
    """``PROMPT_LENGTH`` indices, padded on the left.

    Raises:
        ValueError: longer than that.
        KeyError: not a token.
    """
    if len(tokens) > PROMPT_LENGTH:
        raise ValueError(f"prompt of {len(tokens)} tokens; allowed: {PROMPT_LENGTH}")
    return [PAD_ID] * (PROMPT_LENGTH - len(tokens)) + [INDEX[token] for token in tokens]


def encode_answer(call: Call) -> list[int]:
    """``ANSWER_LENGTH`` indices of a call's tokens, padded on the right."""
    ids = [INDEX[token] for token in emit(call)]
    return ids + [PAD_ID] * (ANSWER_LENGTH - len(ids))


def decode(ids: Iterable[int]) -> str:
    """The text of answer indices, up to ``<eos>``."""
    return join(VOCABULARY[i] for i in ids)
