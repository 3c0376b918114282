"""What strangers submit is checked before it is read: each hostile one is refused by name."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save
from submitting import (
    SELECT,
    WEIGHTS,
    honest,
    manifest,
    model,
    network,
    onnx_manifest,
    write,
    zipped,
)
from typer.testing import CliRunner

from sixgym.cli.main import app
from sixgym.envs.core.errors import SubmissionError
from sixgym.leaderboard.submissions import receive, submit

onnx = pytest.importorskip("onnx")


def received(source: Path, tmp_path: Path) -> Any:
    copies = tmp_path / "copies"
    copies.mkdir()
    return receive(source, copies)


def test_a_folder_and_its_zip_are_one_submission(tmp_path: Path) -> None:
    folder = honest(tmp_path / "mine")
    (folder / "README.md").write_text("how it was trained")
    one = received(folder, tmp_path)
    assert one.submission.name == "my_ppo"
    assert sorted(p.name for p in one.folder.iterdir()) == ["seed0.safetensors", "submission.yaml"]
    (tmp_path / "again").mkdir()
    other = receive(zipped(folder, tmp_path / "mine.zip"), tmp_path / "again")
    assert other.sha256 == one.sha256
    assert other.submission == one.submission


def test_an_onnx_submission_is_received(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", onnx_manifest(), net__onnx=network())
    assert received(folder, tmp_path).submission.is_onnx


# --- archives and folders -------------------------------------------------------------------------


class Touch:
    """Leaves a mark where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def archive(path: Path, *items: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("submission.yaml", json.dumps(manifest()))
        for name, data in items:
            made.writestr(name, data)
    return path


def _slip(folder: Path) -> Path:
    return archive(folder / "slip.zip", ("../escaped.safetensors", WEIGHTS.read_bytes()))


def _absolute(folder: Path) -> Path:
    return archive(folder / "absolute.zip", (str(folder / "escaped"), b"x"))


def _backslash(folder: Path) -> Path:
    return archive(folder / "backslash.zip", ("..\\escaped.safetensors", b"x"))


def _zip_link(folder: Path) -> Path:
    link = zipfile.ZipInfo("seed0.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return archive(folder / "link.zip", (link, b"/etc/passwd"))


def _bomb(folder: Path) -> Path:
    return archive(folder / "bomb.zip", ("seed0.safetensors", bytes(60 * 1024**2)))


def _many(folder: Path) -> Path:
    return archive(folder / "many.zip", *((f"f{i}.txt", b"x") for i in range(200)))


def _twice(folder: Path) -> Path:
    with pytest.warns(UserWarning, match="Duplicate"):
        return archive(folder / "twice.zip", *[("seed0.safetensors", WEIGHTS.read_bytes())] * 2)


def _lying(folder: Path) -> Path:
    """An archive whose directory says that its file is shorter than it is."""
    path = zipped(honest(folder / "mine"), folder / "lying.zip")
    size = struct.pack("<L", WEIGHTS.stat().st_size)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<L", 100)))
    return path


def _no_zip(folder: Path) -> Path:
    path = folder / "mine.zip"
    path.write_bytes(b"PK\x03\x04 but no more")
    return path


def _link(folder: Path) -> Path:
    made = write(folder / "mine", manifest())
    (made / "seed0.safetensors").symlink_to("/etc/passwd")
    return made


def _pipe(folder: Path) -> Path:
    made = write(folder / "mine", manifest())
    os.mkfifo(made / "seed0.safetensors")  # to open it would hang
    return made


def _folder_within(folder: Path) -> Path:
    made = honest(folder / "mine")
    (made / "more").mkdir()
    return made


def _code(folder: Path) -> Path:
    made = honest(folder / "mine")
    (made / "policy.py").write_text(f"import os; os.mkdir({str(folder / 'executed')!r})")
    return made


def _pickle(folder: Path) -> Path:
    buffer = io.BytesIO()
    pickle.dump(Touch(folder / "executed"), buffer)
    return write(folder / "mine", manifest(), seed0__safetensors=buffer.getvalue())


def _large(folder: Path) -> Path:
    made = write(folder / "mine", manifest())
    with (made / "seed0.safetensors").open("wb") as file:
        file.truncate(10 * 1024**3)  # a hole: no bytes on the disk
    return made


# --- manifests ------------------------------------------------------------------------------------


def _text(folder: Path, said: Any) -> Path:
    return write(folder / "mine", said, seed0__safetensors=WEIGHTS.read_bytes())


def _constructor(folder: Path) -> Path:
    mark = str(folder / "executed")
    return _text(folder, f"name: !!python/object/apply:os.mkdir [{mark}]\n")


def _laughs(folder: Path) -> Path:
    lines = ["a0: &a0 [ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    return _text(folder, "\n".join(lines))


def _deep(folder: Path) -> Path:
    return _text(folder, "name: " + "[" * 20000)


def _long_number(folder: Path) -> Path:
    return _text(folder, "name: " + "9" * 20000)


def _unknown_key(folder: Path) -> Path:
    return _text(folder, manifest(command="rm -rf /"))


def _key_twice(folder: Path) -> Path:
    return _text(folder, "name: one\nname: other\n")


def _path_in_it(folder: Path) -> Path:
    return _text(folder, manifest(weights=[{"file": "../../secrets.safetensors"}]))


def _huge_network(folder: Path) -> Path:
    shape = {"hidden": [10**9], "activation": "tanh", "head": "distribution"}
    return _text(folder, manifest(architecture=shape))


def _markup_in_name(folder: Path) -> Path:
    return _text(folder, manifest(name="<script>alert(1)</script>"))


# --- tensors --------------------------------------------------------------------------------------


def _tensors(folder: Path, data: bytes) -> Path:
    return write(folder / "mine", manifest(), seed0__safetensors=data)


def _changed(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    tensors = dict(load_file(WEIGHTS))
    edit(tensors)
    return _tensors(folder, save(tensors))


def _nan(folder: Path) -> Path:
    return _changed(folder, lambda t: t["head.bias"].__setitem__(0, np.nan))


def _half(folder: Path) -> Path:
    return _changed(folder, lambda t: t.update({"head.bias": t["head.bias"].astype(np.float16)}))


def _header(folder: Path, header: Any, numbers: bytes = b"", length: int | None = None) -> Path:
    text = json.dumps(header).encode()
    size = len(text) if length is None else length
    return _tensors(folder, struct.pack("<Q", size) + text + numbers)


def _endless_header(folder: Path) -> Path:
    return _header(folder, {}, length=2**60)


def _overlap(folder: Path) -> Path:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    return _header(folder, {"a": one, "b": one}, bytes(8))


def _vast_shape(folder: Path) -> Path:
    vast = {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 8]}
    return _header(folder, {"a": vast}, bytes(8))


def _cut(folder: Path) -> Path:
    return _tensors(folder, WEIGHTS.read_bytes()[:-7])


# --- graphs ---------------------------------------------------------------------------------------


def _graph(folder: Path, data: bytes) -> Path:
    return write(folder / "mine", onnx_manifest(), net__onnx=data)


def _own_operator(folder: Path) -> Path:
    node = onnx.helper.make_node("Run", ["observation"], ["action"], domain="evil.ops")
    return _graph(folder, model([node]))


def _loop(folder: Path) -> Path:
    body = onnx.helper.make_graph([], "body", [], [])
    node = onnx.helper.make_node("Loop", ["", ""], ["action"], body=body)
    return _graph(folder, model([node]))


def _elsewhere(folder: Path) -> Path:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="/etc/passwd")
    node = onnx.helper.make_node("Add", ["observation", "w"], ["action"])
    return _graph(folder, model([node], [tensor]))


def _fill(folder: Path) -> Path:
    node = onnx.helper.make_node("ConstantOfShape", ["observation"], ["action"])
    return _graph(folder, model([node]))


def _infinite(folder: Path) -> Path:
    held = onnx.numpy_helper.from_array(np.array([np.inf], dtype=np.float32), "w")
    node = onnx.helper.make_node("Add", ["observation", "w"], ["action"])
    return _graph(folder, model([node], [held]))


def _other_input(folder: Path) -> Path:
    node = onnx.helper.make_node("Neg", ["hidden_state"], ["action"])
    return _graph(folder, model([node], source="hidden_state"))


def _noise(folder: Path) -> Path:
    return _graph(folder, bytes(range(256)) * 50)


def _function(folder: Path) -> Path:
    made = onnx.load_from_string(network())
    made.functions.add(name="f", domain="evil")
    return _graph(folder, made.SerializeToString())


HOSTILE: list[tuple[Callable[[Path], Path], str]] = [
    (_slip, r"'\.\./escaped\.safetensors': a path"),
    (_absolute, r"escaped': a path"),
    (_backslash, "escaped.safetensors': a path"),
    (_zip_link, r"seed0\.safetensors: a symbolic link"),
    (_bomb, r"seed0\.safetensors: 62914560 bytes from \d+ of the archive"),
    (_many, "201 files; allowed: 20"),
    (_twice, r"seed0\.safetensors: stands twice"),
    (_lying, "not a zip that can be read"),
    (_no_zip, "not a zip that can be read"),
    (_link, r"seed0\.safetensors: a symbolic link"),
    (_pipe, r"seed0\.safetensors: no plain file"),
    (_folder_within, "more: no plain file"),
    (_code, r"policy\.py: not named by submission\.yaml"),
    (_pickle, "not a safetensors file"),
    (_large, r"seed0\.safetensors: 10737418240 bytes; allowed: 67108864"),
    (_constructor, r"python/object/apply:os\.mkdir: tags are not allowed"),
    (_laughs, r"\*a0: aliases are not allowed"),
    (_deep, "nested more than 12 deep"),
    (_long_number, r"submission\.yaml: Exceeds the limit"),
    (_unknown_key, "command='rm -rf /'"),
    (_key_twice, "name: stands twice"),
    (_path_in_it, r"weights\.0\.file="),
    (_huge_network, r"architecture: 1 layers of at most 1000000000 units; allowed: 16 of 4096"),
    (_markup_in_name, "name='<script>"),
    (_nan, r"head\.bias is not finite"),
    (_half, r"head\.bias is 'F16'; allowed: F32, F64"),
    (_endless_header, "a header of 1152921504606846976 bytes"),
    (_overlap, "b begins at byte 0; allowed: 8"),
    (_vast_shape, "a of shape .* has 8 bytes"),
    (_cut, "truncated or extended"),
    (_own_operator, r"operator 'Run' of 'evil\.ops'"),
    (_loop, "Loop"),
    (_elsewhere, "numbers in another file"),
    (_fill, "operator 'ConstantOfShape': not allowed"),
    (_infinite, "w: not finite"),
    (_other_input, "takes 'hidden_state'"),
    (_noise, r"field 0 of the model"),
    (_function, r"field 25 of the model"),
]


@pytest.mark.parametrize(("make", "what"), HOSTILE, ids=[make.__name__ for make, _ in HOSTILE])
def test_a_hostile_submission_is_refused_by_name(
    make: Callable[[Path], Path], what: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    source = make(outside)
    with pytest.raises(SubmissionError, match=what) as caught:
        received(source, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (outside / "executed").exists()
    copies = {p.name for p in (tmp_path / "copies").iterdir()}
    assert copies <= {"submission.yaml", "seed0.safetensors", "net.onnx"}
    assert not list(tmp_path.glob("escaped*"))
    assert not list(outside.glob("escaped*"))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": "sixgym submission 2"}, "format="),
        ({"author": None}, "author: Field required"),
        ({"author": "two\nlines"}, "author="),
        ({"architecture": None}, "architecture: needed for safetensors"),
        ({"weights": []}, "weights"),
        ({"weights": [{"file": "a.safetensors"}, {"file": "b.onnx"}]}, "allowed: all"),
        ({"weights": [{"file": "a.onnx"}, {"file": "a.onnx"}]}, "named twice"),
        ({"weights": [{"file": "a.safetensors"}]}, r"a\.safetensors: no such file in it"),
        ({"weights": [{"file": "policy.pt"}]}, "allowed: all"),
        ({"env_kwargs": {"num_users": "1"}}, "env_kwargs"),  # physics is the task's
        ({"seats": 0}, "seats=0"),
    ],
)
def test_a_manifest_is_named_with_its_field(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "mine", manifest(**changes), seed0__safetensors=WEIGHTS.read_bytes())
    with pytest.raises(SubmissionError, match=what):
        received(folder, tmp_path)


def test_without_manifest_or_at_all(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="no such folder or zip"):
        received(tmp_path / "nothing", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SubmissionError, match=r"no submission\.yaml in it"):
        receive(tmp_path / "empty", tmp_path / "copies")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"env": "sixgym/Nowhere-v0"}, "my_ppo: env: .*not registered"),
        ({"name": "round_robin"}, "'round_robin': a policy that ships"),
        ({"name": "ppo"}, "'ppo': a policy that ships"),
    ],
)
def test_names_of_others_are_refused_before_playing(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "mine", manifest(**changes), seed0__safetensors=WEIGHTS.read_bytes())
    with pytest.raises(SubmissionError, match=what):
        submit(folder, tmp_path / "rows", episodes=2)
    assert not (tmp_path / "rows").exists()


