"""Coverage-guided fuzzing of what reads files and words: every refusal must be a named error.

Run with ``python benchmarks/fuzz.py --seconds 60 --target yaml``; without a target all of them.
Atheris (``pip install atheris``, CPython on Linux and macOS) steers the bytes towards code that
they have not reached yet; ``--engine random`` changes good files at random, and needs nothing.
Each target runs in a process of its own. Inputs that ended otherwise are kept in the output folder,
one for each kind of error and place, and the command exits 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TOO_SLOW_S = 10
"""Seconds after which an input is one that hangs."""
MOST_BYTES = 1 << 16
"""Of an input."""
SEEDS = "seeds"
"""Folder of the good inputs; the engine adds to it what reaches new code."""
REPORT = "report.json"
"""What a target's process leaves of itself in its folder."""


class Target(NamedTuple):
    """Something that reads bytes."""

    make: Callable[[Path], Callable[[bytes], object]]
    """Gives the reader, given a scratch folder; it imports what it needs."""
    seeds: Callable[[Path], list[bytes]]
    """Good inputs to begin with."""


# ----------------------------------------------------------------------------------------- readers


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _yaml(_: Path) -> Callable[[bytes], object]:
    from sixgym.agents.config import TrainConfig, parse

    def read(data: bytes) -> None:
        found = parse(_text(data), "text")
        TrainConfig.create({"name": "a"} | (found if isinstance(found, dict) else {}))

    return read


def _manifest(_: Path) -> Callable[[bytes], object]:
    from sixgym.leaderboard.submissions.schema import read_manifest

    return lambda data: read_manifest(_text(data))


def _archive(folder: Path) -> Callable[[bytes], object]:
    import shutil

    from sixgym.leaderboard.submissions import receive

    def read(data: bytes) -> None:
        copies, file = folder / "copies", folder / "s.zip"
        shutil.rmtree(copies, ignore_errors=True)
        copies.mkdir()
        file.write_bytes(data)
        receive(file, copies)

    return read


def _tensors(_: Path) -> Callable[[bytes], object]:
    from safetensors.torch import load

    from sixgym.leaderboard.submissions.tensors import check_tensors

    def read(data: bytes) -> None:
        check_tensors("a.safetensors", data)
        load(data)  # what passes our check must pass theirs

    return read


def _onnx(_: Path) -> Callable[[bytes], object]:
    from sixgym.leaderboard.submissions.onnx_file import check_onnx

    return lambda data: check_onnx("a.onnx", data)


def _row(_: Path) -> Callable[[bytes], object]:
    from sixgym.leaderboard.store import dumps, loads

    def read(data: bytes) -> None:
        result = loads(_text(data))
        if loads(dumps(result)) != result:
            raise AssertionError("a row that does not survive writing")

    return read


def _series(ending: str) -> Callable[[Path], Callable[[bytes], object]]:
    def make(_: Path) -> Callable[[bytes], object]:
        from sixgym.envs.backend.traces import Column, TraceFile

        def read(data: bytes) -> None:
            trace = TraceFile(f"a{ending}", data)
            trace.take([Column(name) for name in trace.names])

        return read

    return make


def _sidecar(_: Path) -> Callable[[bytes], object]:
    from sixgym.envs.backend.traces import TraceFile

    return lambda data: TraceFile("a.csv", b"a,b\n1,2\n", data)


def _events(_: Path) -> Callable[[bytes], object]:
    from sixgym.envs.event_offload.trace_files import parse_traces

    return lambda data: parse_traces(data, "traces")


def _placed(name: str, read: Callable[[str], object], folder: Path) -> Callable[[bytes], object]:
    """A reader of files as one of bytes; each input has a name, for files are cached by theirs."""
    count = 0

    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        file = folder / f"{count}-{name}"
        file.write_bytes(data)
        try:
            read(str(file))
        finally:
            file.unlink()

    return run


def _network(ending: str) -> Callable[[Path], Callable[[bytes], object]]:
    def make(folder: Path) -> Callable[[bytes], object]:
        from sixgym.envs.netgpt.trace_files import read_trace

        return _placed(f"a{ending}", read_trace, folder)

    return make


