"""The check of the supply chain: pip-audit is judged, and what was lost on the way is found."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {"name": "odd", "skip_reason": "Dependency not found on PyPI"}
SOUND = {"name": "good", "version": "1.0", "vulns": []}
HOLED = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1"}]}


@pytest.fixture
def supply(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import supply

    return supply


def answer(
    monkeypatch: pytest.MonkeyPatch, supply: ModuleType, stdout: object, stderr: str = ""
) -> None:
    text = stdout if isinstance(stdout, str) else json.dumps({"dependencies": stdout})
    said = SimpleNamespace(stdout=text, stderr=stderr, returncode=1)
    monkeypatch.setattr(supply.subprocess, "run", lambda *_, **__: said)


def test_an_audit_counts_what_is_known_explained_and_not_listed(
    supply: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(supply.EXPLAINED, "PYSEC-1", "its server is never started")
    answer(monkeypatch, supply, [SOUND, HOLED, SKIPPED])
    said = supply.audit(tmp_path)
    assert said == "3 packages, 1 known and explained, 1 not in its list"


def test_an_unexplained_vulnerability_fails(
    supply: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, supply, [SOUND, HOLED])
    with pytest.raises(supply.FailedError, match=r"bad 2\.0: PYSEC-1"):
        supply.audit(tmp_path)


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [([SKIPPED, SKIPPED], ""), ("", "requests.exceptions.ConnectionError: no route")],
)
def test_a_service_that_knows_nothing_or_does_not_answer_is_no_clean_audit(
    supply: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    stdout: object,
    stderr: str,
) -> None:
    answer(monkeypatch, supply, stdout, stderr)
    assert supply.audit(tmp_path).startswith("NOT AUDITED: ")


def test_an_audit_that_breaks_otherwise_fails(
    supply: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, supply, "", "No module named pip_audit")
    with pytest.raises(supply.FailedError, match="No module named pip_audit"):
        supply.audit(tmp_path)


def distributions(folder: Path, inside: list[str]) -> tuple[Path, Path]:
    wheel, source = folder / "a.whl", folder / "a.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("sixgym/__init__.py", "sixgym/envs/system.py", "sixgym/METADATA"):
            archive.writestr(name, "")
    with tarfile.open(source, "w:gz") as archive:
        for name in inside:
            archive.addfile(tarfile.TarInfo(f"sixgym-1.0/{name}"), io.BytesIO())
    return wheel, source


def test_a_source_distribution_without_a_file_of_the_wheel_fails(
    supply: ModuleType, tmp_path: Path
) -> None:
    whole = distributions(tmp_path, ["sixgym/__init__.py", "envs/system.py"])
    assert supply.contents(*whole) == "2 files of the wheel are in it"
    with pytest.raises(supply.FailedError, match=r"1 files .* \['sixgym/envs/system.py'\]"):
        supply.contents(*distributions(tmp_path, ["sixgym/__init__.py"]))


def test_a_command_that_fails_tells_what_it_printed(supply: ModuleType) -> None:
    assert supply.run(sys.executable, "-c", "print('fine')") == "fine\n"
    with pytest.raises(supply.FailedError, match="the reason"):
        supply.run(sys.executable, "-c", "raise SystemExit('the reason')")


def test_the_smoke_refuses_a_package_from_the_checkout() -> None:
    """It is meant to try what was installed, so the editable install of the tests is no proof."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import supply; exec(supply.SMOKE)"
    command = [sys.executable, "-c", code, str(ROOT / "tools")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "AssertionError" in done.stderr
