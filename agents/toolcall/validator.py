"""The strict validator of answers, the JSON schemas it stands for, and the rule reward (27)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sixgym.agents.toolcall.language import INTEGERS, TOOLS, Argument, Call

MAX_CHARS = 4_096
"""Longest text that is looked at. [our choice: a valid call has at most 67 characters]"""

INVALID, BASE, NAME, ARGUMENTS, EXACT = -0.5, 0.1, 0.2, 0.3, 0.4
"""Parts of the rule reward. [our choice: dossier (27)], shape after ToolRL [related: 2504.13958]"""


class Verdict(NamedTuple):
    """What the validator says of a text."""

    call: Call | None
    """The call; None if the text is refused."""
    reason: str = ""
    """Why it is refused, in one line."""

    @property
    def is_valid(self) -> bool:
        """Whether the text is a call."""
        return self.call is not None


class _RefusedError(ValueError):
    """A text that is no call; the message is the reason."""


def argument_schema(argument: Argument) -> dict[str, Any]:
    """JSON schema of one argument."""
    if argument.is_integer:
        return {"type": "integer", "minimum": INTEGERS[0], "maximum": INTEGERS[-1]}
    return {"type": "string", "enum": list(argument.values)}


def parameters_schema(name: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a tool's arguments: what a function-calling API takes."""
    args = TOOLS[name].args
    return {
        "type": "object",
        "properties": {a.name: argument_schema(a) for a in args},
        "required": [a.name for a in args],
        "additionalProperties": False,
    }


def call_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of an answer: a call of any tool."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": name}, "args": parameters_schema(name)},
                "required": ["name", "args"],
                "additionalProperties": False,
            }
            for name in TOOLS
        ],
    }


def validate(text: str) -> Verdict:
    """Whether a text is exactly one valid call.

    Stricter than the schema in what JSON leaves open: a key given twice, ``4.0`` for 4 and numbers
    that are none (``NaN``) are refused. Nothing in the text is executed.

    Args:
        text: what an agent has said.
    """
    try:
        return Verdict(_call(_parsed(text)))
    except _RefusedError as refused:
        return Verdict(None, str(refused))


def validate_function_call(name: str, arguments: str) -> Verdict:
    """The same for a call as function-calling APIs return it.

    Args:
        name: of the function.
        arguments: JSON text of its arguments.
    """
    try:
        return Verdict(_call({"name": name, "args": _parsed(arguments)}))
    except _RefusedError as refused:
        return Verdict(None, str(refused))


def rule_reward(answer: Call | None, reference: Call) -> float:
    """(27): -0.5 if invalid, else .1 + .2 [name] + .3 (share of right arguments) + .4 [all right].

    The share is 0 if the name is wrong and 1 if the tool has no arguments.

    Args:
        answer: what the validator found.
        reference: the cloud agent's call.
    """
    if answer is None:
        return INVALID
    if answer.tool != reference.tool:
        return BASE
    right = [a == b for a, b in zip(answer.values, reference.values, strict=True)]
    share = sum(right) / len(right) if right else 1.0
    return BASE + NAME + ARGUMENTS * share + EXACT * (answer == reference)


def _parsed(text: str) -> Any:
    if len(text) > MAX_CHARS:
        raise _RefusedError(f"{len(text)} characters; allowed: {MAX_CHARS}")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except _RefusedError:
        raise
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"not JSON: {str(error).splitlines()[0]}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise _RefusedError(f"{', '.join(sorted({k for k in keys if keys.count(k) > 1}))}: twice")
    return dict(pairs)


def _constant(text: str) -> Any:
    raise _RefusedError(f"not JSON: {text}")


def _call(content: Any) -> Call:
    _check_keys(content, ("name", "args"), "answer")
    name = content["name"]
    if not isinstance(name, str) or name not in TOOLS:
        raise _RefusedError(f"name={name!r}: allowed: {', '.join(TOOLS)}")
    args = TOOLS[name].args
    _check_keys(content["args"], tuple(a.name for a in args), "args")
    return Call(name, tuple(_value(a, content["args"][a.name]) for a in args))


def _check_keys(content: Any, expected: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise _RefusedError(f"{where}: a {type(content).__name__}; allowed: an object")
    missing = [key for key in expected if key not in content]
    unknown = [key for key in content if key not in expected]
    if missing:
        raise _RefusedError(f"{where}: {', '.join(missing)} missing")
    if unknown:
        raise _RefusedError(f"{where}: {', '.join(unknown)} unknown")


def _value(argument: Argument, value: Any) -> int | str:
    # By type, for True == 1 and 4.0 == 4.
    kind = int if argument.is_integer else str
    if type(value) is not kind or value not in argument.values:
        allowed = "1 to 9" if argument.is_integer else ", ".join(map(str, argument.values))
        raise _RefusedError(f"args.{argument.name}={value!r}: allowed: {allowed}")
    return value
