"""A language model behind an OpenAI-compatible server as the edge or the cloud agent of the task.

A request goes out in words with the tools (`sixgym.agents.toolcall.prompts`); the tool call that
comes back, or the JSON text where the model calls no tool, is read by the same strict validator as
every other answer. Whatever it refuses is an invalid draft, and so is an answer that does not come.

Some servers call a tool only when told to: ``extra: {tool_choice: required}`` in the endpoint's
settings. Any chat server can be asked for the text itself by ``ask: json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from sixgym.agents.llm.endpoint import TOO_MANY, Endpoint
from sixgym.agents.llm.replies import Reply, Request, Usage
from sixgym.agents.toolcall.language import Call
from sixgym.agents.toolcall.prompts import messages, openai_tools
from sixgym.agents.toolcall.task import Item
from sixgym.agents.toolcall.validator import Verdict, validate, validate_function_call
from sixgym.envs.core.errors import EndpointError

REQUEST_TIMEOUT = 408


class Answer(NamedTuple):
    """What a model made of a request."""

    verdict: Verdict
    """Of the validator, or why there is no answer."""
    log_probs: tuple[float, ...]
    """Of the tokens of a text; empty where the server sends none."""
    tokens: int
    """Of the answer, as the server counts."""


class EndpointAgent:
    """Answers requests through a server.

    Args:
        endpoint: the connection; it counts what requests cost.
        ask: by the ``tools`` of the API, or for the JSON text.
        logprobs: ask for log-probabilities of the text's tokens.
    """

    def __init__(
        self, endpoint: Endpoint, ask: Literal["tools", "json"] = "tools", *, logprobs: bool = False
    ) -> None:
        self.endpoint = endpoint
        self._as_tools = ask == "tools"
        self._fields: dict[str, Any] = {"tools": openai_tools()} if self._as_tools else {}
        if logprobs:
            self._fields["logprobs"] = True

    @property
    def usage(self) -> Usage:
        """What requests have cost so far."""
        return self.endpoint.usage

    def calls(self, items: Sequence[Item]) -> list[Call | None]:
        """Calls as `sixgym.agents.toolcall.grading.grade_calls` takes them; see `answers`."""
        return [answer.verdict.call for answer in self.answers(items)]

    def answers(self, items: Sequence[Item]) -> list[Answer]:
        """Answers to requests, asked side by side, in their order.

        A request that fails for good (time-outs, overload, no sense in what came) is a missing
        answer, so that a service goes on; the endpoint counts it under ``failures``.

        Raises:
            EndpointError: the server refuses (a wrong key, model or field), or it has not answered
                a single request yet.
        """
        if not items:
            return []
        with ThreadPoolExecutor(min(self.endpoint.settings.max_parallel, len(items))) as pool:
            found = list(pool.map(self._try, items))
        failed = [f for f in found if isinstance(f, EndpointError)]
        refused = [f for f in failed if _is_refusal(f)]
        if refused or (failed and not self.usage.calls):
            raise (refused or failed)[0]
        return [Answer(Verdict(None, str(f)), (), 0) if isinstance(f, EndpointError) else f
                for f in found]  # fmt: skip

    def _try(self, item: Item) -> Answer | EndpointError:
        request = Request(messages(item, as_tools=self._as_tools), self._fields)
        try:
            reply = self.endpoint.chat(request)
        except EndpointError as error:
            return error
        return Answer(read_call(reply), _log_probs(reply.logprobs), reply.completion_tokens)


def read_call(reply: Reply) -> Verdict:
    """The one call in a reply: the tool that was called, or else the text.

    Args:
        reply: of a server; nothing in it is trusted.
    """
    if not reply.tool_calls:
        return validate(reply.text.strip())
    if len(reply.tool_calls) > 1:
        return Verdict(None, f"{len(reply.tool_calls)} tool calls; allowed: one")
    function = reply.tool_calls[0].get("function")
    name, arguments = (
        (function.get("name"), function.get("arguments"))
        if isinstance(function, dict)
        else (None, None)
    )
    if not isinstance(name, str) or not isinstance(arguments, str):
        shown = json.dumps(reply.tool_calls[0])[:80]
        return Verdict(None, f"tool call {shown}: allowed: a function with name and arguments")
    return validate_function_call(name, arguments)


def _is_refusal(error: EndpointError) -> bool:
    """Whether asking again or something else would be refused as well."""
    status = error.status
    return status is not None and 400 <= status < 500 and status not in (REQUEST_TIMEOUT, TOO_MANY)


def _log_probs(sent: Any) -> tuple[float, ...]:
    """Log-probabilities of the tokens as the API sends them; none if there is anything odd."""
    content = sent.get("content") if isinstance(sent, dict) else None
    if not isinstance(content, list):
        return ()
    values = []
    for token in content:
        value = token.get("logprob") if isinstance(token, dict) else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            return ()
        values.append(float(value))
    return tuple(values)
