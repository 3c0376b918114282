"""Type-checks the package as a user has it: the installed wheel, from outside the checkout.

``mypy`` from the root of the checkout sees the front-door folder ``sixgym/`` only and says Success,
so the number of files that it checked is compared with the number that the package has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from build_wheel import ROOT, build_wheel


def main() -> int:
    """Run the check: 0 only if every file of the package was checked and passed."""
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        wheel = build_wheel(Path(scratch))
        install = ["pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
        install += ["--target", str(site), str(wheel)]
        subprocess.run([sys.executable, "-m", *install], check=True)
        expected = len(list((site / "sixgym").rglob("*.py")))
        command = ["mypy", "--strict", "-p", "sixgym", "--no-color-output"]
        command += ["--config-file", str(ROOT / "pyproject.toml")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache")]
        result = subprocess.run(
            [sys.executable, "-m", *command],
            check=False,
            cwd=scratch,
            env={**os.environ, "MYPYPATH": str(site)},
            stdout=subprocess.PIPE,
            text=True,
        )
    print(result.stdout.replace(f"{site.name}/sixgym/", "sixgym/"), end="")
    checked = re.search(r"(?:in|checked) (\d+) source files?", result.stdout)
    if checked is None or int(checked.group(1)) < expected:
        print(f"checked {checked.group(1) if checked else 0} files, the package has {expected}")
        return 1
    return result.returncode


if __name__ == "__main__":
    raise SystemExit(main())
