"""Whatever somebody brings, what is wrong with it is one line of a named error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import sixgym
from sixgym.agents.config import TrainConfig, parse
from sixgym.cli.main import app
from sixgym.envs.core.errors import LONGEST, ActionError, ConfigError, ParamsError, SixgymError
from sixgym.envs.core.registry import entries, entry

ROOT = Path(__file__).resolve().parents[2]
MAC = "sixgym/LlmMac-v0"
EXIT = "sixgym/EventOffloadExit-v0"
BATCH = "sixgym/NetGptBatch-v0"

assert sixgym.__version__


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import faults

    return faults


def wrong(faults: ModuleType, trials: Iterator[Any]) -> list[str]:
    """What came out wrong, of at least a few trials."""
    tried = [faults.judge(trial) for trial in trials]
    assert len(tried) > 20
    return [f"{t.where}: {t.input}: {t.outcome}" for t in tried if t.verdict == faults.WRONG]


# ---------------------------------------------------------------------------- a few of each surface


@pytest.mark.parametrize("surface", ["actions", "seeds", "options", "masks", "states"])
def test_calls_of_an_environment(faults: ModuleType, surface: str, tmp_path: Path) -> None:
    assert wrong(faults, faults.trials([surface], [MAC, EXIT, BATCH], 4, tmp_path)) == []


@pytest.mark.parametrize("surface", ["sb3", "pettingzoo", "torchrl", "spoken"])
def test_calls_of_other_views(faults: ModuleType, surface: str, tmp_path: Path) -> None:
    if surface == "torchrl":
        pytest.importorskip("torchrl", reason="the extra `torchrl`")
    assert wrong(faults, faults.trials([surface], [MAC], 2, tmp_path)) == []


def test_names(faults: ModuleType, tmp_path: Path) -> None:
    assert wrong(faults, faults.trials(["names"], [], 2, tmp_path)) == []


def test_parameters_and_arguments(faults: ModuleType, tmp_path: Path) -> None:
    assert wrong(faults, faults.trials(["params"], [EXIT], 4, tmp_path)) == []


def test_files(faults: ModuleType, tmp_path: Path) -> None:
    assert wrong(faults, faults.trials(["files"], [], 2, tmp_path)) == []


@pytest.mark.slow
def test_the_command(faults: ModuleType, tmp_path: Path) -> None:
    assert wrong(faults, faults.trials(["command"], [], 2, tmp_path)) == []


# --------------------------------------------------------------------- the table itself finds fault


def trial(faults: ModuleType, run: Any, *, must_fail: bool = False, after: Any = None) -> Any:
    return faults.judge(faults.Trial("s", "w", "i", run, must_fail, after))


class LongWindedError(SixgymError):
    """Says more than a line."""

    def __str__(self) -> str:
        return "two\nlines"


def test_errors_that_are_not_ours_are_wrong(faults: ModuleType) -> None:
    def raises(error: Exception) -> Any:
        def run() -> None:
            raise error

        return run

    assert trial(faults, raises(ParamsError("x=1: allowed: 2"))).verdict == faults.NAMED
    for error in (KeyError("x"), ValueError("x"), RuntimeError("x"), AssertionError("x")):
        assert trial(faults, raises(error)).verdict == faults.WRONG
    # Errors of ours make one line of what they are told; one that did not would be found.
    assert trial(faults, raises(ParamsError("two\nlines"))).outcome == "ParamsError: two lines"
    assert trial(faults, raises(LongWindedError("x"))).verdict == faults.WRONG
    assert trial(faults, raises(ParamsError(""))).verdict == faults.WRONG
    # Gymnasium's contract asks for these two of a reset mask, and of nothing else.
    assert trial(faults, raises(TypeError("reset_mask: list"))).verdict == faults.NAMED
    assert trial(faults, raises(TypeError("mask: list"))).verdict == faults.WRONG


def test_accepting_what_must_be_refused_is_wrong(faults: ModuleType) -> None:
    assert trial(faults, lambda: None).verdict == faults.ACCEPTED
    assert trial(faults, lambda: None, must_fail=True).verdict == faults.WRONG


def test_damage_left_behind_is_wrong(faults: ModuleType) -> None:
    def harm() -> None:
        raise AssertionError("a file was written")

    def refuse() -> None:
        raise ParamsError("x=1: allowed: 2")

    assert trial(faults, refuse, after=harm).verdict == faults.WRONG
    env = gym.make(MAC)
    inner = env.unwrapped

    def careless(action: Any) -> Any:
        inner.rows._step = inner.rows.step + 1  # type: ignore[attr-defined]
        raise ActionError("action: refused, too late")

    env.step = careless  # type: ignore[method-assign]
    found = trial(faults, faults.faults_calls.stepping(env, None))
    assert found.verdict == faults.WRONG
    assert "rows.step" in found.outcome


def test_random_command_lines_are_of_every_command_and_the_same_every_time(
    faults: ModuleType,
) -> None:
    lines = list(faults.faults_command.random_lines(200))
    assert lines == list(faults.faults_command.random_lines(200))
    commands = {"list", "info", "train", "tune", "evaluate", "leaderboard", "new"}
    assert commands <= {line[0] for line in lines}


def test_the_same_inputs_are_drawn_every_time(faults: ModuleType) -> None:
    from faults_inputs import anything, drawn

    one, other = (repr(drawn(anything(), 30)) for _ in range(2))
    assert one == other


@pytest.mark.slow
def test_command_prints_a_table_and_says_by_its_code(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    script = [sys.executable, ROOT / "benchmarks" / "faults.py", "--quick", "--only", "seeds"]
    result = subprocess.run(
        [*script, "--env", MAC, "--out", out], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout
    report = json.loads(out.read_text())
    assert report["wrong"] == []
    assert report["trials"] == sum(row["trials"] for row in report["rows"])
    assert "SeedError" in result.stdout


def test_the_stored_table_has_nothing_wrong_in_it() -> None:
    stored = ROOT / "docs" / "measured" / "faults.json"
    if not stored.exists():
        pytest.skip("no table is stored")
    report = json.loads(stored.read_text())
    assert report["wrong"] == []
    assert report["trials"] > 1000


# ------------------------------------------------------------------------------------------ fuzzing


def refusal(run: Callable[[], object], error: type[SixgymError]) -> str:
    """What an error of a kind says; nothing if there is none; any other error goes on."""
    try:
        run()
    except error as refused:
        return str(refused)
    return ""


def test_a_message_quotes_no_more_than_a_person_reads() -> None:
    error = ParamsError("x=" + "9" * 10**6)
    assert len(str(error)) < LONGEST + 20
    assert str(error).startswith("x=999")


@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda b: b.decode("latin-1")))
def test_any_text_is_plain_data_or_a_configuration_error(text: str) -> None:
    assert "\n" not in refusal(lambda: parse(text, "text"), ConfigError)


WORDS = st.sampled_from(
    ["&a ", "*a", "[", "]", "{", "}", ": ", "? ", "- ", "\n", "  ", "!!int ", "!!map ", "|", ">",
     "name", "9" * 50, "0x1f", "1e5", ".nan", "~", "'", '"', "---", "...", "#", "%", "@", "<<"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=25).map("".join))
def test_any_yaml_is_plain_data_or_a_configuration_error(text: str) -> None:
    def read() -> None:
        found = parse(text, "text")
        TrainConfig.create(found if isinstance(found, dict) else {})

    assert "\n" not in refusal(read, SixgymError)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
NESTED = st.recursive(
    VALUES,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_value_of_any_parameter_is_taken_or_named(data: st.DataObject) -> None:
    id = data.draw(st.sampled_from([e.id for e in entries() if e.id.startswith("sixgym/")]))
    kind = entry(id).load_system().params_type
    name = data.draw(st.sampled_from(sorted(kind.model_fields)))
    value = data.draw(NESTED)
    assert "\n" not in refusal(lambda: kind.create(**{name: value}), ParamsError)


CLI_WORDS = st.sampled_from(
    ["list", "info", "evaluate", "render", "check", "leaderboard", "verify", "--set", "--policy",
     "--episodes", "0", "-1", "x", MAC, "sixgym/No-v0", "--help", "--seed", "nan", "a=1", "a.b",
     "--out", "", "--", "-", "--only", "--json", "\u00e9"]
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(CLI_WORDS, max_size=5).filter(lambda w: "check" not in w and "evaluate" not in w))
def test_any_command_line_is_done_or_explained(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    """Nothing long is run: what plays or checks is in the table, with arguments that are wrong."""
    runner = CliRunner()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cli"))
        result = runner.invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit | SixgymError)
