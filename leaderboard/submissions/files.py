"""From a folder or a zip of a stranger to plain copies that are known to be what they say.

Nothing is unpacked where the archive wants it: its files are copied one by one, counted as they are
read, under the plain names that the manifest has. No tensor is read before the headers of all are
checked, and none of the checks runs anything of the submission.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from sixgym.envs.core.errors import SubmissionError
from sixgym.leaderboard.submissions.onnx_file import check_onnx
from sixgym.leaderboard.submissions.schema import MANIFEST, Received, read_manifest
from sixgym.leaderboard.submissions.tensors import check_tensors

MOST_FILES = 20
"""Files of a submission."""
MANIFEST_BYTES = 64 * 1024
"""Size of the manifest."""
FILE_BYTES = 64 * 1024**2
"""Size of one file."""
TOTAL_BYTES = 128 * 1024**2
"""Size of all files, unpacked."""
RATIO = 50
"""Bytes of a file from one byte of an archive: weights hardly shrink."""
CHUNK = 1024 * 1024
"""Bytes that are copied at a time."""
ALSO_ALLOWED = ("README.md", "LICENSE")
"""Files that may lie beside; they are not read."""


class Found(NamedTuple):
    """One file of a submission as it is offered.

    Attributes:
        name: its plain name.
        size: in bytes, as the folder or the archive says.
        packed: in bytes, in the archive; None in a folder.
    """

    name: str
    size: int
    packed: int | None = None


Opener = Callable[[str], IO[bytes]]
"""Opens a file of a submission by its plain name."""


def receive(source: Path | str, folder: Path | str) -> Received:
    """Copy a submission and check it.

    Args:
        source: a folder, or a zip.
        folder: an empty folder of ours for the copies.

    Raises:
        SubmissionError: anything about it is not as it must be.
    """
    copies = Path(folder)
    with _opened(Path(source)) as (found, open_file):
        if MANIFEST not in found:
            raise SubmissionError(f"{source}: no {MANIFEST} in it")
        _check_sizes(found)
        _copy(found[MANIFEST], copies, open_file, MANIFEST_BYTES)
        submission = read_manifest(_text(copies / MANIFEST))
        wanted = [weights.file for weights in submission.weights]
        for name in wanted:
            if name not in found:
                raise SubmissionError(f"{MANIFEST}: weights: {name}: no such file in it")
        unknown = sorted(set(found) - {MANIFEST, *wanted, *ALSO_ALLOWED})
        if unknown:
            raise SubmissionError(f"{unknown[0]}: not named by {MANIFEST}; allowed: only what is")
        for name in wanted:
            _copy(found[name], copies, open_file, FILE_BYTES)
    check = check_onnx if submission.is_onnx else check_tensors
    checksums = {}
    for name in wanted:
        data = (copies / name).read_bytes()
        check(name, data)
        checksums[name] = hashlib.sha256(data).hexdigest()
    return Received(submission, copies, checksums)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, Found], Opener]]:
    """The files of a folder or of a zip, and how they are opened.

    Raises:
        SubmissionError: it is neither, or something in it is no plain file.
    """
    if path.is_symlink():
        raise SubmissionError(f"{path}: a symbolic link; allowed: a folder or a zip")
    if path.is_dir():
        yield _list_folder(path), lambda name: _open_plain(path / name)
    elif path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                yield _list_zip(archive), archive.open
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
            raise SubmissionError(f"{path}: not a zip that can be read: {error}") from None
    else:
        raise SubmissionError(f"{path}: no such folder or zip")


def _check_sizes(found: Mapping[str, Found]) -> None:
    """Raise where the files are too large by what is said of them."""
    for file in found.values():
        limit = MANIFEST_BYTES if file.name == MANIFEST else FILE_BYTES
        if file.size > limit:
            raise SubmissionError(f"{file.name}: {file.size} bytes; allowed: {limit}")
        if file.packed is not None and file.size > RATIO * max(file.packed, 1):
            raise SubmissionError(
                f"{file.name}: {file.size} bytes from {file.packed} of the archive; "
                f"allowed: {RATIO} times as many"
            )
    total = sum(file.size for file in found.values())
    if total > TOTAL_BYTES:
        raise SubmissionError(f"{total} bytes in all; allowed: {TOTAL_BYTES}")


def _copy(file: Found, folder: Path, open_file: Opener, limit: int) -> None:
    """Copy one file under its plain name, and no more than it may have.

    Raises:
        SubmissionError: it is longer than it said.
    """
    most, read = min(file.size, limit), 0
    with open_file(file.name) as source, (folder / file.name).open("xb") as target:
        while chunk := source.read(CHUNK):
            read += len(chunk)
            if read > most:
                raise SubmissionError(f"{file.name}: longer than {most} bytes, which it said")
            target.write(chunk)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SubmissionError(f"{path.name}: not a text file") from None


def _list_folder(path: Path) -> dict[str, Found]:
    """The files of a folder, without following or opening anything.

    Raises:
        SubmissionError: something in it is no plain file.
    """
    found = {}
    with os.scandir(path) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False)
            if stat.S_ISLNK(mode.st_mode):
                raise SubmissionError(f"{entry.name}: a symbolic link; allowed: plain files")
            if not stat.S_ISREG(mode.st_mode):
                raise SubmissionError(f"{entry.name}: no plain file; allowed: plain files")
            found[entry.name] = Found(entry.name, mode.st_size)
            if len(found) > MOST_FILES:
                raise SubmissionError(f"more than {MOST_FILES} files")
    return found


def _list_zip(archive: zipfile.ZipFile) -> dict[str, Found]:
    """The files of an archive, by what it says of them.

    Raises:
        SubmissionError: a name leads elsewhere or stands twice, or something is no plain file.
    """
    items = archive.infolist()
    if len(items) > MOST_FILES:
        raise SubmissionError(f"{len(items)} files; allowed: {MOST_FILES}")
    found: dict[str, Found] = {}
    for item in items:
        name, mode = item.filename, item.external_attr >> 16
        if PurePosixPath(name).name != name or "\\" in name or ":" in name or name in ("", ".."):
            raise SubmissionError(f"{name!r}: a path; allowed: plain names, without folders")
        if stat.S_ISLNK(mode):
            raise SubmissionError(f"{name}: a symbolic link; allowed: plain files")
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise SubmissionError(f"{name}: no plain file; allowed: plain files")
        if item.flag_bits & 0x1:
            raise SubmissionError(f"{name}: encrypted; allowed: open files")
        if name in found:
            raise SubmissionError(f"{name}: stands twice in the archive")
        found[name] = Found(name, item.file_size, item.compress_size)
    return found


def _open_plain(path: Path) -> IO[bytes]:
    """Open a file, but neither a link nor a pipe that took its place in the meantime."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise SubmissionError(f"{path.name}: no plain file; allowed: plain files")
    return os.fdopen(handle, "rb")
