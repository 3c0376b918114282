"""Maps the import package ``sixgym`` onto the top-level folders and finds every sub-package."""

from __future__ import annotations

from setuptools import find_packages, setup

MAPPED = ("envs", "baselines", "agents", "configs", "leaderboard")

packages = find_packages(include=["sixgym", "sixgym.*"])
for folder in MAPPED:
    packages += [f"sixgym.{name}" for name in find_packages(include=[folder, f"{folder}.*"])]

setup(packages=packages, package_dir={f"sixgym.{folder}": folder for folder in MAPPED})
