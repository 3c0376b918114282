"""The benchmarks run and write what the pages read; no speed is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
ID = "sixgym/RisNoma-v0"
EXIT = "sixgym/EventOffloadExit-v0"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def run(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / f"{name}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("id", [ID, EXIT, "sixgym/EventOffloadMulti-v0"])
def test_quick_benchmark_writes_ratios_to_cartpole_of_the_same_run(tmp_path: Path, id: str) -> None:
    """Of an environment with a time limit, of one without, and of a game."""
    out = tmp_path / "speed.json"
    # A machine that others keep busy needs more than the time that the command allows itself.
    brief = ("speed", "--quick", "--minutes", 120)
    result = run(*brief, "--env", id, "--rows", 1, 4, "--out", out, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    assert report["machine"]["threads"] == 1
    cells = {(s["env"], s["rows"]): s for s in report["speeds"]}
    assert set(cells) == {(id, rows) for id in ("CartPole-v1", id) for rows in (1, 4)}
    assert all(cell["steps_per_cpu_s"] > 0 for cell in cells.values())
    assert f"{cells[id, 4]['x_cartpole']:.3f}" in result.stdout
    assert 0 < report["ppo"][id]["share"] < 1
    assert report["fresh"][id]["rss_bytes"] > 2**20
    assert report["fresh"][id]["row_bytes"] > 0
    assert report["imports"]["torch + gymnasium"]["cpu_s"] > report["imports"]["python"]["cpu_s"]


@pytest.mark.slow
def test_a_benchmark_is_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    command = ("speed", "--quick", "--steps-only", "--env", EXIT, "--rows", "1", "4")
    none = run(*command, "--minutes", "1e-9", "--out", out, cwd=tmp_path)
    assert none.returncode == 2
    assert f"left out for time, for --resume: {EXIT} at 1 rows; {EXIT} at 4 rows" in none.stderr
    assert json.loads(out.read_text())["speeds"] == []
    whole = run(*command, "--minutes", "120", "--resume", "--out", out, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    first = json.loads(out.read_text())
    assert len(first["speeds"]) == 4
    again = run(*command, "--resume", "--out", out, cwd=tmp_path)
    assert again.returncode == 0
    assert json.loads(out.read_text())["speeds"] == first["speeds"]
    out.write_text(json.dumps(first | {"machine": first["machine"] | {"cpu": "another"}}))
    refused = run(*command, "--resume", "--out", out, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("cannot resume")


def test_a_measurement_that_fails_is_stored_and_ends_nothing(
    benchmarks: None, tmp_path: Path
) -> None:
    import speed

    report = speed.Report(tmp_path / "speed.json", {"turns": 1}, resume=False)
    done = []

    def fails() -> None:
        raise RuntimeError("no\nmemory")

    jobs = iter([("one", fails), ("two", lambda: done.append(2))])
    assert speed.do_all(report, jobs, minutes=1.0) == []
    assert done == [2]
    stored = json.loads((tmp_path / "speed.json").read_text())
    assert stored["failed"] == {"one": "RuntimeError: no memory"}


def test_time_that_is_set_aside_is_not_counted(benchmarks: None) -> None:
    import timing

    began = timing.time.process_time()

    def block() -> tuple[int, float]:
        """Counts a quarter of the time that it takes."""
        start = timing.time.process_time()
        while timing.time.process_time() - start < 0.004:
            pass
        return 1, 0.75 * (timing.time.process_time() - start)

    rate = timing.one_turn(block, 0.01)
    assert timing.time.process_time() - began > 0.03
    assert rate > 500  # 250 a second, were all of it counted


def test_a_cell_pays_for_restarts_that_its_blocks_do_not_meet(benchmarks: None) -> None:
    import timing

    assert timing.Cell(lambda: (1, 0.0), 0.0, 0.0).rate(100.0) == pytest.approx(100.0)
    assert timing.Cell(lambda: (1, 0.0), 0.0, 0.01).rate(100.0) == pytest.approx(50.0)
    cell = timing.prepare("sixgym/NetGptRoute-v0", 2, "eager")
    assert cell.restart_s > 0  # an episode of 1,024 steps is longer than a block
    assert timing.calls_of(ID, 1) == 100
    assert timing.calls_of(ID, 4) == 101
    assert timing.calls_of(ID, 16_384) == 64


def native_library(id: str) -> Any:
    import limits
    from native_loop import compiled

    if shutil.which("g++") is None:
        pytest.skip("no g++ here to compile the loop")
    return compiled(limits.CASES[id].by_loop.name)


@pytest.mark.parametrize("id", [EXIT, ID])
@pytest.mark.parametrize("rows", [1, 5])
def test_hand_written_steps_are_the_environments(benchmarks: None, id: str, rows: int) -> None:
    import limits

    if rows == 1:
        assert limits.check_numpy(id, steps=200) < 1e-5
    else:
        assert limits.check_native(id, native_library(id), rows, steps=200) < 1e-3


@pytest.mark.parametrize("id", [EXIT, ID])
def test_hand_written_steps_that_differ_are_found(
    benchmarks: None, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import limits

    case = limits.CASES[id]
    tables = case.by_loop.tables

    def wrong(self: Any, system: Any) -> Any:
        """Users' events, or their tasks, of another length."""
        found = dict(tables(self, system))
        name = "num_events" if id == EXIT else "least_task"
        return {**found, name: found[name] + 1}

    monkeypatch.setattr(case.by_loop, "tables", wrong)
    with pytest.raises(AssertionError):
        limits.check_native(id, native_library(id), rows=5, steps=50)


