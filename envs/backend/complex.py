"""Complex numbers as two float tensors.

``torch.compile`` has no complex kernels on the CPU, so everything that is compiled carries its real
and imaginary part as two tensors of equal shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Complex(NamedTuple):
    """A complex tensor; use the functions of this module, ``+`` and ``*`` are those of a tuple.

    Attributes:
        re: real part, any shape, float.
        im: imaginary part, shape and dtype of ``re``.
    """

    re: Tensor
    im: Tensor


def from_polar(radius: Tensor | float, angle: Tensor) -> Complex:
    """Return ``radius * exp(j angle)``; ``angle`` in rad, ``radius`` broadcast against it."""
    return Complex(radius * torch.cos(angle), radius * torch.sin(angle))


def from_pair(pair: Tensor, dim: int) -> Complex:
    """Return views of the two halves of ``pair``, whose axis ``dim`` has length 2 (re, im).

    Raises:
        ValueError: if the axis has another length.
    """
    if pair.shape[dim] != 2:
        raise ValueError(f"pair: axis {dim} has length {pair.shape[dim]}, must be 2 (re, im)")
    re, im = pair.unbind(dim)
    return Complex(re, im)


def from_torch(value: Tensor) -> Complex:
    """Return the parts of a torch complex tensor (for tests and notebooks, not for a step)."""
    return Complex(value.real, value.imag)


def to_torch(value: Complex) -> Tensor:
    """Return a torch complex tensor (for tests and notebooks, not for a step)."""
    return torch.complex(value.re, value.im)


def add(a: Complex, b: Complex) -> Complex:
    """Return ``a + b``, broadcast."""
    return Complex(a.re + b.re, a.im + b.im)


def scale(a: Complex, factor: Tensor | float) -> Complex:
    """Return ``factor * a`` for a real ``factor``, broadcast."""
    return Complex(a.re * factor, a.im * factor)


def mul(a: Complex, b: Complex) -> Complex:
    """Return ``a * b``, broadcast."""
    return Complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)


def conj_mul(a: Complex, b: Complex) -> Complex:
    """Return ``conj(a) * b``, broadcast."""
    return Complex(a.re * b.re + a.im * b.im, a.re * b.im - a.im * b.re)


def abs2(a: Complex) -> Tensor:
    """Return ``|a|^2``, elementwise."""
    return a.re * a.re + a.im * a.im


def absolute(a: Complex) -> Tensor:
    """Return ``|a|``, elementwise."""
    return torch.hypot(a.re, a.im)


def angle(a: Complex) -> Tensor:
    """Return the angle of ``a`` in rad, in (-pi, pi]; 0 for 0."""
    return torch.atan2(a.im, a.re)


def norm2(a: Complex, dim: int = -1) -> Tensor:
    """Return the squared Euclidean norm over axis ``dim``."""
    return abs2(a).sum(dim)


def total(a: Complex, dim: int) -> Complex:
    """Return the sum over axis ``dim``."""
    return Complex(a.re.sum(dim), a.im.sum(dim))


def expand_dim(a: Complex, dim: int) -> Complex:
    """Return ``a`` with an axis of length 1 inserted at ``dim``."""
    return Complex(a.re.unsqueeze(dim), a.im.unsqueeze(dim))
