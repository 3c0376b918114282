"""Trace files: units, every fault named, nothing unpickled; and their playback to rows."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.envs.backend import trace_formats, traces
from sixgym.envs.backend.playback import Playback
from sixgym.envs.backend.rng import episode_key
from sixgym.envs.backend.trace_formats import TraceError
from sixgym.envs.backend.traces import Column, TraceFile, open_trace
from sixgym.envs.backend.units import UNITS, to_si

GAIN = Column("gain", "ratio", 0.0, 1e6)
CSV = "time [s],gain [dB],note\n0,0,a\n0.5,10,b\n1,-10,c\n"


def write(folder: Path, name: str, content: str | bytes) -> str:
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    return str(folder / name)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def parquet(columns: dict[str, Any], units: dict[str, str] | None = None, field: str = "") -> bytes:
    pa = pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet is read by pyarrow")
    table = pa.table(columns)
    if units is not None:
        table = table.replace_schema_metadata({"units": json.dumps(units)})
    if field:
        marked = [f.with_metadata({"unit": field}) for f in table.schema]
        table = table.cast(pa.schema(marked))
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


# -------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("value", "symbol", "si"),
    [
        (30.0, "dBm", 1.0),
        (-3.0, "dB", 0.501187233627),
        (20.0, "dBW", 100.0),
        (250.0, "mW", 0.25),
        (30.0, "MHz", 3e7),
        (1.5, "kbit", 1500.0),
        (2.0, "bytes", 16.0),
        (1.0, "KiB", 8192.0),
        (36.0, "km/h", 10.0),
        (40.0, "ms", 0.04),
        (7.0, "slots", 7.0),
    ],
)
def test_units_in_si(value: float, symbol: str, si: float) -> None:
    assert to_si(np.array([value]), symbol)[0] == pytest.approx(si, rel=1e-11)


def test_every_unit_keeps_order() -> None:
    for symbol in UNITS:
        first, second = to_si(np.array([1.0, 2.0]), symbol)
        assert 0.0 < first < second, symbol


# ------------------------------------------------------------------------------------- formats


def test_csv_with_units_in_the_header(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path, "a.csv", CSV))
    assert trace.names == ("time", "gain", "note")
    table = trace.take([Column("time", "time"), GAIN])
    np.testing.assert_allclose(table, [[0, 1], [0.5, 10], [1, 0.1]], rtol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1.0


@pytest.mark.parametrize("text", ['"gain [dB]", x\n"10",1\n', "\ufeffgain [dB],x\r\n\r\n10,1\r\n"])
def test_csv_with_quotes_marks_and_empty_lines(tmp_path: Path, text: str) -> None:
    assert open_trace(write(tmp_path, "a.csv", text)).take([GAIN]).tolist() == [[10.0]]


def test_npz_and_parquet_hold_the_same(tmp_path: Path) -> None:
    values = np.array([0.0, 10.0, -10.0], np.float32)
    units = {"gain": "dB"}
    contents = {
        "units.npz": npz(gain=values, units=json.dumps(units)),
        "name.npz": npz(**{"gain [dB]": values}),
        "schema.parquet": parquet({"gain": values}, units),
        "field.parquet": parquet({"gain": values}, field="dB"),
        "name.parquet": parquet({"gain [dB]": values}),
    }
    for name, raw in contents.items():
        table = open_trace(write(tmp_path, name, raw)).take([GAIN])
        np.testing.assert_allclose(table[:, 0], [1.0, 10.0, 0.1], err_msg=name)


def test_units_beside_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "gain,load\n3,1\n")
    before = open_trace(path).digest
    write(tmp_path, "a.csv.units.yaml", "gain: 1\nload: kbit\n")
    trace = open_trace(path)
    assert trace.take([GAIN, Column("load", "data")]).tolist() == [[3.0, 1000.0]]
    assert trace.digest != before
    assert trace.digest == traces.digest_of(path)


def test_a_unit_in_the_file_goes_before_one_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "gain [dB]\n10\n")
    write(tmp_path, "a.csv.units.yaml", "gain: '%'\n")
    assert open_trace(path).take([GAIN]).tolist() == [[10.0]]


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    one, same = write(tmp_path, "a.csv", CSV), write(tmp_path / "b", "c.csv", CSV)
    assert open_trace(one).digest == open_trace(same).digest
    write(tmp_path, "a.csv", CSV + "2,3,d\n")
    assert open_trace(one).digest != open_trace(same).digest
    assert open_trace(one).take([GAIN]).shape == (4, 1)


# -------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "load [bit]\n1\n", "column 'gain' is missing; the columns are: load"),
        ("a.csv", "", "column 'gain' is missing; the columns are: none"),
        ("a.csv", "gain\n1\n", "column 'gain' declares no unit; allowed: 1, %, dB, as in 'gain"),
        ("a.csv", "gain [dBB]\n1\n", "column 'gain' has unit 'dBB': unknown; allowed: 1, %, dB"),
        ("a.csv", "gain [dBm]\n1\n", "unit 'dBm': another quantity"),
        ("a.csv", "gain [1]\n1\nnan\n", r"column 'gain' is nan 1 at row 1 \(the first is 0\)"),
        ("a.csv", "gain [1]\n1\n2\ninf\n", "is inf 1 at row 2"),
        ("a.csv", "gain [dB]\n1\n9999\n", "is 9999 dB at row 1"),
        ("a.csv", "gain [dB]\n1\n-inf\n", "is -inf dB at row 1"),
        ("a.csv", "gain [1]\n-1\n", "is -1 1 at row 0.*allowed: finite and >= 0 and <= 1e"),
        ("a.csv", "x,gain [1]\n1,2\n1,b\n", "line 3, column gain: 'b'; allowed: a number"),
        ("a.csv", "x,gain [1]\n1,2\n1\n", "line 3, column gain: ''; allowed: a number"),
        ("a.csv", "gain [1]\n", r"shapes gain \(0,\); allowed: \(slots,\) of each, at least one"),
        ("a.csv", "gain [1],gain [dB]\n1,2\n", "column 'gain' is there twice"),
        ("a.csv", b"\xff\xfe\x00", "not a text of comma-separated values"),
        ("a.txt", CSV, r"ends in \.txt; allowed: \.csv, \.npz, \.parquet"),
        ("a", CSV, "ends in nothing"),
        ("a.npz", CSV, "not an .npz archive"),
        ("a.npz", npz(gain=np.ones(2))[:-30], "damaged .npz archive"),
        ("a.npz", npz(**{"gain [1]": np.ones((2, 2))}), r"shapes gain \(2, 2\)"),
        ("a.npz", npz(**{"gain [1]": np.array(["a"])}), "has type <U1; allowed: numbers"),
        ("a.npz", npz(**{"gain [1]": np.array([{}])}), "'gain .1.' holds pickled objects"),
        ("a.npz", npz(gain=np.ones(2), units="{"), "'units' is not JSON"),
        ("a.npz", npz(gain=np.ones(2), units="[1]"), "'units' is no mapping"),
        ("a.npz", npz(gain=np.ones(2), units='{"gain": []}'), "'units' holds more than names"),
        ("a.npz", npz(gain=np.ones(2), units=np.ones(2)), r"array 'units' has shape \(2,\)"),
        ("a.parquet", CSV, "damaged Parquet file"),
    ],
)
def test_a_fault_is_one_line_that_names_file_and_place(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="Parquet is read by pyarrow")
    path = write(tmp_path, name, content)
    with pytest.raises(TraceError, match=message) as caught:
        open_trace(path).take([GAIN])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(path)


def test_columns_of_different_length_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a.npz", npz(**{"gain [1]": np.ones(2), "b [1]": np.ones(3)}))
    with pytest.raises(TraceError, match=r"shapes gain \(2,\), b \(3,\)"):
        open_trace(path).take([GAIN, Column("b")])


def test_amplitudes_take_no_decibels(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "re [dB]\n1\n")
    with pytest.raises(TraceError, match="unit 'dB': another quantity; allowed: 1, %"):
        open_trace(path).take([Column("re", decibels=False)])


def test_a_null_in_parquet_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.parquet", parquet({"gain": [1.0, None]}, {"gain": "1"}))
    with pytest.raises(TraceError, match="column 'gain' is nan 1 at row 1"):
        open_trace(path).take([GAIN])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "not YAML"),
        ("- a", "no mapping"),
        ("gain: {a: b}", "more than names"),
        ("!!python/object/apply:os.system ['exit 1']", "not YAML"),
    ],
)
def test_a_wrong_file_of_units_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path, "a.csv", "gain\n1\n")
    write(tmp_path, "a.csv.units.yaml", content)
    with pytest.raises(TraceError, match=message):
        open_trace(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, message in (
        (str(tmp_path / "none.csv"), "does not exist"),
        (str(tmp_path), "is a folder"),
        ("a\0b.csv", "allowed: the path of a file"),
    ):
        with pytest.raises(TraceError, match=message):
            open_trace(path)


def test_sizes_are_checked_before_anything_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gain [1].npy", bytes(1_000_000))
    path = write(tmp_path, "a.npz", stream.getvalue())
    for module in (traces, trace_formats):
        monkeypatch.setattr(module, "MOST_BYTES", 100_000)
    with pytest.raises(TraceError, match="archive of 1000000 bytes; allowed: at most 100000"):
        open_trace(path)
    path = write(tmp_path, "b.csv", "gain [1]\n" + "1\n" * 60_000)
    with pytest.raises(TraceError, match="120009 bytes; allowed: at most 100000"):
        open_trace(path)
    monkeypatch.setattr(traces, "MOST_VALUES", 2)
    path = write(tmp_path, "c.csv", "gain [1]\n1\n1\n1\n")
    with pytest.raises(TraceError, match="1 columns of 3 rows; allowed: at most 2 values"):
        open_trace(path).take([GAIN])


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TraceError, match=r"pip install 'sixgym\[traces\]'"):
        open_trace(write(tmp_path, "a.parquet", b"PAR1"))


def only_named_errors(name: str, raw: bytes) -> None:
    fault = ""
    try:
        trace = TraceFile(name, raw)
        for column in trace.names:
            unit = UNITS.get(trace.units.get(column, ""))
            table = trace.take([Column(column, unit.quantity if unit else "ratio")])
            assert np.isfinite(table).all()
    except TraceError as error:
        fault = str(error)
    assert not fault or fault.startswith(name)
    assert "\n" not in fault


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(["a.csv", "a.npz"]), raw=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_name(name: str, raw: bytes) -> None:
    only_named_errors(name, raw)


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="gain[]dB1,.-\"'\n\r \0eé_#", max_size=80))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    only_named_errors("a.csv", f"gain [dB]{text}".encode())


WHOLE = npz(**{"gain [dB]": np.arange(40.0)}, units='{"gain": "dB"}')


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_archive_is_read_or_refused_by_name(place: int, byte: int, cut: bool) -> None:
    raw = WHOLE[:place] if cut else WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    only_named_errors("a.npz", raw)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_parquet_file_is_read_or_refused_by_name(data: st.DataObject) -> None:
    whole = parquet({"gain": np.arange(40.0)}, {"gain": "dB"})
    place = data.draw(st.integers(0, len(whole) - 1))
    raw = whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :]
    only_named_errors("a.parquet", raw)


# ------------------------------------------------------------------------------------ playback


def keys(rows: int, first: int = 0) -> torch.Tensor:
    return episode_key(torch.arange(first, first + rows), torch.zeros(rows, dtype=torch.int64))


def counting(recordings: int, slots: int, series: int) -> np.ndarray[Any, Any]:
    """A table whose numbers tell recording, slot and series."""
    place = np.arange(recordings)[:, None, None] * 100.0 + np.arange(slots)[:, None]
    return place + np.arange(series) / 10.0


def test_an_episode_goes_on_slot_by_slot_and_wraps_in_its_recording() -> None:
    playback = Playback(counting(3, 5, 2), dtype=torch.float64)
    key = keys(400)
    first = playback.at(key, torch.zeros(400)).squeeze(1)
    for slot in range(12):
        heard = playback.at(key, torch.full((400,), float(slot))).squeeze(1)
        recording, start = first[:, 0] // 100, first[:, 0] % 100
        expected = recording * 100 + (start + slot) % 5
        torch.testing.assert_close(heard[:, 0], expected)
        torch.testing.assert_close(heard[:, 1], expected + 0.1)
    assert len(first[:, 0].unique()) == 15


def test_a_row_hears_the_same_in_any_batch() -> None:
    playback = Playback(counting(3, 50, 4), places=3)
    slot = torch.tensor([7, 8, 9])
    whole = playback.at(keys(3, first=5), slot)
    assert whole.shape == (3, 3, 4)
    for row in range(3):
        alone = playback.at(keys(1, first=5 + row), slot[row : row + 1])
        assert torch.equal(alone[0], whole[row])


def test_places_are_uniform_and_independent() -> None:
    playback = Playback(counting(1, 8, 1), places=2, dtype=torch.float64)
    start = playback.start(keys(4096))
    pairs = torch.bincount(start[:, 0] * 8 + start[:, 1], minlength=64)
    # 64 cells of 64 rows each; chi-square with 63 degrees of freedom, 0.999 quantile 103.4.
    assert float(((pairs - 64.0) ** 2 / 64.0).sum()) < 103.4
