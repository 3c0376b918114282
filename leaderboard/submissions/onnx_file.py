"""What an ONNX file holds, read from its bytes without a library and without running it.

An ONNX file is one protocol-buffers message. [standard: ONNX, ``onnx.proto3``] This reads as much
of it as must be known: that every operation is one of a list (arithmetic of small networks, no
loops, no branches, no operators of somebody's own), that nothing is kept in other files, and that
all numbers are there and finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import SubmissionError

_NAMES = """
Abs Add And ArgMax ArgMin Cast Ceil Clip Concat Constant Cos Div Elu Equal Erf Exp Flatten Floor
Gather Gelu Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity LayerNormalization LeakyRelu
Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mul Neg Not Or Pow ReduceMax ReduceMean
ReduceMin ReduceSum Relu Reshape Round Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Softsign
Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where Xor
"""

OPERATORS = frozenset(_NAMES.split())
"""Operators of a network that decides. None of them repeats, branches, draws or fills."""

MOST_NODES = 2000
"""Operations of a graph."""
SOURCES = ("observation", "action_mask")
"""What a graph may take; where observations have keys, ``observation.KEY``."""
RESULT = "action"
"""What it must give."""
FLOATS: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 11: np.dtype("<f8")}
"""Types of numbers that must be finite, by their number in the format."""
TYPES: dict[int, np.dtype[Any]] = {
    **FLOATS,
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype("?"),
}
"""Types of numbers that are allowed."""

GRAPH_FIELDS = {1, 2, 5, 10, 11, 12, 13, 16}
"""Nodes, name, numbers, text, inputs, outputs, shapes between, remarks."""
MODEL_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14}
"""Versions, producer, text, the graph, its operator sets, remarks."""
SUBGRAPHS = {6, 11, 22, 23}
"""Fields of an attribute that hold graphs or sparse numbers."""


class Part(NamedTuple):
    """One field of a message: its number, and an integer or its bytes."""

    field: int
    value: int | memoryview


def check_onnx(name: str, data: bytes) -> None:
    """Check the whole file.

    Args:
        name: of the file, for messages.
        data: its content.

    Raises:
        SubmissionError: it holds anything else than a small network.
    """
    graphs, domains = [], []
    for field, value in _parts(name, memoryview(data)):
        if field not in MODEL_FIELDS:
            raise SubmissionError(f"{name}: field {field} of the model (functions?): not allowed")
        if field == 7:
            graphs.append(_bytes(name, value))
        elif field == 8:
            domains.append(_domain(name, _bytes(name, value)))
    if len(graphs) != 1:
        raise SubmissionError(f"{name}: not an ONNX file: {len(graphs)} graphs")
    for domain in domains:
        if domain not in ("", "ai.onnx"):
            raise SubmissionError(f"{name}: operators of {domain!r}; allowed: those of ONNX")
    _check_graph(name, graphs[0])


def _domain(name: str, message: memoryview) -> str:
    """The domain of a set of operators."""
    found = [_text(name, value) for field, value in _parts(name, message) if field == 1]
    return found[-1] if found else ""


def _check_graph(name: str, graph: memoryview) -> None:
    nodes = 0
    inputs: list[str] = []
    outputs: list[str] = []
    held: set[str] = set()
    for field, value in _parts(name, graph):
        if field not in GRAPH_FIELDS:
            raise SubmissionError(f"{name}: field {field} of the graph: not allowed")
        if field == 1:
            nodes += 1
            _check_node(name, _bytes(name, value))
        elif field == 5:
            held.add(_check_numbers(name, _bytes(name, value)))
        elif field in (11, 12):
            (inputs if field == 11 else outputs).append(_first_text(name, _bytes(name, value)))
    if nodes > MOST_NODES:
        raise SubmissionError(f"{name}: {nodes} operations; allowed: {MOST_NODES}")
    for source in inputs:
        if source not in held and source.partition(".")[0] not in SOURCES:
            raise SubmissionError(f"{name}: takes {source!r}; allowed: {', '.join(SOURCES)}")
    if outputs != [RESULT]:
        raise SubmissionError(f"{name}: gives {outputs}; allowed: [{RESULT!r}]")


def _check_node(name: str, node: memoryview) -> None:
    """One operation: of the list, and with numbers alone."""
    operator = domain = ""
    for field, value in _parts(name, node):
        if field == 4:
            operator = _text(name, value)
        elif field == 7:
            domain = _text(name, value)
        elif field == 5:
            for number, held in _parts(name, _bytes(name, value)):
                if number in SUBGRAPHS:
                    raise SubmissionError(f"{name}: {operator}: holds a graph: not allowed")
                if number in (5, 10):
                    _check_numbers(name, _bytes(name, held))
    if domain not in ("", "ai.onnx"):
        raise SubmissionError(f"{name}: operator {operator!r} of {domain!r}: not allowed")
    if operator not in OPERATORS:
        raise SubmissionError(f"{name}: operator {operator!r}: not allowed")


def _check_numbers(name: str, tensor: memoryview) -> str:
    """One tensor: its type, and its numbers if they are floats; its name."""
    kind, label, raw, values = 0, "", b"", []
    for field, value in _parts(name, tensor):
        if field in (13, 14) and value != 0:
            raise SubmissionError(f"{name}: numbers in another file: not allowed")
        if field == 2:
            kind = value if isinstance(value, int) else 0
        elif field == 8:
            label = _text(name, value)
        elif field == 9:
            raw = bytes(_bytes(name, value))
        elif field in (4, 10):
            values.append(_floats(name, value, field))
    if kind not in TYPES:
        raise SubmissionError(f"{name}: numbers of type {kind}; allowed: {sorted(TYPES)}")
    if kind in FLOATS and raw:
        if len(raw) % FLOATS[kind].itemsize:
            raise SubmissionError(f"{name}: {label}: {len(raw)} bytes of numbers: truncated")
        values.append(np.frombuffer(raw, dtype=FLOATS[kind]))
    if not all(np.isfinite(part).all() for part in values):
        raise SubmissionError(f"{name}: {label}: not finite")
    return label


def _floats(name: str, value: int | memoryview, field: int) -> NDArray[Any]:
    """Numbers that are kept as floats of their own: packed, or one a field."""
    kind = np.dtype("<f4" if field == 4 else "<f8")
    data = _bytes(name, value)
    if len(data) % kind.itemsize:
        raise SubmissionError(f"{name}: {len(data)} bytes of numbers: truncated")
    return np.frombuffer(data, dtype=kind)


def _first_text(name: str, message: memoryview) -> str:
    """The name that is the first field of an input or an output."""
    return next((_text(name, v) for field, v in _parts(name, message) if field == 1), "")


def _bytes(name: str, value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise SubmissionError(f"{name}: not an ONNX file: a number for a message")
    return value


def _text(name: str, value: int | memoryview) -> str:
    try:
        return bytes(_bytes(name, value)).decode("utf-8")
    except UnicodeDecodeError:
        raise SubmissionError(f"{name}: not an ONNX file: a name is no text") from None


def _parts(name: str, message: memoryview) -> Iterator[Part]:
    """The fields of a message in their order.

    [standard: Protocol Buffers, "Encoding"]

    Raises:
        SubmissionError: it ends within a field, or has one of another kind.
    """
    place = 0
    while place < len(message):
        key, place = _varint(name, message, place)
        field, kind = key >> 3, key & 7
        if kind == 0:
            number, place = _varint(name, message, place)
            yield Part(field, number)
            continue
        if kind == 2:
            size, place = _varint(name, message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise SubmissionError(f"{name}: not an ONNX file: a field of kind {kind}")
        if size > len(message) - place:
            raise SubmissionError(f"{name}: not an ONNX file: it ends within a field")
        yield Part(field, message[place : place + size])
        place += size


def _varint(name: str, message: memoryview, place: int) -> tuple[int, int]:
    """A whole number of up to ten bytes, and the place after it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise SubmissionError(f"{name}: not an ONNX file: a number without end")
