"""An environment of one's own: scaffolded, found by its entry point, checked, trained, ranked."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tokenize
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sixgym.cli.main import app
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.scaffold import FILES, Names, render, write

ID = "my_env/MyEnv-v0"
LINES = 60
"""Of code that a system may take a user."""


def run(
    *command: str | Path, cwd: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if path is None else {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def sixgym(
    *arguments: str, cwd: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "sixgym", *arguments, cwd=cwd, path=path)


def install(folder: Path, name: str, module: str) -> None:
    """What pip leaves beside an installed package: its name and its entry point."""
    info = folder / f"{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[sixgym.systems]\n{name} = {module}\n")


# ------------------------------------------------------------------------------------ scaffold


@pytest.mark.parametrize(
    ("name", "cls"), [("my_env", "MyEnv"), ("uplink", "Uplink"), ("a2_b3", "A2B3")]
)
def test_names_follow_from_the_package(name: str, cls: str) -> None:
    names = Names.of(name)
    assert (names.cls, names.id) == (cls, f"{name}/{cls}-v0")


@pytest.mark.parametrize(
    "name", ["", "My", "my-env", "_x", "x_", "x__y", "2x", "class", "../x", "x" * 41, "system"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(OptionsError, match="name="):
        Names.of(name)


@pytest.mark.parametrize("name", ["sixgym", "torch", "json", "queue"])
def test_a_name_that_python_has_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="Python has such a module"):
        write(Names.of(name), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "my_env").mkdir()
    done = sixgym("new", "my_env", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("allowed: another name or --into")
    assert list((tmp_path / "my_env").iterdir()) == []


def test_every_template_is_rendered_and_is_python_or_text() -> None:
    files = render(Names.of("my_env"))
    assert len(files) == len(FILES)
    for path, text in files.items():
        assert "$" not in text.replace("\n$ ", ""), path
        if path.endswith(".py"):
            ast.parse(text)
    assert "src/my_env/system.py" in files


def test_a_system_takes_less_than_sixty_lines_of_code() -> None:
    source = render(Names.of("my_env"))["src/my_env/system.py"]
    tree = ast.parse(source)
    words = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    silent = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(iter(source.splitlines(True)).__next__)
    code = {
        line
        for token in tokens
        if token.type not in (*silent, tokenize.INDENT, tokenize.DEDENT)
        for line in range(token.start[0], token.end[0] + 1)
    }
    assert len(code - words) <= LINES


IN_ONE_PROCESS = """
import json, sys
from typer.testing import CliRunner
from sixgym.agents.config import TrainConfig
from sixgym.cli.main import app
for command in json.load(sys.stdin):
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, (command, result.output, result.exception)
    print(result.stdout)
print(TrainConfig.load("my_env/ppo").env)
"""


def test_commands_find_an_installed_package_and_its_configurations(tmp_path: Path) -> None:
    write(Names.of("my_env"), tmp_path)
    source = tmp_path / "my_env" / "src"
    install(source, "my_env", "my_env")
    checks = ("row_is_single_environment", "scores_and_metrics", "wrong_parameters")
    chosen = [word for name in checks for word in ("--only", name)]
    commands = [
        ["list"],
        ["check", ID, *chosen, "--json", "report.json"],
        ["benchmark", "--env", ID, "--episodes", "3"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source)},
        input=json.dumps(commands),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"\n{ID} " in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["counts"]["pass"] == 3
    assert {path.stem for path in (tmp_path / "runs" / "results").rglob("*.json")} == {
        "random", "constant", "steady",
    }  # fmt: skip
    assert done.stdout.splitlines()[-1] == ID


def test_a_broken_package_is_named_and_breaks_nothing(tmp_path: Path) -> None:
    for name, code in (("broken", "import no_such_thing"), ("leaver", "raise SystemExit(3)")):
        (tmp_path / f"{name}.py").write_text(code + "\n")
        install(tmp_path, name, name)
    helped = sixgym("--help", cwd=tmp_path, path=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    listed = sixgym("list", cwd=tmp_path, path=tmp_path)
    assert listed.returncode == 0
    assert "sixgym/RisNoma-v0" in listed.stdout
    warned = sorted(listed.stderr.splitlines())
    assert len(warned) == 2
    assert warned[0].startswith("warning: package broken: its systems are left out")
    assert "No module named 'no_such_thing'" in warned[0]
    assert "package leaver" in warned[1]


# ---------------------------------------------------------------------------------------- check


def test_check_tells_by_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "conformance"))
    seeds = ("--only", "seed_starts_over", "--only", "another_seed_is_another_episode")
    good = CliRunner().invoke(app, ["check", "guests:Walk", *seeds])
    assert (good.exit_code, good.stdout.count("\npass ")) == (0, 2)
    file = tmp_path / "x" / "report.json"
    bad = CliRunner().invoke(app, ["check", "guests:Deaf", *seeds, "--json", str(file)])
    assert bad.exit_code == 1
    assert "the seed is ignored" in " ".join(bad.stdout.split())
    report = json.loads(file.read_text())
    assert report["passed"] is False
    assert [v["status"] for v in report["verdicts"]] == ["fail", "fail"]
    wrong = CliRunner().invoke(app, ["check", "guests:Walk", "--only", "beauty"])
    assert wrong.stdout == ""
    assert "check='beauty': unknown; allowed: can_be_made" in str(wrong.exception)


# ----------------------------------------------------------------------------------- transcript


@pytest.mark.slow
def test_the_transcript_of_a_new_user_in_a_clean_environment(tmp_path: Path) -> None:
    """All that `sixgym new` says to do next, to the letter but for what would download."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    (ours,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # It sees what is installed here, sixgym included, as a user's sees what pip has installed.
    here = sysconfig.get_paths()["purelib"]
    (ours / "shared.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    python = tmp_path / "venv" / "bin" / "python"
    told = run(python, "-m", "sixgym", "new", "my_env", cwd=tmp_path).stdout
    commands = [line.split() for line in told.splitlines() if line.startswith("  ")]
    assert [words[:2] for words in commands] == [
        ["pip", "install"], ["sixgym", "check"], ["sixgym", "train"], ["sixgym", "benchmark"],
        ["sixgym", "leaderboard"],
    ]  # fmt: skip
    printed = []
    for words in commands:
        if words[0] == "pip":
            words = [*words[:2], "--no-build-isolation", "--no-index", *words[2:]]
        done = run(python, "-m", *words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        printed.append(done.stdout)
    players = ("ppo", "steady", "random")
    rows = [line.split() for line in printed[3].splitlines()]
    ranked = [words[0] for words in rows if words[:1] and words[0] in players]
    assert ranked == list(players), printed[3]  # what has learnt stands above what has not
    page = (tmp_path / printed[4].strip().splitlines()[-1]).parent
    sites = [file.read_text() for file in page.rglob("*.html")]
    assert any(all(name in text for name in (ID, *players)) for text in sites)  # the new rows
    tested = run(python, "-m", "pytest", "-q", cwd=tmp_path / "my_env")
    assert tested.returncode == 0, tested.stdout
