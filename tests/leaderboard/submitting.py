"""Makes submissions, honest ones from the weights that ship."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file

import sixgym.agents

SELECT = "sixgym/RisNomaSelect-v0"
ZOO = Path(next(iter(sixgym.agents.__path__)), "zoo", "ris_noma")
WEIGHTS = ZOO / "ppo-0.safetensors"


def card() -> Any:
    return json.loads((ZOO / "ppo-0.json").read_text())


def manifest(**changes: Any) -> dict[str, Any]:
    """What the honest one says."""
    known = card()
    said = {
        "format": "sixgym submission 1",
        "name": "my_ppo",
        "env": SELECT,
        "author": "A. Tester",
        "description": "The shipped PPO.",
        "algorithm": "ppo",
        "architecture": known["architecture"],
        "normalization": known["normalization"],
        "weights": [{"file": "seed0.safetensors", "training_seed": 0, "training_steps": 520000}],
    }
    return {k: v for k, v in {**said, **changes}.items() if v is not None}


def write(folder: Path, said: Any, **files: bytes) -> Path:
    """A submission as a folder; ``__`` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    text = said if isinstance(said, str) else yaml.safe_dump(said)
    (folder / "submission.yaml").write_text(text)
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def honest(folder: Path) -> Path:
    return write(folder, manifest(), seed0__safetensors=WEIGHTS.read_bytes())


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def onnx_manifest(**changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"architecture": None, "normalization": None, "name": "my_onnx"}
    return manifest(**{**said, "weights": [{"file": "net.onnx", "training_seed": 0}], **changes})


def network() -> bytes:
    """The shipped PPO as an ONNX graph."""
    from onnx import helper, numpy_helper

    known, tensors = card(), load_file(WEIGHTS)
    held: list[Any] = []

    def number(name: str, value: Any) -> str:
        held.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    nodes = [helper.make_node("Identity", ["observation"], ["x0"])]
    layers = [f"hidden.{2 * i}" for i in range(len(known["architecture"]["hidden"]))]
    for place, layer in enumerate(layers):
        weight, bias = (number(f"{layer}.{k}", tensors[f"{layer}.{k}"]) for k in ("weight", "bias"))
        nodes += [
            helper.make_node("Gemm", [f"x{place}", weight, bias], [f"y{place}"], transB=1),
            helper.make_node("Tanh", [f"y{place}"], [f"x{place + 1}"]),
        ]
    weight, bias = (number(f"head.{k}", tensors[f"head.{k}"]) for k in ("weight", "bias"))
    nodes.append(helper.make_node("Gemm", [f"x{len(layers)}", weight, bias], ["action"], transB=1))
    return model(nodes, held)


def model(nodes: list[Any], held: list[Any] = [], source: str = "observation") -> bytes:  # noqa: B006
    """An ONNX file of some operations, from an observation of SELECT to numbers of its choices."""
    from onnx import TensorProto, helper

    known = card()
    width, choices = known["observation_space"]["shape"][0], known["action_space"]["n"]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["rows", choices])],
        held,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())