@pytest.mark.parametrize("id", [EXIT, ID])
def test_a_hand_written_loop_leaves_subnormal_numbers_to_the_process(
    benchmarks: None, id: str
) -> None:
    native_library(id)
    assert (torch.full((64,), 1e-40) * 1.0 > 0).all()


@pytest.mark.parametrize("id", [EXIT, ID])
def test_hand_written_draws_are_the_environments(benchmarks: None, id: str) -> None:
    import limits
    import roofline

    batch, _ = roofline.started(id, 5, compile=False)
    twin = limits.CASES[id].by_loop(batch, native_library(id))
    twin.draw()
    drawn = limits.CASES[id].draws(batch.system, batch._key, batch.step)
    normals, uniforms = drawn.values() if isinstance(drawn, dict) else drawn
    torch.testing.assert_close(twin.normals.reshape(normals.shape), normals, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(twin.uniforms.reshape(uniforms.shape), uniforms)


@pytest.mark.parametrize(("id", "preset"), [(EXIT, "bursty"), (ID, "dense")])
def test_hand_written_steps_know_the_default_parameters_only(
    benchmarks: None, id: str, preset: str
) -> None:
    import limits

    from sixgym.envs.core.make import make_env
    from sixgym.envs.core.registry import entry

    env = make_env(entry(id).system, preset=preset)
    env.reset(seed=0)
    for by_hand in (
        lambda: limits.CASES[id].by_numpy(env.rows),
        lambda: limits.CASES[id].by_loop(env.rows, None),
    ):
        with pytest.raises(ValueError, match="only the default parameters"):
            by_hand()


@pytest.mark.parametrize("id", [EXIT, ID])
def test_a_hand_written_row_begins_again(benchmarks: None, id: str) -> None:
    import limits

    from sixgym.envs.core.make import make_env
    from sixgym.envs.core.registry import entry

    env = make_env(entry(id).system)
    env.reset(seed=0)
    env.action_space.seed(0)
    twin = limits.CASES[id].by_numpy(env.rows)
    actions = [env.action_space.sample() for _ in range(20)]
    played = []
    for _ in range(2):
        twin.reset()
        played.append([twin.step(action) for action in actions])
    for first, again in zip(*played, strict=True):
        np.testing.assert_array_equal(first.observation, again.observation)
        assert first[1:] == again[1:]


GENERATED = """
    for(int64_t x0=static_cast<int64_t>(0L); x0<static_cast<int64_t>(8L); x0+=static_cast<int64_t>(1L))
    {
        auto tmp0 = in_ptr0[static_cast<int64_t>(9L*x0)];
        auto tmp1 = std::log1p(tmp0);
        auto tmp2 = float(tmp1 * tmp0);
        for(int64_t x1=static_cast<int64_t>(0L); x1<static_cast<int64_t>(36L); x1+=static_cast<int64_t>(16L))
        {
            if(C10_LIKELY(x1 >= static_cast<int64_t>(0) && x1 < static_cast<int64_t>(32L)))
            {
                auto tmp3 = at::vec::Vectorized<float>(tmp2);
                auto tmp4 = tmp3.cos();
            }
            if(C10_UNLIKELY(x1 >= static_cast<int64_t>(32L) && x1 < static_cast<int64_t>(36L)))
            {
                auto tmp5 = tmp3 + tmp4;
            }
        }
    }
"""  # noqa: E501


def test_operations_of_compiled_code_are_counted(benchmarks: None) -> None:
    import loops

    found = loops.counts_of(GENERATED)
    assert found == loops.Counts(1, scalar=16, scalar_special=8, vector=24, vector_special=16)
    assert found.each(8) == {
        "loops": 1, "scalar": 2, "scalar_special": 1, "vector": 3, "vector_special": 2
    }  # fmt: skip


@pytest.mark.slow
def test_columns_are_found_to_be_taken_one_by_one(benchmarks: None) -> None:
    import loops

    from sixgym.envs.core.fuse import Fused

    table = torch.rand(64, 9)
    rows = loops.compiled_counts(lambda: Fused(lambda x: (x.exp(),), table))
    assert (rows.scalar_special, rows.vector_special) == (0.0, 64 * 9 / 16)
    columns = loops.compiled_counts(lambda: Fused(lambda x: (x[:, 1].exp() * x[:, 2],), table))
    assert (columns.scalar_special, columns.vector_special) == (64.0, 0.0)


@pytest.mark.slow
def test_limits_are_measured(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no g++ here to compile the loop")
    out = tmp_path / "limits.json"
    result = run("limits", "--quick", "--rows", 32, "--out", out, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    assert report["steps"].keys() == {EXIT, ID}
    for found in report["steps"].values():
        assert found["single"].keys() == {"eager", "numpy by hand"}
        assert found["batch"].keys() == {"eager", "C++ by hand"}
        parts = found["batch_parts_ns"]
        assert parts.keys() > {"draws", "advance", "observe", "store", "draws, C++"}
        assert ("words" in parts, "pack" in parts) in ((True, False), (False, True))
        assert min(*found["single"].values(), *found["batch"].values(), *parts.values()) > 0
    assert f"{parts['observe']:,.1f} ns a row" in result.stdout


def work_of(function: Any, *inputs: torch.Tensor) -> Any:
    import roofline

    from sixgym.envs.core.fuse import trace

    return roofline.work_of(trace(function, *inputs).graph.graph, inputs)


def test_the_work_of_a_step_is_counted(benchmarks: None) -> None:
    x, y = torch.ones(3, 4), torch.ones(4, 5)
    assert work_of(lambda x: (x + 1.0, x.reshape(-1)), x) == work_of(lambda x: (x * x,), x)
    found = work_of(lambda x, y: ((x @ y).log().sum(1),), x, y)
    assert found.bytes == 4 * (12 + 20)
    assert found.operations == 2 * 3 * 4 * 5 + 15
    assert found.special == 15
    assert work_of(lambda x: (torch.where(x > 0, x.cos(), 0.0),), x).operations == 24


def test_a_limit_is_of_memory_or_of_arithmetic(benchmarks: None) -> None:
    import roofline

    peak = roofline.Peak(copy_bytes_per_s=10.0, flop_per_s=100.0, special_per_s=5.0)
    assert roofline.Work(bytes=40, operations=100, special=5).limit_s(peak) == pytest.approx(4.0)
    assert roofline.Work(bytes=5, operations=100, special=5).limit_s(peak) == pytest.approx(2.0)


def test_the_machines_peak_is_measured(benchmarks: None) -> None:
    import roofline

    peak = roofline.measured_peak(copy_bytes=2**16, matrix=16, least_s=1e-3)
    assert min(peak.copy_bytes_per_s, peak.flop_per_s, peak.special_per_s) > 1e5


def test_every_step_can_be_counted(benchmarks: None) -> None:
    import roofline

    few, many = (roofline.counted(EXIT, rows) for rows in (2, 6))
    assert few.bytes < many.bytes
    assert many.operations == 3 * few.operations
    assert many.special == 3 * few.special


@pytest.mark.slow
def test_a_roofline_is_written_and_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "roofline.json"
    command = ("roofline", "--env", EXIT, "--rows", "4", "--out", out)
    result = run(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    step = report["steps"][EXIT]
    assert step["limit_ns"] < step["step_ns"]
    assert step["share_of_limit"] == pytest.approx(step["limit_ns"] / step["step_ns"])
    again = run(*command, "--resume", cwd=tmp_path)
    assert again.returncode == 0
    assert json.loads(out.read_text())["steps"] == report["steps"]


def test_a_peer_is_asked_for_turns(benchmarks: None, tmp_path: Path) -> None:
    """By a stand-in for its interpreter, which answers as a peer does."""
    import peers

    answers = tmp_path / "python"
    answers.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "print('a banner', flush=True)\n"
        "print(json.dumps({'version': '9'}), flush=True)\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'rate': 2.0 * float(line)}), flush=True)\n"
    )
    answers.chmod(0o755)
    with peers.peer(answers, "vmas", 4) as (version, turn):
        assert version == "9"
        assert [turn(0.5), turn(1.0)] == [1.0, 2.0]
    answers.write_text(f"#!{sys.executable}\nimport nothing_of_that_name\n")
    with (
        pytest.raises(RuntimeError, match="vmas: ModuleNotFoundError"),
        peers.peer(answers, "vmas", 4),
    ):
        pass


def test_without_peers_it_is_said(tmp_path: Path) -> None:
    result = run("peers", "--python", tmp_path / "python", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("not there; make bench-peers makes it")


def test_the_stored_speed_table_is_of_this_package() -> None:
    report = json.loads((ROOT / "docs" / "measured" / "speed.json").read_text())
    measured = {(s["env"], s["mode"], s["rows"]) for s in report["speeds"]}
    for rows in (1, 16, 256, 4096):
        assert ("CartPole-v1", "numpy", rows) in measured
        assert (ID, "eager", rows) in measured
        assert (ID, "compiled", rows) in measured
    assert np.isfinite([s["steps_per_cpu_s"] for s in report["speeds"]]).all()
