"""Examples of the README and the pages run; the pages build without a warning."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sixgym.envs.core.registry import entries

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/install.md",
    "docs/tutorials/train.md",
    "docs/tutorials/benchmark.md",
    "docs/tutorials/register.md",
    "docs/tutorials/log.md",
    "docs/traces.md",
    "docs/physics.md",
    "docs/libraries.md",
    "docs/reliability.md",
)
SYSTEMS = tuple(
    f"docs/environments/{name}.md"
    for name in ("ris_noma", "event_offload", "llm_mac", "netgpt", "twin_mobility")
)
COMMANDS = (*PAGES, "docs/environments/twin_mobility.md")
"""Pages whose commands run; on the other systems' pages some wait for what a reader brings."""
WITH_TORCHRL = ("docs/libraries.md", "docs/tutorials/train.md")
"""Pages whose Python needs the extra ``torchrl``."""
SMALLER = {
    "train": shlex.split(
        "--set seeds=[0] --set total_steps=64 --set num_envs=8 --set evaluation.episodes=2 "
        "--set hyperparameters.n_steps=4 --set hyperparameters.batch_size=32"
    ),
    "tune": shlex.split("--trials 2 --minutes 0.01 --set evaluation.episodes=2"),
    "evaluate": ["--episodes", "2"],
    "benchmark": ["--episodes", "2"],
    "claims": ["--help"],
    "check": ["--only", "scores_and_metrics", "--only", "wrong_parameters"],
    "dataset": ["--episodes", "2"],
    "render": ["--steps", "2"],
}
"""What is added to a command of the pages, so that it runs in seconds."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [*PAGES, *SYSTEMS])
def test_python_of_a_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    if page in WITH_TORCHRL and importlib.util.find_spec("torchrl") is None:
        pytest.skip("torchrl is not installed")
    code = "\n".join(blocks(page, "python"))
    assert code
    script = tmp_path / "page.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def commands() -> list[list[str]]:
    """Every command of the pages once, in the order in which a reader meets them."""
    lines = "\n".join(block for page in COMMANDS for block in blocks(page, "console")).splitlines()
    found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [list(c) for c in dict.fromkeys(tuple(w[1:]) for w in found if w[:1] == ["sixgym"])]


def smaller(words: list[str]) -> list[str]:
    """What is added to a command of the pages, so that it runs in seconds."""
    command = words[2] if words[0] == "--import" else words[0]
    if words == ["leaderboard", "build"]:
        return ["--no-video"]
    if words == ["check", "CartPole-v1"]:
        return ["--only", "seed_starts_over"]
    if command == "benchmark" and "sixgym/RisNomaSelect-v0" in words:
        return [*SMALLER[command], "--policy", "random", "--policy", "round_robin"]
    if words == ["train", "twin_mobility/mappo"]:
        return [*SMALLER[command], "--set", "env_kwargs.max_episode_steps=16"]
    if words[:2] == ["train", "netgpt/bc"]:  # imitation has no rollouts to make shorter
        return [*SMALLER[command][:8], "--set", "hyperparameters.n_epochs=2"]
    return SMALLER.get(command, [])


def install(package: Path) -> None:
    """What `pip install -e` leaves for an interpreter that has the package on its path."""
    info = package / "src" / f"{package.name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 0.1.0\n")
    point = f"[sixgym.systems]\n{package.name} = {package.name}\n"
    (info / "entry_points.txt").write_text(point)


ONE_PROCESS = """
import json, sys
from sixgym.cli.main import main
for words in json.load(sys.stdin):
    print("$ sixgym", *words, file=sys.stderr, flush=True)
    sys.argv = ["sixgym", *words]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""
"""Runs commands one after the other: what an interpreter costs is paid once."""


def test_commands_of_the_pages_run_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "uplink.py").write_text(blocks("docs/tutorials/register.md", "python")[0])
    assert {words[0] for words in commands()} >= {*SMALLER, "leaderboard", "new"}
    is_new = [words[0] == "new" for words in commands()]
    played = [[*words, *smaller(words)] for words in commands()]
    # What `sixgym new` writes is installed by pip on the page, hence before a later interpreter.
    for group in (True, False):
        result = subprocess.run(
            [sys.executable, "-c", ONE_PROCESS],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "my_env" / "src")},
            input=json.dumps([w for w, new in zip(played, is_new, strict=True) if new is group]),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        if group:
            install(tmp_path / "my_env")


