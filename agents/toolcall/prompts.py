"""The same task for a language model: an instruction, the request in words, the tools as schemas.

What a server of the OpenAI kind takes: ``messages`` and ``tools`` of a chat completion, or
`sixgym.agents.toolcall.validator.call_schema` as the schema of its reply.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sixgym.agents.toolcall.language import ACT, DONE, MINUS, NEXT, NOT, PLUS, QUERY, TOOLS
from sixgym.agents.toolcall.task import Item
from sixgym.agents.toolcall.validator import argument_schema, parameters_schema

_WORDS = {NOT: "do not", PLUS: "plus 1", MINUS: "minus 1"}

INSTRUCTION = (
    "You plan a federated-learning workflow. A request is a list of operations in order, "
    "separated by semicolons. 'do not ...' is an operation that is not wanted and never counts. "
    "Operations may be named by synonyms. 'n plus 1' and 'n minus 1' mean the integer one above "
    "or below n. After 'Already done' come the operations that are finished, in order. Answer "
    "with the call of the first wanted operation that is not done, and nothing else."
)
"""What a language model is told of the task. [our choice]"""

REPLY_FORMAT = (
    'Answer with one JSON object {"name": TOOL, "args": {ARGUMENT: VALUE, ...}} and no other text. '
    "Tools:\n"
)


def openai_tools() -> list[dict[str, Any]]:
    """The tools as the ``tools`` field of a chat completion."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": f"{tool.describes} Also called {', '.join(tool.aliases)}.",
                "parameters": parameters_schema(tool.name),
                "strict": True,
            },
        }
        for tool in TOOLS.values()
    ]


def messages(item: Item, *, as_tools: bool = True) -> list[dict[str, str]]:
    """Instruction and request of one item.

    Args:
        item: the request.
        as_tools: the tools are given by `openai_tools`; otherwise the instruction lists them and
            asks for the JSON text itself.
    """
    system = INSTRUCTION if as_tools else f"{INSTRUCTION} {REPLY_FORMAT}{_tool_lines()}"
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": request_text(item.prompt)},
    ]


def request_text(prompt: Sequence[str]) -> str:
    """A prompt in words: ``Request: pick 4 plus 1 loss. Already done: nothing.``.

    Args:
        prompt: tokens of an item.
    """
    at = prompt.index(DONE)
    clauses = " ".join(_word(t) for t in prompt[:at] if t != QUERY).replace(f" {NEXT}", NEXT)
    done = [t.removeprefix("t_") for t in prompt[at + 1 :] if t != ACT]
    return f"Request: {clauses}. Already done: {', '.join(done) or 'nothing'}."


def _word(token: str) -> str:
    return _WORDS.get(token, token.removeprefix("n_").removeprefix("v_"))


def _tool_lines() -> str:
    lines = []
    for tool in TOOLS.values():
        args = {a.name: argument_schema(a) for a in tool.args}
        names = ", ".join(tool.aliases)
        lines.append(f"- {tool.name} (also {names}): {tool.describes} args {json.dumps(args)}")
    return "\n".join(lines)
