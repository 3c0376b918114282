"""Checkpoint files: whole or refused, and never half of each."""

from __future__ import annotations

import errno
import json
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sixgym.agents import checkpoint
from sixgym.agents.checkpoint import Snapshot
from sixgym.envs.core.errors import CheckpointError

SHARED = torch.arange(6.0)
STATE = Snapshot(
    {"a": SHARED, "b": SHARED[:3], "odd": torch.tensor([1, 2], dtype=torch.int64)},
    {"num_timesteps": 12, "gamma": 0.1 + 0.2, "big": 2**120, "none": None},
)

REPLACE = Path.replace


def later(step: int) -> Snapshot:
    return Snapshot({"a": torch.full((3,), float(step))}, {"num_timesteps": step})


def test_state_comes_back_exactly(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "last", STATE)
    back = checkpoint.read(tmp_path, "last")
    assert back.values == STATE.values
    assert all(torch.equal(back.tensors[k], STATE.tensors[k]) for k in STATE.tensors)


def test_new_checkpoint_replaces_the_old_one(tmp_path: Path) -> None:
    for step in (1, 2, 2, 3):
        checkpoint.write(tmp_path, "last", later(step))
        checkpoint.write(tmp_path, "best", later(step))
    assert checkpoint.read(tmp_path, "last").values == {"num_timesteps": 3}
    assert len(list(tmp_path.iterdir())) == 4


def test_crash_while_writing_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at every file-system step in turn: reading gives the old state or the new one."""
    for fail_at in range(5):
        folder = tmp_path / str(fail_at)
        checkpoint.write(folder, "last", later(1))
        calls = [0]

        def failing(path: Path, *args: object, calls: list[int] = calls, at: int = fail_at) -> None:
            calls[0] += 1
            if calls[0] > at:
                raise OSError("disk full")

        def replace(self: Path, target: Path, tick: object = failing) -> Path:
            tick(self)  # type: ignore[operator]
            return REPLACE(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "_sync", failing)
            patch.setattr(Path, "replace", replace)
            with pytest.raises(CheckpointError, match="cannot be written: disk full"):
                checkpoint.write(folder, "last", later(2))
        step = checkpoint.read(folder, "last").values["num_timesteps"]
        assert step == (1 if fail_at < 4 else 2)
        checkpoint.write(folder, "last", later(3))
        assert checkpoint.read(folder, "last").values["num_timesteps"] == 3
        assert len(list(folder.iterdir())) == 2  # nothing of the failed attempt is left


def tensor_file(folder: Path) -> Path:
    return next(folder.glob("last-*.safetensors"))


def test_truncated_tensors_are_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "last", STATE)
    path = tensor_file(tmp_path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=rf"{path.name}: {size - 5} bytes; allowed: {size}"):
        checkpoint.read(tmp_path, "last")


def test_altered_tensors_are_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "last", STATE)
    path = tensor_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{path.name}: altered"):
        checkpoint.read(tmp_path, "last")


def test_missing_tensors_are_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, "last", STATE)
    tensor_file(tmp_path).unlink()
    with pytest.raises(CheckpointError, match=r"no such file, named in last\.json"):
        checkpoint.read(tmp_path, "last")


def test_truncated_values_are_refused(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, "last", STATE)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"last\.json: truncated or not JSON"):
        checkpoint.read(tmp_path, "last")


def test_altered_values_are_refused(tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, "last", STATE)
    content = json.loads(path.read_text())
    content["values"]["num_timesteps"] = 13
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"last\.json: altered: not its own checksum"):
        checkpoint.read(tmp_path, "last")


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "sixgym checkpoint 99"}'])
def test_other_json_is_no_checkpoint(tmp_path: Path, text: str) -> None:
    (tmp_path / "last.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"last\.json: not a checkpoint"):
        checkpoint.read(tmp_path, "last")


def test_checkpoint_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    inside = tmp_path / "run"
    path = checkpoint.write(inside, "last", STATE)
    tensor_file(inside).rename(tmp_path / "elsewhere.safetensors")
    content = json.loads(path.read_text())
    del content["sha256"]
    content["tensors"]["file"] = "../elsewhere.safetensors"
    path.write_text(json.dumps({"sha256": checkpoint._own_digest(content), **content}))
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint.read(inside, "last")


def test_missing_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"last\.json: no such checkpoint"):
        checkpoint.read(tmp_path, "last")


# ----------------------------------------------------------------------- disks and forged files


def test_full_disk_is_a_checkpoint_error_and_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    """The system itself refuses to make a file longer than 2 KiB."""
    checkpoint.write(tmp_path, "last", later(1))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    big = Snapshot({"a": torch.zeros(100_000)}, {"num_timesteps": 2})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(CheckpointError, match=r"last\.json: cannot be written: "):
            checkpoint.write(tmp_path, "last", big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    checkpoint.write(tmp_path, "last", big)
    assert checkpoint.read(tmp_path, "last").values == {"num_timesteps": 2}


def test_disk_that_fills_up_at_any_moment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write(tmp_path, "last", later(1))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("_sync", "save_file"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, full)
            with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
                checkpoint.write(tmp_path, "last", later(2))
        assert checkpoint.read(tmp_path, "last").values == {"num_timesteps": 1}
        assert not list(tmp_path.glob("*.tmp"))


def test_folder_that_may_not_be_written_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below_a_file = tmp_path / "file"
    below_a_file.write_text("")
    with pytest.raises(CheckpointError, match="cannot be written: "):
        checkpoint.write(below_a_file / "run", "last", STATE)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(CheckpointError, match="cannot be written: Permission denied"):
        checkpoint.write(tmp_path / "run", "last", STATE)


def test_checkpoint_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write(tmp_path, "last", STATE)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("read_bytes", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, denied)
            with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
                checkpoint.read(tmp_path, "last")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, '{"a": 1' + "0" * 5000 + "}"])
def test_json_that_no_parser_likes_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "last.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"last\.json: truncated or not JSON"):
        checkpoint.read(tmp_path, "last")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"values": {}},
        {"values": [], "tensors": {}},
        {"values": {}, "tensors": []},
        {"values": {}, "tensors": {}},
        {"values": {}, "tensors": {"file": None, "bytes": 0, "sha256": ""}},
        {"values": {}, "tensors": {"file": 5}},
        {"values": {}, "tensors": {"file": "."}},
        {"values": {}, "tensors": {"file": "empty"}},
        {"values": {}, "tensors": {"file": "empty", "bytes": 0}},
        {"values": {}, "tensors": {"file": "empty", "bytes": "0", "sha256": None}},
    ],
    ids=str,
)
def test_forged_file_with_a_true_checksum_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "empty").write_bytes(b"")
    whole = {"format": checkpoint.FORMAT, **content}  # type: ignore[dict-item]
    signed = {"sha256": checkpoint._own_digest(whole), **whole}
    (tmp_path / "last.json").write_text(json.dumps(signed))
    with pytest.raises(CheckpointError):
        checkpoint.read(tmp_path, "last")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_of_the_tensors_is_found(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    checkpoint.write(folder, "last", STATE)
    path = tensor_file(folder)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="altered"):
        checkpoint.read(folder, "last")