def test_commands_that_make_offers_are_those_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


# ------------------------------------------------------------------------------- links and parts


def tool(path: str) -> ModuleType:
    sys.path.insert(0, str((ROOT / path).parent))
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITTEN = [
    str(file.relative_to(ROOT))
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "_generated" not in file.parts  # written when the pages are built, for another folder
]


@pytest.mark.parametrize("page", WRITTEN)
def test_files_that_a_page_links_to_are_there(page: str) -> None:
    file = ROOT / page
    targets = re.findall(r"\]\(([^)#\s]+)", re.sub(r"```.*?```", "", file.read_text(), flags=re.S))
    here = [target for target in targets if "://" not in target]
    assert [target for target in here if not (file.parent / target).exists()] == []


def test_every_function_of_the_physics_page_exists() -> None:
    text = (ROOT / "docs" / "physics.md").read_text()
    names = re.findall(r"\{(?:func|class)\}`~([\w.]+)`", text)
    assert len(names) > 50
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


def test_home_and_readme_show_every_environment() -> None:
    ours = [found for found in entries() if found.system.startswith("sixgym.envs.")]
    cards, readme = tool("docs/generate.py").cards(), (ROOT / "README.md").read_text()
    for found in ours:
        name = found.id.rpartition("/")[2]
        assert f'<img src="_static/pictures/{name}.png"' in cards
        assert f"<strong>{name}</strong>" in cards
        assert f"[`{found.id}`](docs/environments/" in readme
    assert cards.count('class="card"') == len(ours)


@pytest.mark.slow
def test_table_of_the_readme_is_that_of_the_stored_rows() -> None:
    readme = tool("tools/readme.py")
    text = (ROOT / "README.md").read_text()
    assert readme.renewed(text) == text, "python tools/readme.py writes it anew"


def test_readme_without_its_marks_is_refused() -> None:
    readme = tool("tools/readme.py")
    with pytest.raises(ValueError, match="0 times; allowed: once"):
        readme.renewed("# sixgym\n")


def test_broken_links_and_requests_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="b.html#y">1</a><a href="#x">2</a><a href="#z">3</a>'
        '<a href="c.html">4</a><a href="https://example.org">5</a>'
        '<script src="https://example.org/x.js"></script><img src="no.png">'
        "<style>@import 'https://example.org/x.css';</style>"
    )
    (tmp_path / "b.html").write_text('<h1 id="Y">b</h1>')
    (tmp_path / "s.css").write_text("@font-face { src: url(//example.org/f.woff2) }")
    assert tool("tools/links.py").faults(tmp_path) == [
        "a.html: asks another machine for https://example.org/x.js",
        "a.html: there is no no.png",
        "a.html: asks another machine for https://example.org/x.css",
        "a.html: no such place: b.html#y",
        "a.html: no such place: #z",
        "a.html: there is no c.html",
        "s.css: asks another machine for //example.org/f.woff2",
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built without a warning."""
    out = tmp_path_factory.mktemp("site")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    result = subprocess.run([*sphinx, "docs", str(out)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_links_arrive_and_nothing_is_asked_of_another_machine(site: Path) -> None:
    assert tool("tools/links.py").faults(site) == []


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_pages_of_systems_have_their_parts(site: Path) -> None:
    for name in ("ris_noma", "event_offload", "llm_mac", "netgpt", "twin_mobility"):
        page = (site / "environments" / f"{name}.html").read_text()
        for heading in (
            "Description", "Action Space", "Observation Space", "Rewards", "Starting State",
            "Episode End", "Arguments", "Baselines and bounds", "Claims", "Speed",
            "Version History", "References",
        ):  # fmt: skip
            assert f"<h2>{heading}" in page, (name, heading)
        assert "<img" in (site / "notebooks" / f"{name}.html").read_text()
