"""Small RIS-NOMA states with chosen gains and queues, for the tests of this folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sixgym.envs.backend.complex import Complex
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.params import RisNomaParams, RisNomaSelectParams
from sixgym.envs.ris_noma.state import State

F64 = torch.float64
NOISE_W = 1e-11


def model_of(dtype: torch.dtype = F64, **params: Any) -> Model:
    """The constants of the model for some parameters."""
    if "hold" in params or "allow_noop" in params:
        return Model(RisNomaSelectParams.create(**params), dtype, "cpu")
    return Model(RisNomaParams.create(**params), dtype, "cpu")


def row(values: Sequence[float]) -> Tensor:
    """One row of float64 numbers."""
    return torch.tensor([list(values)], dtype=F64)


def channel_of(gains: Sequence[float]) -> Complex:
    """Single-antenna channels of given power gains |h|^2, over the noise amplitude, one row."""
    amplitude = (row(gains) / NOISE_W).sqrt().unsqueeze(-1)
    return Complex(amplitude, torch.zeros_like(amplitude))


def state_without_ris(
    model: Model,
    gains: Sequence[float],
    *,
    buckets: Sequence[Sequence[float]],
    rho: float = 0.5,
    volume: float = 0.0,
    order: Sequence[int] | None = None,
) -> State:
    """One row without a surface and without fading, queues empty."""
    assert model.elements == 0
    assert model.antennas == 1
    links = torch.stack([channel_of(gains).re[..., 0], torch.zeros(1, len(gains), dtype=F64)], 1)
    held = torch.tensor([[volume, rho, 0.0, 0.0]], dtype=F64)
    users = torch.cat([held.expand(len(gains), -1), torch.tensor(buckets, dtype=F64)], -1)
    return State(
        links=links,
        los=links,
        scatter=torch.zeros(1, len(gains), dtype=F64),
        users=users.unsqueeze(0),
        position_m=torch.zeros(1, len(gains), 2, dtype=F64),
        surface=torch.zeros(1, 2, 0, dtype=F64),
        order=torch.tensor([list(order or range(len(gains)))]),
        clock=torch.zeros(1, 4, dtype=F64),
        totals=torch.zeros(1, 6, dtype=F64),
        gain=torch.zeros(1, 0, dtype=F64),
        aligned=torch.zeros(1, 0, dtype=F64),
    )


def random_links(
    model: Model, rows: int, seed: int, *, direct_gain: float = 2e-10, ris_gain: float = 1e-12
) -> tuple[Complex, Complex]:
    """Random direct (rows, K, M) and cascaded (rows, K, N, M) channels over the noise amplitude."""
    generator = torch.Generator().manual_seed(seed)

    def draw(gain: float, *shape: int) -> Complex:
        scale = math.sqrt(gain / NOISE_W / 2.0)
        re, im = torch.randn(2, rows, *shape, generator=generator, dtype=F64) * scale
        return Complex(re, im)

    users, elements, antennas = model.users, model.elements, model.antennas
    return draw(direct_gain, users, antennas), draw(ris_gain, users, elements, antennas)


def random_surface(model: Model, rows: int, seed: int) -> Tensor:
    """Reflection coefficients of uniform phases, (rows, 2, N)."""
    generator = torch.Generator().manual_seed(seed)
    phase = torch.rand(rows, model.elements, generator=generator, dtype=F64) * 2.0 * math.pi
    return torch.stack([phase.cos(), phase.sin()], 1)
