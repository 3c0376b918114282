"""The data sets behind the traces: what is rare, and which inputs the device sees at which exit.

Both come with scikit-learn, so nothing is downloaded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import UnknownIdError

Array = NDArray[np.float32]

BREAST_CANCER_STAGES = (
    (
        "mean smoothness",
        "mean symmetry",
        "mean fractal dimension",
        "texture error",
        "smoothness error",
        "symmetry error",
    ),
    ("mean texture", "mean compactness", "compactness error", "fractal dimension error"),
    ("mean concavity", "mean radius", "concavity error", "radius error"),
    ("mean concave points", "mean perimeter", "mean area"),
)
"""Features that exit n adds [our choice: with all 30 at once the first exit is already as good as
the server]."""


class Dataset(NamedTuple):
    """One labelled table with the part of it that each exit may use."""

    inputs: Array
    """(n, 1, 8, 8) images in [0, 1], or (n, features) raw columns."""
    label: NDArray[np.int8]
    """(n,): 0 head, k = 1..K rare sub-class k."""
    stages: tuple[tuple[int, ...], ...]
    """Columns added at each exit; empty for images, which every exit sees whole."""
    source: str
    """Where the records come from."""
    licence: str
    """Under which terms."""

    @property
    def num_classes(self) -> int:
        """Rare sub-classes K."""
        return int(self.label.max())


def digits(*rare: int) -> Dataset:
    """Handwritten digits of 8 x 8 pixels; the digits in ``rare`` are the tail sub-classes."""
    from sklearn.datasets import load_digits

    table = load_digits()
    label = np.zeros(len(table.target), np.int8)
    for k, digit in enumerate(rare, start=1):
        label[table.target == digit] = k
    images = np.ascontiguousarray(table.images[:, None] / 16.0, dtype=np.float32)
    return Dataset(
        images,
        label,
        (),
        "UCI Optical Recognition of Handwritten Digits (test part), sklearn.datasets.load_digits",
        "CC BY 4.0",
    )


def breast_cancer() -> Dataset:
    """Breast cancer diagnoses; malignant is the one rare class, features come in four stages."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    names = [str(name) for name in table.feature_names]
    stages = tuple(tuple(names.index(f) for f in stage) for stage in BREAST_CANCER_STAGES)
    return Dataset(
        np.ascontiguousarray(table.data, dtype=np.float32),
        (table.target == 0).astype(np.int8),
        stages,
        "UCI Breast Cancer Wisconsin (Diagnostic), sklearn.datasets.load_breast_cancer",
        "CC BY 4.0",
    )


def dataset(name: str) -> Dataset:
    """The data set of a trace file.

    Raises:
        UnknownIdError: there is no recipe of that name.
    """
    if name == "digits38":
        return digits(3, 8)
    if name == "digits89":
        return digits(8, 9)
    if name == "breast_cancer":
        return breast_cancer()
    raise UnknownIdError(f"traces={name!r}: no such recipe; allowed: {', '.join(NAMES)}")


NAMES = ("digits38", "digits89", "breast_cancer")
"""The recipes, each one trace file."""
