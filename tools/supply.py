"""The supply chain: known vulnerabilities, distributions that are whole, an install that works.

Run with ``make supply``. In turn: pip-audit over constraints.txt; a wheel and a source distribution
from a copy of the tree, judged by ``twine check --strict``; the wheel, then a wheel built from the
source distribution alone, each installed in a clean environment with its plain dependencies, where
every id is made, reset and stepped outside the checkout. Exits 1 if any of it fails. What pip-audit
finds and we explain stands in `EXPLAINED`; that its service cannot be asked is said, and no
failure.

Needs pip-audit, build and twine beside uv: ``pip install uv pip-audit build twine``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from versions import ROOT, copy_of_the_tree, settings_of_uv

EXPLAINED: dict[str, str] = {}
"""Why a vulnerability does not concern us, by its id."""
UNREACHABLE = ("ConnectionError", "Max retries", "ServiceError", "NameResolution", "timed out")
NOT_ASKED = (
    "NOT AUDITED: the service of known vulnerabilities cannot be reached from here, "
    "so nothing is known of the pinned packages"
)
SMOKE = """
import pathlib, sys
import gymnasium as gym
import sixgym
assert pathlib.Path(sixgym.__file__).is_relative_to(sys.prefix), sixgym.__file__
from sixgym.envs.core.registry import entries
ids = [e.id for e in entries()]
assert len(ids) >= 12, ids
for id in ids:
    env = gym.make(id)
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    batch = gym.make_vec(id, 3)
    batch.reset(seed=0)
    batch.step(batch.action_space.sample())
print(len(ids))
"""


class FailedError(Exception):
    """A part of the check failed."""


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        FailedError: its exit code is not 0.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env=env)
    if done.returncode != 0:
        raise FailedError((done.stdout + done.stderr).strip()[-2000:])
    return done.stdout


def audit(scratch: Path) -> str:
    """Known vulnerabilities of what is pinned."""
    pins = ROOT / "constraints.txt"
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(pins), "--no-deps"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        if any(word in done.stderr for word in UNREACHABLE):
            return NOT_ASKED
        raise FailedError(done.stderr.strip()[-2000:]) from None
    known = {
        vulnerability["id"]: f"{item['name']} {item['version']}"
        for item in found
        for vulnerability in item.get("vulns", [])
    }
    odd = {name: what for name, what in known.items() if name not in EXPLAINED}
    if odd:
        raise FailedError("; ".join(f"{what}: {name}" for name, what in odd.items()))
    skipped = sum("skip_reason" in item for item in found)
    if skipped == len(found):  # a mirror without the service answers that it knows no package
        return NOT_ASKED
    return f"{len(found)} packages, {len(known)} known and explained, {skipped} not in its list"


def distributions(scratch: Path) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    tree = copy_of_the_tree(scratch / "tree")
    run(sys.executable, "-m", "build", "--outdir", scratch / "dist", tree)
    (wheel,), (source,) = (list((scratch / "dist").glob(p)) for p in ("*.whl", "*.tar.gz"))
    return wheel, source


def smoke(scratch: Path, what: Path, name: str) -> str:
    """Install a distribution in a clean environment and step every id."""
    venv = scratch / name
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--quiet", "--python", sys.executable, venv)
    pins = ROOT / "constraints.txt"
    python = venv / "bin" / "python"
    install = (*uv, "pip", "install", "--quiet", "--python", python, "--constraint", pins, what)
    run(*install, env=settings_of_uv())
    empty = scratch / f"{name}-cwd"
    empty.mkdir()
    count = run(python, "-c", SMOKE, cwd=empty).split()[-1]
    listed = run(venv / "bin" / "sixgym", "list", cwd=empty)
    if listed.count("sixgym/") < int(count):
        raise FailedError(f"`sixgym list` names fewer than {count} ids")
    return f"{count} ids made and stepped"


def contents(wheel: Path, source: Path) -> str:
    """The source distribution has every source file of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        shipped = {n for n in archive.namelist() if n.endswith((".py", ".yaml", ".safetensors"))}
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    front = "sixgym/"
    lost = [n for n in shipped if n not in inside and n.removeprefix(front) not in inside]
    if lost:
        raise FailedError(f"{len(lost)} files of the wheel are not in it: {sorted(lost)[:5]}")
    return f"{len(shipped)} files of the wheel are in it"


def main() -> int:
    """Check, print and exit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--skip-install", action="store_true", help="no clean environments")
    given = parser.parse_args()
    bad = 0

    def part(name: str, check: Callable[[], str]) -> None:
        nonlocal bad
        try:
            print(f"{name:<24}{check()}", flush=True)
        except FailedError as error:
            bad = 1
            print(f"{name:<24}FAILED: {error}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        part("pip-audit", lambda: audit(scratch))
        wheel, source = distributions(scratch)
        twine = (sys.executable, "-m", "twine", "check", "--strict", wheel, source)
        part("twine check", lambda: run(*twine) and "passed")
        part("source distribution", lambda: contents(wheel, source))
        if not given.skip_install:
            part("wheel alone", lambda: smoke(scratch, wheel, "wheel"))
            part("source alone", lambda: smoke(scratch, source, "source"))
    return bad


if __name__ == "__main__":
    sys.exit(main())
