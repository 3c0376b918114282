"""The folders, the mapping of setup.py, the wheel and what it installs are one set of files."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAPPED = ("envs", "baselines", "agents", "configs", "leaderboard")
DATA_SUFFIXES = {".yaml", ".json", ".csv", ".npz", ".safetensors", ".typed"}

pytestmark = pytest.mark.xdist_group("wheel")


def mapped_in_setup() -> tuple[str, ...]:
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MAPPED":
            return tuple(ast.literal_eval(node.value))
    raise AssertionError("setup.py has no MAPPED")


def source_files(suffixes: set[str]) -> set[str]:
    """Files of the package by their path inside it, from the working tree."""
    found = set()
    for folder in ("sixgym", *MAPPED):
        prefix = "sixgym/" if folder in MAPPED else ""
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in suffixes and "__pycache__" not in path.parts:
                found.add(prefix + path.relative_to(ROOT).as_posix())
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("wheel")
    code = "from build_wheel import *; import sys; build_wheel(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(into)], check=True, cwd=ROOT / "tools")
    return next(into.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_every_top_level_folder_of_code_is_mapped() -> None:
    assert mapped_in_setup() == MAPPED
    own = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert own == {"sixgym", *MAPPED}


def test_build_script_copies_the_folders_that_setup_maps() -> None:
    text = (ROOT / "tools" / "build_wheel.py").read_text()
    assert f"MAPPED = {MAPPED}".replace("'", '"') in text


def test_every_folder_with_code_is_a_package() -> None:
    missing = [
        path.parent.relative_to(ROOT).as_posix()
        for folder in ("sixgym", *MAPPED)
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert missing == []


def test_no_package_and_no_conftest_puts_the_root_on_the_path() -> None:
    assert not (ROOT / "conftest.py").exists()
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_wheel_has_every_source_and_data_file_and_no_others(wheel: Path) -> None:
    suffixes = {".py", *DATA_SUFFIXES}
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if Path(name).suffix in suffixes}
        templates = {name for name in archive.namelist() if "/templates/" in name}
    assert {name for name in shipped if ".dist-info/" not in name} - templates == {
        name for name in source_files(suffixes) if "/templates/" not in name
    }
    assert templates == {
        f"sixgym/{path.relative_to(ROOT).as_posix()}"
        for folder in MAPPED
        for path in (ROOT / folder).rglob("templates/**/*")
        if path.is_file()
    }


@pytest.mark.slow
def test_every_id_steps_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import gymnasium as gym, sixgym\n"
        f"assert sixgym.__file__.startswith({str(installed)!r}), sixgym.__file__\n"
        "from sixgym.envs.core.registry import entries\n"
        "for e in entries():\n"
        "    env = gym.make(e.id); env.reset(seed=0); env.step(env.action_space.sample())\n"
        "    batch = gym.make_vec(e.id, 3); batch.reset(seed=0)\n"
        "    batch.step(batch.action_space.sample())\n"
        "    print(e.id)\n"
    )
    stepped = run_with(installed, ["-c", code], tmp_path).split()
    assert len(stepped) >= 12


@pytest.mark.slow
def test_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """All that the wheel has can be built from the source distribution alone."""
    code = "from build_wheel import *; import sys; build_sdist(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=ROOT / "tools")
    (source,) = tmp_path.glob("*.tar.gz")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (again,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        names = {n for n in one.namelist() if ".dist-info/" not in n}
        assert names == {n for n in other.namelist() if ".dist-info/" not in n}
        assert all(one.read(n) == other.read(n) for n in names)


def test_installed_wheel_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, gymnasium as gym\n"
        "import sixgym, sixgym.envs\n"
        f"assert sixgym.__file__.startswith({str(installed)!r}), sixgym.__file__\n"
        f"assert sixgym.envs.__file__.startswith({str(installed)!r}), sixgym.envs.__file__\n"
        "env = gym.make('sixgym:sixgym/RisNoma-v0')\n"
        "env.reset(seed=1); env.step(env.action_space.sample())\n"
    )
    run_with(installed, ["-c", code], tmp_path)
    listed = run_with(installed, ["-m", "sixgym", "list"], tmp_path)
    assert "sixgym/RisNoma-v0" in listed


def test_front_door_alone_says_how_to_install(tmp_path: Path) -> None:
    (tmp_path / "sixgym").symlink_to(ROOT / "sixgym")
    result = subprocess.run(
        [sys.executable, "-S", "-c", "import sixgym"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "pip install -e ." in result.stderr.splitlines()[-1]


def run_with(site: Path, arguments: list[str], cwd: Path) -> str:
    """Run Python outside the checkout with ``site`` first on the path."""
    prelude = f"import sys; sys.path.insert(0, {str(site)!r}); "
    prelude += "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
    if arguments[0] == "-m":
        argv = ["sixgym", *arguments[2:]]
        code = f"sys.argv = {argv!r}; import runpy; runpy.run_module('sixgym', run_name='__main__')"
    else:
        code = f"exec({arguments[1]!r})"
    command = [sys.executable, "-c", prelude + code]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout
