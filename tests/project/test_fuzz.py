"""The fuzzer, and what it and the table of faults have found in files: kept, so that it stays."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sixgym.agents.records import finished_record
from sixgym.envs.backend.trace_formats import TraceError
from sixgym.envs.backend.traces import Column, TraceFile
from sixgym.envs.core.errors import CheckpointError, ParamsError, SubmissionError
from sixgym.envs.event_offload.trace_files import parse_traces
from sixgym.envs.llm_mac.traffic import read_trace
from sixgym.leaderboard.submissions.tensors import check_tensors

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fuzz

    return fuzz


# ------------------------------------------------------------------------------------------- finds


def header(entry: Any) -> bytes:
    """A safetensors file of one tensor with an entry of its header."""
    text = json.dumps({"a": entry}).encode()
    return len(text).to_bytes(8, "little") + text + b"\x00" * 4


@pytest.mark.parametrize("kind", [[], {}, ["F32"], {"F32": 1}, None, 5, True])
def test_a_type_of_numbers_that_is_no_word(kind: Any) -> None:
    with pytest.raises(SubmissionError, match="a is"):
        check_tensors("w", header({"dtype": kind, "shape": [1], "data_offsets": [0, 4]}))
    check_tensors("w", header({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}))


def test_a_tensor_whose_name_would_clear_the_screen() -> None:
    text = json.dumps({"a\n\x1b[2J": 5}).encode()
    with pytest.raises(SubmissionError) as refused:
        check_tensors("w", len(text).to_bytes(8, "little") + text)
    assert str(refused.value).isprintable()


def test_a_damaged_header_of_an_array(tmp_path: Path) -> None:
    """NumPy reads it by Python's tokenizer, which has errors of its own."""
    file = tmp_path / "a.npy"
    whole = io.BytesIO()
    np.save(whole, np.zeros((3, 4), dtype=np.int64))
    data = bytearray(whole.getvalue())
    refused = 0
    for at in range(10, 80):
        spoiled = bytearray(data)
        spoiled[at] ^= 8
        file.write_bytes(spoiled)
        try:
            read_trace(str(file))
        except ParamsError:
            refused += 1
    assert refused > 30


def test_a_text_in_a_trace_that_is_nested_too_deeply() -> None:
    arrays = {"conf": np.full((4, 2), 0.5, np.float32), "y": np.array([0, 1, 0, 1], np.int8)}
    whole = io.BytesIO()
    np.savez(whole, server=np.full((4, 2), 0.5, np.float32), meta='{"a":' * 10**5, **arrays)  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="meta"):
        parse_traces(whole.getvalue(), "traces")


@pytest.mark.parametrize(
    "units", [b"a: 0x" + b"f" * 5000, b"a: !!int ''", b"a: 2001-99-99", b"? [1]\n: 2", b"[" * 3000]
)
def test_units_beside_a_trace_that_are_none(units: bytes) -> None:
    with pytest.raises(TraceError, match=r"units\.yaml"):
        TraceFile("a.csv", b"a\n1\n", units)


@pytest.mark.parametrize(
    "text", ["", "{", "5", "null", "[" * 10**5, '{"finished": 1}', '{"finished": 1, "config": 5}']
)
def test_the_record_of_a_run_that_was_altered(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        finished_record(tmp_path)


def test_the_record_of_a_run_that_goes_on(tmp_path: Path) -> None:
    assert finished_record(tmp_path) is None
    (tmp_path / "run.json").write_text('{"finished": null}')
    assert finished_record(tmp_path) is None


def test_a_column_whose_name_is_of_several_lines() -> None:
    whole = io.BytesIO()
    np.savez(whole, **{"a\n\x1b[2J": np.zeros(3)})  # type: ignore[arg-type]
    trace = TraceFile("a.npz", whole.getvalue())
    for columns in (trace.names, ("b",)):
        with pytest.raises(TraceError) as refused:
            trace.take([Column(name) for name in columns])
        assert str(refused.value).isprintable()


# ------------------------------------------------------------------------------------------ fuzzer


def test_the_judge_keeps_one_input_of_each_kind(fuzz: ModuleType, tmp_path: Path) -> None:
    def read(data: bytes) -> None:
        if data == b"ours":
            raise ParamsError("x=1: allowed: 2")
        if data != b"good":
            raise KeyError(data)

    judge = fuzz.Judge(read, tmp_path)
    for data in (b"good", b"ours", b"bad", b"bad too"):
        judge(data)
    judge.write()
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["accepted"], report["refused"]) == (1, 1)
    (kind, find), *more = report["finds"].items()
    assert not more
    assert kind.startswith("KeyError at test_fuzz.py")
    assert find["times"] == 2
    assert (tmp_path / find["file"]).read_bytes() == b"bad"


def test_changed_inputs_are_changed_and_the_same_every_time(fuzz: ModuleType) -> None:
    seed = bytes(range(64))
    one, other = (
        [fuzz.mutated(seed, draw) for _ in range(50)]
        for draw in (random.Random(3), random.Random(3))
    )
    assert one == other
    assert sum(data != seed for data in one) > 40


NEED_LIBRARIES = {"onnx", "trace-parquet"}
"""Targets whose good inputs are written by libraries that may not be there."""


def test_every_reader_takes_its_good_inputs(fuzz: ModuleType, tmp_path: Path) -> None:
    """Else what is fuzzed would be the first line of each."""
    taken = {}
    for number, (name, target) in enumerate(fuzz.TARGETS.items()):
        places = tmp_path / f"{number}a", tmp_path / f"{number}b"
        for place in places:
            place.mkdir()
        judge = fuzz.Judge(target.make(places[0]), places[0])
        for data in target.seeds(places[1]):
            judge(data)
        assert judge.finds == {}, name
        taken[name] = judge.counts["accepted"]
    assert {name for name, count in taken.items() if not count} <= NEED_LIBRARIES


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, ROOT / "benchmarks" / "fuzz.py", *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_command_prints_a_table(tmp_path: Path) -> None:
    done = command("--engine", "random", "--seconds", "1", "--target", "tensors", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tensors" in done.stdout


def test_the_engine_that_is_not_installed_is_named(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find: Callable[[str], object] = lambda name: None  # noqa: E731
    monkeypatch.setattr(fuzz.importlib.util, "find_spec", find)
    monkeypatch.setattr(sys, "argv", ["fuzz.py"])
    assert fuzz.main() == 2
    assert "pip install atheris" in capsys.readouterr().err
