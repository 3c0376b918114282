"""Examples of the README and the pages run; the pages build without a warning."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/jobs.md", "docs/own.md")
SYSTEMS = tuple(f"docs/environments/{name}.md" for name in ("event_offload", "llm_mac", "netgpt"))
SMALLER = {
    "train": shlex.split(
        "--set seeds=[0] --set total_steps=64 --set num_envs=8 --set evaluation.episodes=2 "
        "--set hyperparameters.n_steps=4 --set hyperparameters.batch_size=32"
    ),
    "evaluate": ["--episodes", "2"],
    "benchmark": ["--episodes", "2", "--policy", "random", "--policy", "round_robin"],
    "claims": ["--help"],
}
"""What is added to a command of the pages, so that it runs in seconds."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [*PAGES, *SYSTEMS])
def test_python_of_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    assert code
    script = tmp_path / "page.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def commands() -> list[list[str]]:
    """Every command of the pages once, in the order in which a reader meets them."""
    lines = "\n".join(block for page in PAGES for block in blocks(page, "console")).splitlines()
    found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [list(c) for c in dict.fromkeys(tuple(w[1:]) for w in found if w[:1] == ["sixgym"])]


def test_commands_of_the_pages_run_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "uplink.py").write_text("\n".join(blocks("docs/own.md", "python")))
    assert {words[0] for words in commands()} >= {*SMALLER, "leaderboard"}
    for words in commands():
        line = [sys.executable, "-m", "sixgym", *words, *SMALLER.get(words[0], [])]
        result = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, (words, result.stderr)


def test_commands_that_make_offers_are_those_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
def test_pages_build_without_a_warning(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    result = subprocess.run(
        [*sphinx, "docs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    for name in ("ris_noma", "event_offload", "llm_mac", "netgpt"):
        page = (tmp_path / "environments" / f"{name}.html").read_text()
        for heading in (
            "Description", "Action Space", "Observation Space", "Rewards", "Starting State",
            "Episode End", "Arguments", "Baselines and bounds", "Claims", "Speed",
            "Version History", "References",
        ):  # fmt: skip
            assert f"<h2>{heading}" in page, (name, heading)
