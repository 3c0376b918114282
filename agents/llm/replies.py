"""What goes to a model's server and what comes back, checked field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from sixgym.envs.core.errors import EndpointError

if TYPE_CHECKING:
    import httpx

NO_FIELDS: Mapping[str, Any] = {}


class Request(NamedTuple):
    """One question to a model."""

    messages: Sequence[Mapping[str, Any]]
    """As in the API: ``{"role": "user", "content": ...}``."""
    fields: Mapping[str, Any] = NO_FIELDS
    """Further fields of the body, such as ``tools``; they win over the settings."""


class Reply(NamedTuple):
    """What a model answered."""

    text: str
    """Empty where it only called tools, or refused."""
    tool_calls: list[dict[str, Any]]
    """As in the API; arguments are JSON in a string, unchecked."""
    finish_reason: str
    """``stop``, ``length``, ``tool_calls``, ...; empty if the server does not say."""
    logprobs: Any
    """As the server sent them, unchecked; None if it sent none."""
    prompt_tokens: int
    """As the server counts; 0 if it does not say."""
    completion_tokens: int
    """The same of the answer."""
    is_counted: bool
    """Whether it says."""


@dataclass(frozen=True)
class Usage:
    """What requests have cost so far.

    Attributes:
        calls: requests that were answered.
        failures: requests that were not, in the end.
        retries: tries after the first, of both.
        prompt_tokens: as the server counts.
        completion_tokens: as the server counts.
        uncounted: answers that did not say how many tokens they took.
        seconds: time spent in requests, waits included; requests side by side add up.
        cost: tokens times the prices of the settings.
    """

    calls: int = 0
    failures: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    seconds: float = 0.0
    cost: float = 0.0


class _Message(BaseModel):
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None


class _Answer(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


class _Tokens(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


def read_reply(response: httpx.Response) -> Reply:
    """The model's answer in a response of the server.

    Raises:
        EndpointError: it is no JSON, or lacks what an answer must have. The message is not cleaned
            of secrets that the server repeats.
    """
    status = response.status_code
    try:
        content = response.json()
    except ValueError:
        raise EndpointError(f"answer is not JSON: {words(response)}", status) from None
    try:
        answer = _Answer.model_validate(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, wrong["loc"])) or "answer"
        raise EndpointError(f"answer is no completion: {name}: {wrong['msg']}", status) from None
    first = answer.choices[0]
    try:
        tokens = _Tokens.model_validate(answer.usage)
    except ValidationError:  # not every server counts
        tokens = None
    return Reply(
        text=first.message.content or "",
        tool_calls=first.message.tool_calls or [],
        finish_reason=first.finish_reason or "",
        logprobs=first.logprobs,
        prompt_tokens=tokens.prompt_tokens if tokens else 0,
        completion_tokens=tokens.completion_tokens if tokens else 0,
        is_counted=tokens is not None,
    )


def words(response: httpx.Response) -> str:
    """What a server says about a problem."""
    try:
        content = response.json()
    except ValueError:
        return response.text or "(empty)"
    for name in ("error", "message", "detail"):
        if isinstance(content, dict) and content.get(name):
            content = content[name]
    return content if isinstance(content, str) else json.dumps(content)


def retry_after(response: httpx.Response) -> float:
    """Seconds that ``Retry-After`` asks for, as a number or a date; 0 where it says nothing."""
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
