"""A client of any OpenAI-compatible server: requests, retries, errors, and what it all cost.

It knows no environment: a request is messages and further fields of the body (tools, constraints,
log-probabilities), a reply is what the model said and the tools it called.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import httpx

from sixgym.agents.llm.replies import Reply, Request, Usage, read_reply, retry_after, words
from sixgym.agents.llm.settings import EndpointSettings
from sixgym.envs.core.errors import EndpointError

TOO_MANY, NOT_IMPLEMENTED = 429, 501
SHOWN_CHARS = 200
"""How much of a server's words an error repeats."""


class _Again(NamedTuple):
    """A try that failed in a way that may pass."""

    reason: str
    status: int | None
    wait_s: float
    """How long the server wants to be left alone; 0 if it does not say."""


class _Bearer(httpx.Auth):
    """Puts the key into the header at the last moment; the key is kept nowhere."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {_key(self._variable)}"
        yield request


class Endpoint:
    """A connection to one server; safe to use from several threads.

    Args:
        settings: where it is and how it is asked.
        sleep: waits some seconds.

    Raises:
        EndpointError: the environment variable of the key is not set, or holds no key.
    """

    def __init__(
        self, settings: EndpointSettings, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        if settings.api_key_env:
            _key(settings.api_key_env)
        self._url = f"{settings.base_url}/chat/completions"
        self._http = httpx.Client(
            timeout=settings.timeout_s,
            auth=_Bearer(settings.api_key_env) if settings.api_key_env else None,
            limits=httpx.Limits(max_connections=settings.max_parallel),
        )
        self._sleep = sleep
        self._jitter = random.Random()
        self._lock = threading.Lock()
        self._usage = Usage()
        weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        return f"Endpoint({self.settings.model!r} at {self.settings.base_url})"

    @property
    def usage(self) -> Usage:
        """What requests have cost so far."""
        with self._lock:
            return self._usage

    def chat(self, request: Request) -> Reply:
        """Ask once, trying again where that may help.

        Time-outs, lost connections, status 429 and 5xx are tried again after a wait that doubles
        each time, is shortened by chance (so that many clients do not come back together), and is
        as long as the server asks for by ``Retry-After``.

        Raises:
            EndpointError: the last try failed; the server refuses; or what it answers is no JSON
                or lacks what an answer must have.
        """
        began = time.monotonic()
        try:
            reply = self._read(self._sent(self._body(request)))
        except EndpointError:
            self._count(failures=1, seconds=time.monotonic() - began)
            raise
        prices = self.settings
        self._count(
            calls=1,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            uncounted=int(not reply.is_counted),
            seconds=time.monotonic() - began,
            cost=reply.prompt_tokens * prices.prompt_price
            + reply.completion_tokens * prices.completion_price,
        )
        return reply

    def chat_many(self, requests: Sequence[Request]) -> list[Reply]:
        """Ask several questions side by side; replies in their order.

        Raises:
            EndpointError: one failed, see `chat`; those that had not begun are not sent.
        """
        if not requests:
            return []
        workers = min(self.settings.max_parallel, len(requests))
        with ThreadPoolExecutor(workers, thread_name_prefix="endpoint") as pool:
            futures = [pool.submit(self.chat, request) for request in requests]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ------------------------------------------------------------------------------------ inside

    def _body(self, request: Request) -> bytes:
        s = self.settings
        limits = {"max_tokens": s.max_tokens, "seed": s.seed}
        body = {
            **s.extra,
            "model": s.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": s.temperature,
            **{name: value for name, value in limits.items() if value is not None},
            **request.fields,
        }
        return json.dumps(body).encode()

    def _sent(self, body: bytes) -> httpx.Response:
        """The answer of the first try that gets one."""
        failed = 0
        while isinstance(result := self._once(body), _Again):
            failed += 1
            if failed > self.settings.retries:
                raise self._error(result.reason, result.status, f" (tries: {failed})")
            self._sleep(self._wait(failed - 1, result))
            self._count(retries=1)
        return result

    def _once(self, body: bytes) -> httpx.Response | _Again:
        try:
            headers = {"Content-Type": "application/json"}
            response = self._http.post(self._url, content=body, headers=headers)
        except httpx.TimeoutException:
            return _Again(f"no answer within timeout_s={self.settings.timeout_s}", None, 0.0)
        except httpx.TransportError as error:
            return _Again(f"no connection: {str(error) or type(error).__name__}", None, 0.0)
        except httpx.RequestError as error:
            raise self._error(f"unreadable answer: {error}") from None
        status = response.status_code
        if response.is_success:
            return response
        reason = f"status {status}: {words(response)}"
        if status == TOO_MANY or (status >= 500 and status != NOT_IMPLEMENTED):
            return _Again(reason, status, retry_after(response))
        hints = {
            401: f"; check the key in api_key_env={self.settings.api_key_env!r}",
            404: "; check base_url, which usually ends with /v1, and model",
        }
        raise self._error(reason, status, hints.get(status, ""))

    def _wait(self, place: int, failed: _Again) -> float:
        """Seconds to wait after a failed try; ``place`` counts from 0."""
        longest = self.settings.max_wait_s
        if failed.wait_s > longest:
            asked = f"; asks to wait {failed.wait_s:g} s; allowed: max_wait_s={longest:g}"
            raise self._error(failed.reason, failed.status, asked)
        wait = min(self.settings.backoff_s * 2.0**place, longest) * self._jitter.uniform(0.5, 1.0)
        return max(wait, failed.wait_s)

    def _read(self, response: httpx.Response) -> Reply:
        try:
            return read_reply(response)
        except EndpointError as error:
            problem = str(error)
        # Outside the handler: the first error may repeat a secret and must not be the context.
        raise self._error(problem, response.status_code)

    def _error(self, reason: str, status: int | None = None, hint: str = "") -> EndpointError:
        """What to raise, with the key taken out of whatever the server said."""
        variable = self.settings.api_key_env
        key = os.environ.get(variable, "").strip() if variable else ""
        shown = " ".join((reason.replace(key, "***") if key else reason).split())[:SHOWN_CHARS]
        return EndpointError(f"{self._url}: {shown}{hint}", status)

    def _count(self, **more: float) -> None:
        with self._lock:
            now = self._usage
            self._usage = replace(now, **{k: getattr(now, k) + v for k, v in more.items()})


def _key(variable: str) -> str:
    """The key in an environment variable.

    Raises:
        EndpointError: there is none, or it cannot be one.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EndpointError(f"api_key_env={variable!r}: not set in the environment, or empty")
    # A header with other characters is refused further down, with the header in the message.
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EndpointError(f"api_key_env={variable!r}: holds characters that no key has")
    return key
