"""The local server: the pages and nothing beside them, on this machine, until Ctrl-C."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sixgym.cli.main import app
from sixgym.envs.core.errors import OptionsError
from sixgym.leaderboard import benchmark
from sixgym.leaderboard.serve import HOST, make_server


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("the overview")
    (tmp_path / "secret").write_text("not for you")
    with make_server(tmp_path / "pages") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield str(server.server_address[0]), int(server.server_address[1])
        server.shutdown()
        thread.join()


def get(address: tuple[str, int], path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_the_overview_is_what_comes_first(address: tuple[str, int]) -> None:
    assert get(address, "/") == (200, b"the overview")
    assert address[0] == HOST


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "//../secret", "/..%2fsecret"])
def test_nothing_beside_the_pages_is_served(address: tuple[str, int], path: str) -> None:
    status, content = get(address, path)
    assert status == 404
    assert b"not for you" not in content


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OptionsError, match=rf"port={port}: taken; allowed: another, or 0"):
            make_server(tmp_path, port)


def test_a_port_out_of_range_is_refused_by_the_command() -> None:
    done = CliRunner().invoke(app, ["leaderboard", "serve", "--port", "70000"])
    assert done.exit_code == 2
    assert "--port" in done.output
    assert "65535" in done.output


COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sixgym.cli.main import main
main()
"""
"""``sixgym``, to which Ctrl-C counts though the tests run in the background of a shell."""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    benchmark("sixgym/RisNomaSelect-v0", tmp_path, policies=["random"], episodes=2, quiet=True)
    command = [sys.executable, "-c", COMMAND, "leaderboard", "serve", "--no-open"]
    command += ["--no-video", "--results", str(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert b"sixgym" in answer.read()
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=30) == 0
        finally:
            server.kill()
