"""Writes constraints.txt: the versions that pip resolves today for every extra, in a fresh venv.

A local version label (``torch 2.13.0+cpu``) is dropped, so that the same file serves the builds
for CPU and for CUDA. torch is chosen here and all else follows: it decides what is fast and what is
bit-equal, so it moves by a decision and not by the calendar.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
HEADER = """\
# Every version that the tests run with (Python 3.11, all extras). Written by `make constraints`.
# Use: pip install -c constraints.txt -e '.[train]'
"""


def main() -> None:
    """Resolve, freeze and write."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        pip = [str(Path(scratch) / "bin" / "python"), "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", "-e", f"{ROOT}[dev]", TORCH], check=True)
        freeze = [*pip, "freeze", "--exclude-editable", "--all"]
        frozen = subprocess.run(freeze, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line for line in frozen.splitlines() if "==" in line and not line.startswith("pip==")]
    pins = sorted({line.split("+")[0] for line in lines}, key=str.lower)
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins) + "\n")
    print(f"{len(pins)} versions pinned", file=sys.stderr)


if __name__ == "__main__":
    main()
