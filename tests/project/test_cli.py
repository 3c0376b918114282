"""The command line as a user meets it: by subprocess, from an empty folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SELECT = "sixgym/RisNomaSelect-v0"
FULL = "sixgym/RisNoma-v0"


def sixgym(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sixgym", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def output(*arguments: str, cwd: Path) -> str:
    result = sixgym(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout


def refusal(*arguments: str, cwd: Path) -> str:
    """The one line on stderr of something that is refused with exit code 2."""
    result = sixgym(*arguments, cwd=cwd)
    assert result.returncode == 2, (result.stdout, result.stderr)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_list_shows_every_id_with_a_title(tmp_path: Path) -> None:
    lines = output("list", cwd=tmp_path).splitlines()
    for id in (FULL, SELECT):
        (line,) = [line for line in lines if line.startswith(f"{id} ")]
        assert "RIS" in line
        assert "100" in line.split()


def test_info_shows_parameters_with_unit_range_and_source(tmp_path: Path) -> None:
    text = output("info", FULL, cwd=tmp_path)
    (line,) = [line for line in text.splitlines() if line.startswith("  bandwidth_hz ")]
    for word in ("1e+06", "Hz", "> 0", "[standard]"):
        assert word in line
    for part in ("Spaces", "Metrics", "Scores", "Baselines", "About", "2603.21093"):
        assert part in text
    assert "independent model" in text


def test_info_shows_the_values_of_a_preset(tmp_path: Path) -> None:
    text = output("info", FULL, "--set", "preset=no_ris", cwd=tmp_path)
    (line,) = [line for line in text.splitlines() if line.startswith("  num_elements ")]
    assert line.split()[1] == "0"


def test_unknown_id_names_the_nearest(tmp_path: Path) -> None:
    line = refusal("info", "sixgym/RisNom-v0", cwd=tmp_path)
    assert line.startswith("error: ")
    assert FULL in line


def test_unknown_preset_names_the_allowed(tmp_path: Path) -> None:
    assert "no_ris" in refusal("info", FULL, "--set", "preset=none", cwd=tmp_path)


def test_evaluate_prints_numbers_that_a_script_can_read(tmp_path: Path) -> None:
    command = ("evaluate", SELECT, "--policy", "round_robin", "--episodes", "4", "--seed", "3")
    first = json.loads(output(*command, "--json", cwd=tmp_path))
    second = json.loads(output(*command, "--json", cwd=tmp_path))
    assert first == second
    assert first["first_seed"] == 3
    assert first["policy"] == "round_robin"
    headline = next(iter(first["scores"].values()))
    assert headline["low"] <= headline["value"] <= headline["high"]


def test_evaluate_refuses_an_unknown_policy_and_lists_the_known(tmp_path: Path) -> None:
    line = refusal("evaluate", SELECT, "--policy", "robin", cwd=tmp_path)
    assert "round_robin" in line


def test_evaluate_against_another_policy_tells_the_paired_difference(tmp_path: Path) -> None:
    command = ("evaluate", SELECT, "--policy", "round_robin", "--episodes", "4")
    text = output(*command, "--against", "random", cwd=tmp_path)
    assert " of round_robin less random: " in text
    told = json.loads(output(*command, "--against", "random", "--json", cwd=tmp_path))
    other = json.loads(output("evaluate", SELECT, "--episodes", "4", "--json", cwd=tmp_path))
    (name,) = list(told["scores"])[:1]
    gap = told["less"]["random"]
    expected = told["scores"][name]["value"] - other["scores"][name]["value"]
    assert gap["value"] == pytest.approx(expected)
    assert gap["low"] <= gap["value"] <= gap["high"]
    assert "each policy once" in refusal(*command, "--against", "round_robin", cwd=tmp_path)


def test_evaluate_refuses_a_parameter_out_of_range(tmp_path: Path) -> None:
    line = refusal("evaluate", SELECT, "--set", "num_users=0", "--json", cwd=tmp_path)
    for word in ("num_users=0", ">= 1", "<= 16"):
        assert word in line


def test_evaluate_refuses_no_episodes(tmp_path: Path) -> None:
    result = sixgym("evaluate", SELECT, "--episodes", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_benchmark_then_leaderboard_writes_rows_and_a_page(tmp_path: Path) -> None:
    policies = ("--policy", "random", "--policy", "round_robin", "--policy", "ao")
    text = output("benchmark", "--env", SELECT, *policies, "--episodes", "4", cwd=tmp_path)
    assert "round_robin" in text
    assert len(list(tmp_path.rglob("*.json"))) == 3
    page = Path(output("leaderboard", "build", cwd=tmp_path).strip().splitlines()[-1])
    html = "".join(p.read_text() for p in (tmp_path / page).parent.glob("*.html"))
    assert "round_robin" in html


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_render_writes_a_picture_or_a_video(suffix: str, tmp_path: Path) -> None:
    import imageio.v3 as iio

    out = tmp_path / f"out{suffix}"
    output("render", FULL, "--out", str(out), "--steps", "4", cwd=tmp_path)
    frames = iio.imread(out)
    if suffix == ".png":
        assert frames.shape == (400, 600, 3)
    else:
        assert frames.shape == (4, 400, 600, 3)
    assert frames.std() > 1.0


def test_render_refuses_another_ending(tmp_path: Path) -> None:
    assert ".mp4" in refusal("render", FULL, "--out", "film.avi", cwd=tmp_path)


def test_python_m_sixgym_and_the_script_are_the_same_command(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "sixgym"
    result = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout == output("--version", cwd=tmp_path)


def test_import_brings_environments_of_ones_own(tmp_path: Path) -> None:
    code = "import sixgym\nsixgym.register('mine/Net-v0', 'sixgym.envs.ris_noma:RisNoma', "
    (tmp_path / "mine.py").write_text(code + "max_episode_steps=9, title='Mine')\n")
    assert "mine/Net-v0" in output("--import", "mine", "list", cwd=tmp_path)
    assert "mine/Net-v0" not in output("list", cwd=tmp_path)
    assert "nobody" in refusal("--import", "nobody", "list", cwd=tmp_path)
