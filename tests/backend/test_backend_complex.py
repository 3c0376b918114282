"""Pairs of float tensors behave like torch's complex tensors."""

from __future__ import annotations

import math

import pytest
import torch

from sixgym.envs.backend import complex as cx


@pytest.fixture
def pair() -> tuple[cx.Complex, cx.Complex]:
    generator = torch.Generator().manual_seed(0)
    draw = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    return cx.Complex(draw[0], draw[1]), cx.Complex(draw[2], draw[3])


def test_arithmetic_equals_torch_complex(pair: tuple[cx.Complex, cx.Complex]) -> None:
    a, b = pair
    za, zb = cx.to_torch(a), cx.to_torch(b)
    torch.testing.assert_close(cx.to_torch(cx.add(a, b)), za + zb)
    torch.testing.assert_close(cx.to_torch(cx.mul(a, b)), za * zb)
    torch.testing.assert_close(cx.to_torch(cx.conj_mul(a, b)), za.conj() * zb)
    torch.testing.assert_close(cx.to_torch(cx.scale(a, 2.5)), 2.5 * za)
    torch.testing.assert_close(cx.abs2(a), za.abs() ** 2)
    torch.testing.assert_close(cx.absolute(a), za.abs())
    torch.testing.assert_close(cx.angle(a), za.angle())
    torch.testing.assert_close(cx.norm2(a), (za.abs() ** 2).sum(-1))
    torch.testing.assert_close(cx.to_torch(cx.total(a, 0)), za.sum(0))


def test_polar_form_and_back(pair: tuple[cx.Complex, cx.Complex]) -> None:
    a, _ = pair
    again = cx.from_polar(cx.absolute(a), cx.angle(a))
    torch.testing.assert_close(cx.to_torch(again), cx.to_torch(a))
    assert cx.angle(cx.Complex(torch.tensor(-1.0), torch.tensor(0.0))).item() == pytest.approx(
        math.pi
    )


def test_views_share_memory_with_the_packed_tensor() -> None:
    packed = torch.zeros(7, 2, 3)
    z = cx.from_pair(packed, 1)
    packed[:, 1] = 4.0
    assert z.re.shape == z.im.shape == (7, 3)
    assert bool((z.im == 4.0).all())
    assert bool((z.re == 0.0).all())


def test_wrong_pair_axis_is_refused() -> None:
    with pytest.raises(ValueError, match=r"axis 1 has length 3, must be 2"):
        cx.from_pair(torch.zeros(2, 3), 1)


def test_round_trip_with_torch_complex() -> None:
    value = torch.complex(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0]))
    assert torch.equal(cx.to_torch(cx.from_torch(value)), value)
    assert cx.expand_dim(cx.from_torch(value), 0).re.shape == (1, 2)
