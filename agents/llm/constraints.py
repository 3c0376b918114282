"""How servers are asked to answer in a language, and which way one understands.

====================== ===========================================================================
``structured_outputs`` grammar or choice: vLLM
``guided_*``           the same: vLLM before 0.12
``grammar``            GBNF: the server of llama.cpp
``response_format``    a JSON schema with one property, an enumeration of all texts: OpenAI, others
====================== ===========================================================================

Many servers ignore fields that they do not know, so that status 200 proves nothing. A way counts
as understood where the answer to a question follows a constraint that has nothing to do with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sixgym.agents.llm.endpoint import Endpoint
from sixgym.agents.llm.languages import parse_language
from sixgym.agents.llm.replies import Request
from sixgym.envs.core.errors import EndpointError

MAX_CHOICES = 250
"""Longest list of texts that is sent; OpenAI bounds longer enumerations by their letters too."""
REFUSALS = (400, 415, 422, 501)
"""Statuses by which servers refuse a field."""
ANSWER = "answer"
"""The property of the JSON schema."""


class Constraint(NamedTuple):
    """The texts that a model may answer with."""

    gbnf: str
    """As a grammar."""
    texts: tuple[str, ...] | None
    """As a list; None where there are more than `MAX_CHOICES`."""


@lru_cache(maxsize=4096)
def of_grammar(lark: str) -> Constraint:
    """The constraint of a right-linear lark grammar, see `sixgym.agents.llm.languages`.

    Raises:
        OptionsError: the text is something else.
    """
    language = parse_language(lark)
    return Constraint(language.gbnf(), language.texts(MAX_CHOICES))


def of_texts(texts: Sequence[str]) -> Constraint:
    """The constraint of a list of texts."""
    gbnf = f"root ::= {' | '.join(json.dumps(text) for text in texts)}\n"
    return Constraint(gbnf, tuple(texts))


@dataclass(frozen=True)
class Dialect:
    """One way of asking.

    Attributes:
        name: what reports call it.
        kind: as in the settings: grammar, choice or json_schema.
        fields: the fields of the request's body; None where the constraint cannot be said.
        read: the text in the model's answer; empty where there is none.
    """

    name: str
    kind: str
    fields: Callable[[Constraint], Mapping[str, Any] | None]
    read: Callable[[str], str] = str.strip


def _listed(
    fields: Callable[[list[str]], Mapping[str, Any]],
) -> Callable[[Constraint], Mapping[str, Any] | None]:
    """Fields of those constraints that have a list of texts."""
    return lambda c: None if c.texts is None else fields(list(c.texts))


def _schema(texts: list[str]) -> Mapping[str, Any]:
    schema = {
        "type": "object",
        "properties": {ANSWER: {"type": "string", "enum": texts}},
        "required": [ANSWER],
        "additionalProperties": False,
    }
    form = {"name": "utterance", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def _from_json(text: str) -> str:
    try:
        said = json.loads(text)[ANSWER]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return said if isinstance(said, str) else ""


DIALECTS = (
    Dialect(
        "structured_outputs.grammar",
        "grammar",
        lambda c: {"structured_outputs": {"grammar": c.gbnf}},
    ),
    Dialect("guided_grammar", "grammar", lambda c: {"guided_grammar": c.gbnf}),
    Dialect("grammar", "grammar", lambda c: {"grammar": c.gbnf}),
    Dialect(
        "structured_outputs.choice",
        "choice",
        _listed(lambda texts: {"structured_outputs": {"choice": texts}}),
    ),
    Dialect("guided_choice", "choice", _listed(lambda texts: {"guided_choice": texts})),
    Dialect("response_format", "json_schema", _listed(_schema), _from_json),
)
"""In the order in which they are tried."""

_QUESTION = "Say hello."
_ANSWER = "plum 7"


def find_dialect(endpoint: Endpoint) -> Dialect | None:
    """The first way of asking that a server understands, of those that its settings allow.

    Asks at most one short question a way.

    Returns:
        None where the settings say ``none``, or ``auto`` and the server understands nothing.

    Raises:
        EndpointError: the server cannot be asked at all, or does not understand what the settings
            insist on.
    """
    wanted = endpoint.settings.constrained
    tried = [d for d in DIALECTS if wanted in ("auto", d.kind)]
    for dialect in tried:
        if _understands(endpoint, dialect):
            return dialect
    if wanted in ("auto", "none"):
        return None
    names = ", ".join(d.name for d in tried)
    raise EndpointError(
        f"constrained={wanted!r}: {endpoint.settings.base_url} understands none of {names}; "
        "allowed: 'auto', 'none'"
    )


def _understands(endpoint: Endpoint, dialect: Dialect) -> bool:
    fields = dialect.fields(of_texts([_ANSWER]))
    assert fields is not None
    try:
        reply = endpoint.chat(Request([{"role": "user", "content": _QUESTION}], fields))
    except EndpointError as error:
        if error.status in REFUSALS:
            return False
        raise
    return dialect.read(reply.text) == _ANSWER
