"""Every command and every line of Python of docs/leaderboard.md works as it stands there."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sixgym.cli.main import app
from sixgym.leaderboard.protocol import TOLERANCE
from sixgym.leaderboard.submissions import files
from sixgym.leaderboard.submissions.schema import Submission

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "leaderboard.md").read_text()
SMALLER = {
    "benchmark": ["--episodes", "2", "--policy", "random", "--policy", "round_robin"],
    "submit": ["--episodes", "2"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks("python")))
    runpy.run_path(str(script))
    lines = [shlex.split(line)[2:] for block in blocks("console") for line in block.splitlines()]
    assert len(lines) == 6
    for words in lines:
        extra = SMALLER.get(words[0], SMALLER.get(words[1], []))
        done = CliRunner().invoke(app, [*words, *extra])
        assert done.exit_code == 0, (words, done.output, done.exception)


def test_the_manifest_of_the_page_is_one() -> None:
    (text,) = blocks("yaml")
    assert Submission.model_validate(yaml.safe_load(text)).name == "my_agent"
    assert text.strip() in PAGE.split("write_text(")[1]


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"more than {files.MOST_FILES} files, {files.FILE_BYTES // 1024**2} MiB" in PAGE
    assert f"{files.TOTAL_BYTES // 1024**2} MiB in all, or {files.RATIO} bytes" in PAGE
    assert f"more than {TOLERANCE.episode:.1%}".replace("%", " %") in PAGE
    assert f"about {TOLERANCE.changed:.0%}".replace("%", " %") in PAGE
    assert f"by {TOLERANCE.score:.2%}".replace("%", " %") in PAGE
