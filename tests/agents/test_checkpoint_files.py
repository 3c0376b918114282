"""Checkpoint files: whole or refused, and never half of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

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
            with pytest.raises(OSError, match="disk full"):
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
