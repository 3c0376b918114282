"""The pages on a local server: for this machine only, until it is interrupted."""

from __future__ import annotations

import errno
import functools
import http.server
from pathlib import Path
from typing import Any

from sixgym.envs.core.errors import OptionsError

HOST = "127.0.0.1"
"""Nobody else can reach it."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files of one folder, says nothing of it, and lets nothing be kept."""

    def end_headers(self) -> None:
        # Pages are made again under the same name.
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def make_server(folder: Path | str, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of a folder's files, ready to ``serve_forever``.

    Args:
        folder: of the pages.
        port: where it listens; 0 is any that is free.

    Raises:
        OptionsError: the port is taken, or not ours to take.
    """
    handler = functools.partial(_Quiet, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        reasons = {errno.EADDRINUSE: "taken", errno.EACCES: "not allowed"}
        reason = reasons.get(error.errno or 0, str(error.strerror))
        raise OptionsError(f"port={port}: {reason}; allowed: another, or 0 for any") from None
    except OverflowError:
        raise OptionsError(f"port={port}: allowed: 0 to 65535") from None
