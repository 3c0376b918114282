"""Bad files: each kind that a person may bring, whole, then spoiled, replaced and missing."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import yaml
from faults_inputs import Trial, drawn
from hypothesis import strategies as st

import sixgym.agents
from sixgym.agents import checkpoint
from sixgym.agents.config import TrainConfig
from sixgym.agents.llm.player import LlmPlayer
from sixgym.agents.policies import load_policy
from sixgym.agents.records import finished_record
from sixgym.agents.search_spaces import space_of
from sixgym.configs import __path__ as configs
from sixgym.envs.event_offload.trace_files import read_traces
from sixgym.envs.llm_mac.traffic import read_trace as read_arrivals
from sixgym.envs.netgpt.trace_files import read_trace, save_trace
from sixgym.leaderboard import __path__ as leaderboard
from sixgym.leaderboard import store
from sixgym.leaderboard.submissions import receive

ZOO = Path(next(iter(sixgym.agents.__path__)), "zoo", "ris_noma")

TEXTS: tuple[str | bytes, ...] = (
    "",
    " ",
    "null",
    "5",
    "text",
    "[]",
    "- a\n- b",
    "{}",
    "a: b: c",
    "a: [1, 2",
    "\tname: x",
    "name: x\nname: y",
    "? [1, 2]\n: 3",
    "? {a: 1}\n: 3",
    "? null\n: 3",
    "1: 2",
    "&a [*a]",
    "a: &a {b: *a}",
    "a: *missing",
    "!!python/object/apply:os.system [touch FOLDER/harm]",
    "a: !!python/name:os.system",
    "a: !unknown 3",
    "when: 2001-99-99",
    "when: 2001-01-01",
    "much: " + "9" * 5000,
    "much: 0x" + "f" * 5000,
    "much: 1e999",
    "much: .nan",
    "much: .inf",
    "binary: !!binary '***'",
    "set: !!set {a, b}",
    "pairs: !!omap [a: 1]",
    "sixty: 1:99:99",
    "<<: 5",
    "<<: [1, 2]",
    "[" * 3000,
    "{a: " * 3000,
    "- " * 3000 + "a",
    "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" if i else "a0: &a0 [x]\n"
        for i in range(12)
    ),
    "---\na: 1\n---\nb: 2",
    "%YAML 9.9\n---\na: 1",
    'name: "\\ud800"',
    "\ufeffname: x",
    b"\xff\xfe\x00",
    b"name: \xe9\xff",
    b"\x00\x01\x02",
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"a": ' + "1" * 5000 + "}",
    '{"a": ' * 3000,
    '{"a": 1, "a": 2}',
    '{"format": null}',
)
"""Instead of a text file, whatever it should have been. None of them is one of ours."""


class Harm:
    """A pickle that would write a file if anything loaded it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (_touch, (str(self.path),))


def _touch(path: str) -> None:
    Path(path).write_text("run")


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    name: str
    good: dict[str, bytes]
    """Files of a whole one by name."""
    spoil: str
    """The one that is spoiled."""
    read: Callable[[Path], object]
    """Reads it, given the folder."""
    is_checked: bool = False
    """Whether any change of its bytes must be found."""
    is_needed: bool = True
    """Whether it must be there, and no other text is one."""