def _arrivals(folder: Path) -> Callable[[bytes], object]:
    from sixgym.envs.llm_mac.traffic import read_trace

    return _placed("a.npy", read_trace, folder)


def _words(_: Path) -> Callable[[bytes], object]:
    from sixgym.envs.llm_mac.grammar import Grammar

    grammars = [Grammar(4, level=0), Grammar(4, level=3), Grammar(4, level=3, lenient=True)]
    here, told = (True, True, False, True), (False, True, False, True)

    def read(data: bytes) -> None:
        text = _text(data)
        for grammar in grammars:
            heard = grammar.read_ue(text, 1, q=1, m=1)
            grammar.read_bs(text, here, decoded=told, requested=told)
            if not heard.violation and grammar.parse_ue(
                grammar.print_ue(1, grammar.parse_ue(text, 1)), 1
            ) != grammar.parse_ue(text, 1):
                raise AssertionError("an utterance that is another when it is printed")

    return read


def _call(_: Path) -> Callable[[bytes], object]:
    from sixgym.agents.toolcall.validator import validate

    return lambda data: validate(_text(data))


def _state(_: Path) -> Callable[[bytes], object]:
    """Bytes as edits of a good state: which tensor, what becomes of it, and with what."""
    import gymnasium as gym
    import torch

    import sixgym

    del sixgym
    env: Any = gym.make_vec("sixgym/NetGptThreshold-v0", 2)
    env.reset(seed=0)
    good = env.state_dict()
    names = sorted(good)
    kinds = [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64, torch.int8]

    def read(data: bytes) -> None:
        saved = dict(good)
        for which, how, value, more in zip(*(data[i::4] for i in range(4)), strict=False):
            name = names[which % len(names)]
            like = saved.get(name, good[name])
            edits: dict[int, Callable[[], Any]] = {
                0: lambda like=like, v=value: like.to(kinds[v % len(kinds)]),
                1: lambda like=like, v=value, m=more: like.reshape(-1)[: v % 9].repeat(m % 9),
                2: lambda like=like, v=value: torch.full_like(like, v - 128),
                3: lambda like=like: like * float("nan"),
                4: lambda v=value: [None, 5, "x", [], {}][v % 5],
                5: lambda like=like: like[None],
                6: lambda like=like: like * 2**62,
            }
            if how % 8 == 7:
                saved.pop(name, None)
            elif isinstance(like, torch.Tensor):
                saved[name] = edits[how % 8]()
        env.load_state_dict(saved)

    return read


# ------------------------------------------------------------------------------------------- seeds


def _like(*names: str) -> Callable[[Path], list[bytes]]:
    """The good files of some kinds of `faults_files`, by the name of the file."""

    def seeds(folder: Path) -> list[bytes]:
        from faults_files import kinds

        return [kind.good[kind.spoil] for kind in kinds(folder) if kind.spoil in names]

    return seeds


def _these(*texts: str) -> Callable[[Path], list[bytes]]:
    return lambda _: [text.encode() for text in texts]


def _archived(_: Path) -> list[bytes]:
    """A trace with its units in the names, and one with them in an array."""
    import io

    import numpy as np

    files = io.BytesIO(), io.BytesIO()
    np.savez(files[0], **{"a [1]": np.arange(3.0), "b [dB]": np.arange(3)})
    np.savez_compressed(files[1], a=np.arange(3.0), units=np.array('{"a": "1"}'))
    return [file.getvalue() for file in files]