def _shorter(tensors: dict[str, Any]) -> None:
    tensors["head.bias"] = tensors["head.bias"][:-1]


def _double(tensors: dict[str, Any]) -> None:
    tensors["head.bias"] = tensors["head.bias"].astype(np.float64)


@pytest.mark.parametrize(
    ("edit", "changes", "what"),
    [
        (_shorter, {}, r"head\.bias is \(2,\) F32; allowed: \(3,\) F32"),
        (_double, {}, r"head\.bias is \(3,\) F64; allowed: \(3,\) F32"),
        (lambda t: t.pop("head.bias"), {}, r"head\.bias: missing"),
        (lambda t: t.update(more=t["head.bias"]), {}, "more: not of this network"),
        (lambda t: None, {"normalization": {"clip": 1.0, "epsilon": 1.0}}, "observation_mean"),
        (lambda t: None, {"seats": 3}, "policy of 3 agents of one kind"),
        (lambda t: None, {"env_kwargs": {"observation": "x-ray"}}, "env_kwargs: .*x-ray"),
    ],
)
def test_weights_of_another_network_are_refused_before_playing(
    edit: Callable[[dict[str, Any]], None], changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    tensors = dict(load_file(WEIGHTS))
    edit(tensors)
    said = manifest(**changes)
    folder = write(tmp_path / "mine", said, seed0__safetensors=save(tensors))
    with pytest.raises(SubmissionError, match=what):
        submit(folder, tmp_path / "rows", episodes=2)
    assert not (tmp_path / "rows").exists()


def test_the_command_says_why_in_one_line(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["leaderboard", "submit", str(tmp_path / "nothing")])
    assert isinstance(found.exception, SubmissionError)
    assert SELECT.startswith("sixgym/")