def bad_bytes(good: bytes, harm: Path, fuzz: int) -> Iterator[tuple[str, bytes]]:
    """Other contents for a file, with a name each."""
    yield "empty", b""
    yield "first 10 bytes", good[:10]
    yield "first half", good[: len(good) // 2]
    yield "without the last byte", good[:-1]
    yield "one byte more", good + b"\x01"
    yield "zeros", b"\x00" * 256
    yield "a huge length first", b"\xff" * 8 + good[8:]
    yield "a pickle", pickle.dumps(Harm(harm))
    torch_file, numpy_file, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.zeros(1)}, torch_file)
    np.save(numpy_file, np.array([Harm(harm)], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../escape", b"x")
        file.writestr("conf.npy", numpy_file.getvalue())
    yield "a torch file", torch_file.getvalue()
    yield "an array of objects", numpy_file.getvalue()
    yield "an archive of objects", archive.getvalue()
    for place, bit in drawn(st.tuples(st.floats(0, 1), st.integers(0, 7)), fuzz):
        spoiled = bytearray(good)
        at = min(int(place * len(good)), len(good) - 1)
        spoiled[at] ^= 1 << bit
        yield f"bit {bit} of byte {at} of {len(good)} flipped", bytes(spoiled)


HEADER_EDITS: tuple[Any, ...] = (
    None, [], {}, "", "F32", "BF16", -1, 0, 1.5, True, 2**63, 10**40, [0], [-1, 4], [0, 10**12],
    [[1]], ["a"], {"a": 1},
)  # fmt: skip
"""In place of each field of a tensor in the header of a safetensors file."""


def bad_headers(good: bytes) -> Iterator[tuple[str, bytes]]:
    """A safetensors file with its header changed in every place, with a name each."""
    length = int.from_bytes(good[:8], "little")
    header, numbers = json.loads(good[8 : 8 + length]), good[8 + length :]

    def packed(changed: Any) -> bytes:
        text = json.dumps(changed).encode()
        return len(text).to_bytes(8, "little") + text + numbers

    for size in (0, 1, 2, length - 1, length + 1, len(good), 2**31, 2**63, 2**64 - 1):
        yield f"a header of {size} bytes", size.to_bytes(8, "little") + good[8:]
    for at in range(0, min(8 + length, len(good)), max(1, length // 60)):
        for byte in {0x00, 0x22, 0xFF} - {good[at]}:
            yield f"byte {at} is {byte}", good[:at] + bytes([byte]) + good[at + 1 :]
    name = next(k for k in header if k != "__metadata__")
    for field in header[name]:
        for value in HEADER_EDITS:
            changed = {**header, name: {**header[name], field: value}}
            yield f"{field} of {name} is {value!r}"[:80], packed(changed)
        less = {k: v for k, v in header[name].items() if k != field}
        yield f"{name} without {field}", packed({**header, name: less})
    for value in (None, 5, [], {"a": 1}, {"a": None}, "x"):
        yield f"metadata {value!r}", packed({**header, "__metadata__": value})
    for odd in ("", "a\nb", "\ud800", "\x1b[2J", "x" * 10**5, "../../x"):
        yield f"a tensor named {odd[:20]!r}", packed({odd: header[name]})
    yield "no tensors", packed({})
    yield "a list for a header", packed([header])
    yield "a hole in the numbers", good + b"\x00" * 64


def bad_texts(good: str, fuzz: int) -> Iterator[tuple[str, str]]:
    """A text with a line lost, doubled, or with a value exchanged."""
    lines = good.splitlines()
    values = [None, -1, 1e400, "x", [], {}, True, 10**30, "1e", "${HOME}"]
    edits = st.tuples(
        st.integers(0, len(lines) - 1),
        st.sampled_from(["lost", "doubled", "indented", *map(repr, values)]),
    )
    for at, edit in drawn(edits, fuzz):
        line = lines[at]
        new = {"lost": [], "doubled": [line, line], "indented": [f"   {line}"]}.get(edit)
        if new is None:
            key, colon, _ = line.partition(":")
            new = [f"{key}: {edit}" if colon else edit]
        yield f"line {at + 1} {edit}", "\n".join([*lines[:at], *new, *lines[at + 1 :]])


def kinds(folder: Path) -> list[Kind]:
    """Every kind of file, made in or copied from what ships."""
    config = Path(next(iter(configs)), "ris_noma", "ppo.yaml")
    row = sorted(Path(next(iter(leaderboard)), "results", "RisNoma-v0").rglob("random.json"))[0]
    card = json.loads((ZOO / "ppo-0.json").read_text())
    manifest = {
        "format": "sixgym submission 1",
        "name": "my_ppo",
        "env": card["env"],
        "author": "A. Tester",
        "description": "One that ships.",
        "algorithm": "ppo",
        "architecture": card["architecture"],
        "normalization": card["normalization"],
        "weights": [{"file": "a.safetensors", "training_seed": 0, "training_steps": 1}],
    }
    weights = (ZOO / "ppo-0.safetensors").read_bytes()
    policy = {"p.safetensors": weights, "p.json": (ZOO / "ppo-0.json").read_bytes()}
    entry = {"submission.yaml": yaml.safe_dump(manifest).encode(), "a.safetensors": weights}
    saved = _checkpoint(folder)
    tensors = next(name for name in saved if name.endswith(".safetensors"))
    events, arrivals, network = _traces(folder)
    player = b"endpoint: {model: m, base_url: 'http://127.0.0.1:1/v1'}\nadapter: grammar\n"
    gain, plain = b"arrivals [bit]\n1000\n2000\n", b"arrivals\n1000\n2000\n"
    series = _series()
    return [
        Kind("configuration", {"c.yaml": config.read_bytes()}, "c.yaml",
             lambda d: TrainConfig.load(d / "c.yaml")),
        Kind("player", {"p.yaml": player}, "p.yaml", lambda d: LlmPlayer.load(str(d / "p.yaml"))),
        Kind("weights", policy, "p.safetensors", lambda d: load_policy(d / "p"), True),
        Kind("card", policy, "p.json", lambda d: load_policy(d / "p")),
        Kind("checkpoint", saved, tensors, lambda d: checkpoint.read(d, "last"), True),
        Kind("checkpoint", saved, "last.json", lambda d: checkpoint.read(d, "last")),
        Kind("row", {"r.json": row.read_bytes()}, "r.json", lambda d: store.load(d / "r.json")),
        Kind("submission", entry, "submission.yaml", _receive),
        Kind("submission", entry, "a.safetensors", _receive),
        Kind("trace", {"e.npz": events}, "e.npz",
             lambda d: read_traces(str(d / "e.npz"), "trace")),
        Kind("trace", {"n.npz": network}, "n.npz", lambda d: read_trace(str(d / "n.npz"))),
        Kind("trace", {"n.csv": b"bandwidth_mbps,rtt_s\n10,0.1\n20,0.2\n"}, "n.csv",
             lambda d: read_trace(str(d / "n.csv"))),
        Kind("trace", {"a.npy": arrivals}, "a.npy", lambda d: read_arrivals(str(d / "a.npy"))),
        *(Kind("trace", {f"g.{form}": data}, f"g.{form}", partial(_arrivals, f"g.{form}"))
          for form, data in (("csv", gain), ("npz", series[0]), ("parquet", series[1]))),
        Kind("units", {"g.csv": plain, "g.csv.units.yaml": b"arrivals: bit\n"},
             "g.csv.units.yaml", partial(_arrivals, "g.csv"), is_needed=False),
        Kind("submission", {"s.zip": _zipped(entry)}, "s.zip", _receive_zip),
        Kind("search space", {"s.yaml": b"gamma: [0.9, 0.99]\nn_steps: null\n"}, "s.yaml",
             lambda d: space_of(TrainConfig.load("ris_noma/ppo"), d / "s.yaml"), is_needed=False),
        Kind("run", {"run.json": _run(config)}, "run.json", finished_record, is_needed=False),
    ]  # fmt: skip


def _arrivals(name: str, folder: Path) -> object:
    return gym.make("sixgym/RisNoma-v0", arrivals=f"trace:{folder / name}")


def _series() -> tuple[bytes, bytes]:
    """The arrivals of a link, as npz and, where pyarrow is installed, as Parquet."""
    bits = np.arange(1000.0, 1040.0)
    packed, columns = io.BytesIO(), io.BytesIO()
    np.savez(packed, slot=np.arange(40.0), **{"arrivals [bit]": bits})
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:  # then it is refused, whatever is in it
        return packed.getvalue(), b"PAR1"
    pyarrow.parquet.write_table(
        pyarrow.table({"slot": np.arange(40.0), "arrivals [bit]": bits}), columns
    )
    return packed.getvalue(), columns.getvalue()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _receive_zip(folder: Path) -> object:
    copies = folder / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    return receive(folder / "s.zip", copies)


def _run(config: Path) -> bytes:
    """The record of a finished training."""
    told = {"finished": "2026-01-01", "seed": 0, "steps": 5, "seconds": 1.5}
    record = {**told, "config": TrainConfig.load(config).plain(), "best": {"a": 1.0}, "curve": []}
    return json.dumps(record, indent=1).encode()


def _receive(folder: Path) -> object:
    copies = folder / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    given = folder / "given"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir()
    for path in list(folder.iterdir()):
        if path.is_file():
            shutil.copy(path, given)
    return receive(given, copies)


def _checkpoint(folder: Path) -> dict[str, bytes]:
    place = folder / "saved"
    tensors = {"a": torch.arange(6.0), "b": torch.zeros(2, 2)}
    checkpoint.write(place, "last", checkpoint.Snapshot(tensors, {"num_timesteps": 3}))
    return {path.name: path.read_bytes() for path in place.iterdir()}


def _traces(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Event traces, arrivals, and a network's trace."""
    random = np.random.default_rng(0)
    events, arrivals = io.BytesIO(), io.BytesIO()
    server = random.dirichlet(np.ones(3), 60).astype(np.float32)
    conf = random.uniform(0.1, 0.9, (60, 4)).astype(np.float32)
    labels = np.arange(60, dtype=np.int8) % 3
    np.savez(events, conf=conf, server=server, y=labels, macs=np.arange(1.0, 5.0))
    np.save(arrivals, random.integers(0, 2, (30, 4)))
    network = save_trace(folder / "network.npz", [10.0, 20.0], [0.1, 0.2])
    return events.getvalue(), arrivals.getvalue(), Path(network).read_bytes()


def file_trials(folder: Path, fuzz: int) -> Iterator[Trial]:
    """Every kind of file: whole, missing, a folder instead, other bytes, other text."""
    for number, kind in enumerate(kinds(folder)):
        place = folder / str(number)
        place.mkdir()
        harm = place / "harm"

        def trial(
            what: str,
            content: bytes | None,
            must_fail: bool = False,
            *,
            must_pass: bool = False,
            kind: Kind = kind,
            place: Path = place,
            harm: Path = harm,
        ) -> Trial:
            def run() -> None:
                _lay(place, kind, content)
                kind.read(place)

            def after() -> None:
                if harm.exists():
                    raise AssertionError("what the file said was run")

            return Trial(kind.name, kind.spoil, what, run, must_fail, after, must_pass)

        whole = kind.good[kind.spoil]
        yield trial("whole", whole, must_pass=True)
        yield trial("missing", None, kind.is_needed)
        yield trial("a folder", b"/", kind.is_needed)
        if kind.spoil.endswith(".safetensors"):
            for what, content in bad_headers(whole):
                yield trial(what, content, kind.is_checked)
        for what, content in bad_bytes(whole, harm, fuzz):
            yield trial(what, content, kind.is_checked)
        for text in TEXTS:
            raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
            raw = raw.replace(b"FOLDER", str(place).encode())
            yield trial(repr(text)[:80], raw, kind.is_needed)
        if kind.spoil.rpartition(".")[2] in ("yaml", "json", "csv"):
            for what, text in bad_texts(whole.decode(), fuzz):
                yield trial(what, text.encode("utf-8", "surrogatepass"))


def _lay(place: Path, kind: Kind, content: bytes | None) -> None:
    for path in list(place.iterdir()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name, data in kind.good.items():
        if name != kind.spoil:
            (place / name).write_bytes(data)
    if content == b"/":
        (place / kind.spoil).mkdir()
    elif content is not None:
        (place / kind.spoil).write_bytes(content)