def _graphs(_: Path) -> list[bytes]:
    """A small network as ONNX, where its library is installed."""
    import numpy as np

    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return [b"\x08\x07"]
    held = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in (("w", (2, 3)), ("b", (2,)))
    ]
    nodes = [
        helper.make_node("Gemm", ["observation", "w", "b"], ["y"], transB=1),
        helper.make_node("Tanh", ["y"], ["action"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("observation", 3), ("action", 2))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return [bytes(made.SerializeToString())]


def _columns(_: Path) -> list[bytes]:
    """Two columns as Parquet, where pyarrow is installed."""
    import io

    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return [b"PAR1"]
    file = io.BytesIO()
    table = pyarrow.table({"a [1]": [1.0, 2.0], "b [dB]": [3, 4]})
    pyarrow.parquet.write_table(table, file)
    return [file.getvalue()]


SPOKEN = (
    "UE 1: transmit null",
    "UE 1: null schedule_request",
    "UE 1: delete null",
    "BS: UE 0 null, UE 1 schedule_grant, UE 3 acknowledge",
    "BS: ",
)
CALLS = (
    '{"name": "a", "arguments": {"b": 1}}',
    '{"tool": "move", "args": {"x": -1, "y": "z"}}',
)

TARGETS: dict[str, Target] = {
    "yaml": Target(_yaml, _like("c.yaml")),
    "manifest": Target(_manifest, _like("submission.yaml")),
    "archive": Target(_archive, _like("s.zip")),
    "tensors": Target(_tensors, _like("p.safetensors", "last-000000000003.safetensors")),
    "onnx": Target(_onnx, _graphs),
    "row": Target(_row, _like("r.json")),
    "trace-csv": Target(_series(".csv"), _these("a [1],b [dB]\n1,2\n3,4\n", "a\n1\n")),
    "trace-npz": Target(_series(".npz"), _archived),
    "trace-parquet": Target(_series(".parquet"), _columns),
    "units": Target(_sidecar, _these("a: dB\nb: 1\n")),
    "events": Target(_events, _like("e.npz")),
    "network-csv": Target(_network(".csv"), _like("n.csv")),
    "network-npz": Target(_network(".npz"), _like("n.npz")),
    "arrivals": Target(_arrivals, _like("a.npy")),
    "words": Target(_words, _these(*SPOKEN)),
    "call": Target(_call, _these(*CALLS)),
    "state": Target(_state, _these("\x00\x01\x02\x03", "abcdabcdabcdabcd")),
}


# -------------------------------------------------------------------------------------------- runs


class Judge:
    """Calls a reader, counts, and keeps one input for each kind of error and place.

    Args:
        read: what is tried.
        folder: where inputs are kept.
    """

    def __init__(self, read: Callable[[bytes], object], folder: Path) -> None:
        from sixgym.envs.backend.trace_formats import TraceError
        from sixgym.envs.core.errors import SixgymError

        self.read = read
        self.folder = folder
        self.counts = {"accepted": 0, "refused": 0}
        self.finds: dict[str, dict[str, Any]] = {}
        self._named = (SixgymError, TraceError)
        self._written = 0.0

    def __call__(self, data: bytes) -> None:
        """Try an input."""
        began = time.perf_counter()
        try:
            self.read(data)
            self.counts["accepted"] += 1
        except self._named as error:
            self.counts["refused"] += 1
            if "\n" in str(error):
                self._keep(data, "a message of several lines", str(error))
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            self._keep(data, kind, str(error))
        took = time.perf_counter() - began
        if took > TOO_SLOW_S:
            self._keep(data, "slow", f"{took:.0f} s")
        if time.monotonic() - self._written > 1.0:
            self.write()

    def _keep(self, data: bytes, kind: str, said: str) -> None:
        if kind in self.finds:
            self.finds[kind]["times"] += 1
            return
        name = f"find-{len(self.finds)}"
        (self.folder / name).write_bytes(data)
        self.finds[kind] = {"file": name, "said": " ".join(said.split())[:300], "times": 1}
        self.write()

    def write(self) -> None:
        """Leave the counts for who started this process: the engine ends it without warning."""
        self._written = time.monotonic()
        report = {**self.counts, "finds": self.finds}
        (self.folder / REPORT).write_text(json.dumps(report, indent=1))


def run_atheris(target: Target, folder: Path, seconds: int) -> None:
    """Fuzz with coverage; ends the process."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["sixgym", "yaml", "numpy.lib", "zipfile"]):
        read = target.make(folder / "scratch")
    judge = Judge(read, folder)
    limits = (
        f"-max_total_time={seconds}",
        f"-max_len={MOST_BYTES}",
        "-timeout=120",
        "-rss_limit_mb=0",
    )
    flags = [*limits, f"-artifact_prefix={folder}/crash-", "-seed=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *flags, str(folder / SEEDS)], judge)
    atheris.Fuzz()


def run_random(target: Target, folder: Path, seconds: float) -> None:
    """Change good inputs at random; the same changes in every run."""
    seeds = [path.read_bytes() for path in sorted((folder / SEEDS).iterdir())]
    judge = Judge(target.make(folder / "scratch"), folder)
    draw = random.Random(0)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        judge(mutated(draw.choice(seeds), draw))
    judge.write()


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """A good input with some of its bytes changed, lost, doubled or moved."""
    data = bytearray(seed)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 1, 2, 4, 16, 64)))
        new = {
            "bytes": lambda n=end - at: draw.randbytes(n),
            "lost": lambda: b"",
            "doubled": lambda a=at, e=end: bytes(data[a:e]) * draw.choice((2, 3, 100)),
            "word": lambda: draw.choice(WORDS),
            "flipped": lambda a=at, e=end: bytes(b ^ 1 << draw.randrange(8) for b in data[a:e]),
        }
        data[at:end] = new[draw.choice(sorted(new))]()
    return bytes(data[:MOST_BYTES])


WORDS = (
    *(b"\x00", b"\xff\xff\xff\xff", b"\n", b"[", b"{", b"]", b'"', b": ", b"- ", b"&a ", b"*a"),
    *(b"!!int ", b"9" * 50, b"1e999", b".nan", b"NaN", b"null", b"-1", b"\xed\xa0\x80"),
)


def _child(given: argparse.Namespace) -> None:
    target, folder = TARGETS[given.target[0]], given.out
    run = run_atheris if given.engine == "atheris" else run_random
    run(target, folder, given.seconds)


def try_target(name: str, engine: str, seconds: int, out: Path) -> dict[str, Any]:
    """Fuzz one target in a process of its own; its report."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        for part in (SEEDS, "scratch", "making"):
            (folder / part).mkdir(parents=True)
        # Made here: what the child imports before it is told to count would not be counted.
        for i, data in enumerate(TARGETS[name].seeds(folder / "making")):
            (folder / SEEDS / f"seed-{i}").write_bytes(data)
        line = [sys.executable, __file__, "--child", "--engine", engine, "--target", name]
        done = subprocess.run(
            [*line, "--seconds", str(seconds), "--out", str(folder)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        file = folder / REPORT
        if not file.is_file():
            raise SystemExit(f"{name}: nothing was tried: {done.stderr[-2000:]}")
        report: dict[str, Any] = {"target": name, **json.loads(file.read_text())}
        for path in (*folder.glob("find-*"), *folder.glob("crash-*")):
            kept = out / f"{name}-{path.name}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(path.read_bytes())
        for path in folder.glob("crash-*"):  # the engine's own: it hung or took the process down
            report["finds"][path.name] = {"said": done.stderr[-300:], "times": 1, "file": path.name}
    return report


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be repeated")
    parser.add_argument("--engine", choices=("atheris", "random"), default="atheris")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="folder of the finds")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main() -> int:
    """Fuzz, print the table and keep the finds."""
    given = arguments()
    if given.engine == "atheris" and importlib.util.find_spec("atheris") is None:
        print(
            "error: atheris is not installed: pip install atheris (CPython on Linux or macOS), "
            "or choose --engine random",
            file=sys.stderr,
        )
        return 2
    if given.child:
        _child(given)
        return 0
    print(f"{'target':<15}{'tried':>10}{'refused':>10}{'accepted':>10}  finds")
    has_finds = False
    for name in given.target or TARGETS:
        report = try_target(name, given.engine, given.seconds, given.out)
        accepted, refused, finds = report["accepted"], report["refused"], report["finds"]
        unnamed = sum(f["times"] for k, f in finds.items() if k not in ("slow",))
        total = accepted + refused + unnamed
        print(f"{name:<15}{total:>10,}{refused:>10,}{accepted:>10,}  {len(finds)}", flush=True)
        for kind, find in finds.items():
            print(f"    {kind}: {find['said']} ({given.out / name}-{find['file']})", flush=True)
        has_finds |= bool(finds)
    return int(has_finds)


if __name__ == "__main__":
    sys.exit(main())
