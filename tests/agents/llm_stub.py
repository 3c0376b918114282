"""A server of chat completions on this machine, as strange as a test wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from sixgym.agents.llm.settings import EndpointSettings


class Answer(NamedTuple):
    """What the server sends."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = {}  # noqa: RUF012


def said(text: str | None, *, logprobs: Any = None, **message: Any) -> Answer:
    """An ordinary completion of 7 + 3 tokens."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text, **message},
        "logprobs": logprobs,
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return Answer(
        body={"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}
    )


class Stub:
    """The running server.

    Attributes:
        script: answers to the next requests, in turn; each an `Answer`, or a function of the body.
        default: answers when the script is over.
        bodies: of the requests so far.
        headers: of the requests so far.
    """

    def __init__(self, default: Callable[[dict[str, Any]], Answer]) -> None:
        self.default = default
        self.script: list[Answer | Callable[[dict[str, Any]], Answer]] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.port = 0

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        with self.lock:
            self.bodies.append(body)
            self.headers.append(headers)
            step = self.script.pop(0) if self.script else self.default
        if path != "/v1/chat/completions":
            return Answer(404, {"detail": "Not Found"})
        return step if isinstance(step, Answer) else step(body)

    def settings(self, **changes: Any) -> EndpointSettings:
        base = {"base_url": f"http://127.0.0.1:{self.port}/v1", "model": "stub"}
        quick = {"timeout_s": 5.0, "backoff_s": 0.001, "retries": 2, "constrained": "none"}
        return EndpointSettings.model_validate({**base, **quick, **changes})


@contextmanager
def serving(default: Callable[[dict[str, Any]], Answer]) -> Iterator[Stub]:
    """A server for the time of a test."""
    stub = Stub(default)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = stub.answer(self.path, dict(self.headers), body)
            content = (
                answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            )
            try:
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has given up

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
