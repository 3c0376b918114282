"""Counter-based draws: golden words, distributions, independence, equality of rows.

Sample sizes are fixed and seeds are part of the test, so nothing here is flaky: a threshold of 4.5
standard errors is for whoever changes the generator.
"""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from sixgym.envs.backend import rng
from sixgym.envs.backend.rng import Draws, DrawTable, Kind, episode_key, mix64

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
LIMIT = 4.5  # standard errors

GOLDEN_WORDS = ["664e250e278cea16", "3f2f2065d1cdd3ac", "5c381ea63d3f054b"]
GOLDEN_UNIFORM = 0.36023133993148804

KINDS: tuple[Kind, ...] = ("cn", "normal", "uniform", "exponential")


def splitmix_finaliser(z: int) -> int:
    """The published constants, in Python integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def unsigned(words: Tensor) -> list[int]:
    return [int(w) & MASK for w in words.flatten().tolist()]


def keys(seeds: Tensor | range | list[int], episode: int = 0) -> Tensor:
    seed = torch.as_tensor(list(seeds) if not isinstance(seeds, Tensor) else seeds)
    return episode_key(seed.to(torch.int64), torch.full_like(seed.to(torch.int64), episode))


def steps(rows: int, step: int = 1) -> Tensor:
    return torch.full((rows,), step, dtype=torch.int64)


def samples(kind: Kind, rows: int = 2000, elements: int = 100, **names: int) -> Tensor:
    """(rows, elements) draws of one stream; a complex normal gives its parts one after another."""
    table = DrawTable({"fading": (kind, (elements,))}, dtype=torch.float64)
    value = table.draw(
        keys(range(rows), names.get("episode", 0)), steps(rows, names.get("step", 1))
    )
    return value["fading"].reshape(rows, -1)


def correlation(a: Tensor, b: Tensor) -> float:
    """Sample correlation in standard errors (1/sqrt n) under independence."""
    x, y = a.double().flatten(), b.double().flatten()
    x, y = x - x.mean(), y - y.mean()
    r = (x * y).sum() / (x.square().sum() * y.square().sum()).sqrt()
    return r.item() * math.sqrt(x.numel())


def test_finaliser_is_splitmix64() -> None:
    """SplitMix64 of seed 0 starts e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f."""
    state = torch.tensor([k * GOLDEN & MASK for k in (1, 2, 3)], dtype=torch.uint64)
    words = unsigned(mix64(state.view(torch.int64)))
    assert words == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_words_are_the_documented_hash() -> None:
    """The whole chain in Python integers: seed, episode, step, stream name, element."""
    table = DrawTable({"arrivals": ("uniform", (3,))})
    for seed, episode, step in ((0, 0, 0), (7, 2, 31), (2**44 + 5, 1, 99), (-1, 0, 1)):
        key = splitmix_finaliser(
            (splitmix_finaliser(seed * GOLDEN & MASK) + (episode + 1) * GOLDEN) & MASK
        )
        base = int.from_bytes(hashlib.blake2b(b"arrivals", digest_size=8).digest(), "big")
        expected = [
            splitmix_finaliser(
                ((key ^ splitmix_finaliser((base + j * GOLDEN) & MASK)) + step * GOLDEN) & MASK
            )
            for j in range(3)
        ]
        assert unsigned(table.bits(keys([seed], episode), steps(1, step))) == expected


def test_golden_words() -> None:
    """A change of these numbers changes every world, every claim and every leaderboard row."""
    table = DrawTable({"fading": ("cn", (2,)), "arrivals": ("uniform", (1,))})
    words = unsigned(table.bits(keys([42], 1), steps(1, 3)))
    assert [f"{w:016x}" for w in words] == GOLDEN_WORDS
    drawn = table.draw(keys([42], 1), steps(1, 3))
    assert drawn["arrivals"].item() == GOLDEN_UNIFORM


def test_uniforms_are_open_and_exact() -> None:
    """The bits become (k + 1/2) / 2^23 without rounding, in float32 as in float64."""
    table = DrawTable({"u": ("uniform", (1000,))})
    single = table.draw(keys(range(50)), steps(50))["u"]
    double = DrawTable({"u": ("uniform", (1000,))}, dtype=torch.float64)
    assert torch.equal(single.double(), double.draw(keys(range(50)), steps(50))["u"])
    assert single.min().item() > 0.0
    assert single.max().item() < 1.0
    cells = single.double() * 2**23 - 0.5
    assert torch.equal(cells, cells.round())


MOMENTS = {  # mean, variance, fourth central moment over the squared variance
    "cn": (0.0, 0.5, 3.0),
    "normal": (0.0, 1.0, 3.0),
    "uniform": (0.5, 1 / 12, 1.8),
    "exponential": (1.0, 1.0, 9.0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_moments(kind: Kind) -> None:
    x = samples(kind)
    n = x.numel()
    mean, variance, kurtosis = MOMENTS[kind]
    assert abs(x.mean().item() - mean) < LIMIT * math.sqrt(variance / n)
    spread = (x - mean).square()
    assert abs(spread.mean().item() - variance) < LIMIT * variance * math.sqrt((kurtosis - 1) / n)
    fourth = (spread.square().mean() / variance**2).item()
    assert fourth == pytest.approx(kurtosis, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_distribution_passes_kolmogorov_smirnov(kind: Kind) -> None:
    law = {
        "cn": scipy.stats.norm(scale=math.sqrt(0.5)).cdf,
        "normal": scipy.stats.norm.cdf,
        "uniform": scipy.stats.uniform.cdf,
        "exponential": scipy.stats.expon.cdf,
    }[kind]
    result = scipy.stats.kstest(samples(kind).flatten().numpy(), law)
    assert result.pvalue > 1e-4


def test_complex_normal_is_circular() -> None:
    """|z|^2 is unit exponential, the angle uniform, and the two are independent."""
    z = samples("cn").reshape(2000, 2, 100)
    power = z.square().sum(1)
    angle = torch.atan2(z[:, 1], z[:, 0])
    assert scipy.stats.kstest(power.flatten().numpy(), scipy.stats.expon.cdf).pvalue > 1e-4
    turn = (angle / (2 * math.pi) + 0.5).flatten().numpy()
    assert scipy.stats.kstest(turn, scipy.stats.uniform.cdf).pvalue > 1e-4
    assert abs(correlation(power, angle)) < LIMIT
    assert abs(correlation(z[:, 0], z[:, 1])) < LIMIT
    assert abs(correlation(z[:, 0].square(), z[:, 1].square())) < LIMIT


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("lag", [1, 2, 7, 64])
def test_neighbours_are_uncorrelated(kind: Kind, lag: int) -> None:
    """Seeds, elements, steps and episodes that lie ``lag`` apart, values and squares."""
    x = samples(kind)
    centred = (x - x.mean()).square()
    pairs = {
        "seeds": (x[:-lag], x[lag:]),
        "seeds, squared": (centred[:-lag], centred[lag:]),
        "elements": (x[:, :-lag], x[:, lag:]),
        "elements, squared": (centred[:, :-lag], centred[:, lag:]),
        "steps": (x, samples(kind, step=1 + lag)),
        "episodes": (x, samples(kind, episode=lag)),
        # a seed one up and a step one down must not meet
        "diagonal": (x[lag:], samples(kind, step=1 + lag)[:-lag]),
    }
    off = {name: correlation(a, b) for name, (a, b) in pairs.items()}
    assert {name: r for name, r in off.items() if abs(r) > LIMIT} == {}


def test_streams_are_uncorrelated_and_named() -> None:
    """Streams of near names share nothing; one stream is the same whatever stands beside it."""
    names = ["fading", "fadinh", "fading_", "arrivals", "a", "b"]
    table = DrawTable(dict.fromkeys(names, ("normal", (100,))))
    drawn = table.draw(keys(range(1000)), steps(1000))
    for a, b in itertools.combinations(names, 2):
        assert abs(correlation(drawn[a], drawn[b])) < LIMIT, (a, b)
    alone = DrawTable({"arrivals": ("normal", (100,))}).draw(keys(range(1000)), steps(1000))
    assert torch.equal(alone["arrivals"], drawn["arrivals"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_shape_keeps_the_leading_elements(kind: Kind) -> None:
    """More users draw the same numbers for the users that a smaller system has too."""
    small = DrawTable({"x": (kind, (3, 5))}).draw(keys(range(8)), steps(8))["x"]
    large = DrawTable({"x": (kind, (6, 5))}).draw(keys(range(8)), steps(8))["x"]
    if kind == "cn":
        assert torch.equal(small, large[:, :, :3])
    else:
        assert torch.equal(small, large[:, :3])


def test_bytes_of_words_are_uniform() -> None:
    """Chi squared over 256 values for each of the 8 bytes of 200 000 words, and for keys."""
    table = DrawTable({"x": ("uniform", (100,))})
    words = table.bits(keys(range(2000)), steps(2000)).numpy()
    for block in (words, keys(range(200_000)).numpy()):
        octets = block.view(np.uint8).reshape(-1, 8)
        for place in range(8):
            counts = np.bincount(octets[:, place], minlength=256)
            assert scipy.stats.chisquare(counts).pvalue > 1e-5, place


def test_each_input_bit_flips_half_of_the_output() -> None:
    """Avalanche of the keyed word in the seed and the step: 32 of 64 bits, within 0.5."""
    table = DrawTable({"x": ("uniform", (1,))})
    seed = torch.arange(2000, dtype=torch.int64) * 1_000_003
    base = table.bits(keys(seed), steps(2000))
    for bit in (0, 1, 5, 20, 40, 62):
        other = table.bits(keys(seed ^ (1 << bit)), steps(2000))
        flipped = sum(w.bit_count() for w in unsigned(base ^ other)) / 2000
        assert flipped == pytest.approx(32.0, abs=0.5), bit
    for bit in (0, 1, 6):
        other = table.bits(keys(seed), steps(2000, 1 ^ (1 << bit)))
        flipped = sum(w.bit_count() for w in unsigned(base ^ other)) / 2000
        assert flipped == pytest.approx(32.0, abs=0.5), bit


def test_no_two_worlds_share_a_key() -> None:
    """1000 seeds of each of the four worlds, 5 episodes, 20 steps: 400 000 distinct row words."""
    starts = [2**40, 2**42, 2**43, 2**44]
    seed = torch.cat([torch.arange(start, start + 1000) for start in starts])
    table = DrawTable({"x": ("uniform", (1,))})
    words = [
        table.bits(keys(seed, episode), steps(len(seed), step))
        for episode in range(5)
        for step in range(20)
    ]
    assert torch.cat(words).unique().numel() == 400_000


def every_kind() -> DrawTable:
    return DrawTable({kind: (kind, (3, 7)) for kind in KINDS})


def take(drawn: Draws, rows: Tensor) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in drawn.items()}


@pytest.mark.parametrize("rows", [[0], [3, 1], list(range(9, 2, -1)), list(range(257))])
def test_a_row_draws_the_same_in_any_batch_and_order(rows: list[int]) -> None:
    """Bits exactly; floats exactly too, by eager elementwise kernels."""
    seed = torch.arange(300) + 17
    episode, step = torch.arange(300) % 4, torch.arange(300) % 11
    table = every_kind()
    whole = table.draw(episode_key(seed, episode), step)
    chosen = torch.tensor(rows)
    part = table.draw(episode_key(seed[chosen], episode[chosen]), step[chosen])
    for name, value in take(whole, chosen).items():
        assert torch.equal(part[name], value), name
    bits = table.bits(episode_key(seed, episode), step)
    assert torch.equal(
        table.bits(episode_key(seed[chosen], episode[chosen]), step[chosen]), bits[chosen]
    )


def test_float32_and_float64_come_from_the_same_bits() -> None:
    single = every_kind().draw(keys(range(500)), steps(500))
    double = DrawTable({kind: (kind, (3, 7)) for kind in KINDS}, dtype=torch.float64)
    for name, value in double.draw(keys(range(500)), steps(500)).items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(single[name].double(), value, rtol=2e-5, atol=2e-6)


def test_shapes_and_empty_streams() -> None:
    table = DrawTable(
        {
            "none": ("cn", (4, 0)),
            "one": ("normal", ()),
            "odd": ("normal", (3,)),
            "z": ("cn", (2, 5)),
        }
    )
    drawn = table.draw(keys(range(6)), steps(6))
    shapes = {name: tuple(value.shape) for name, value in drawn.items()}
    assert shapes == {"none": (6, 2, 4, 0), "one": (6,), "odd": (6, 3), "z": (6, 2, 2, 5)}
    assert table.words == 1 + 2 + 10
    assert DrawTable({}).draw(keys(range(2)), steps(2)) == {}


def test_wrong_streams_are_named() -> None:
    with pytest.raises(ValueError, match=r"stream 'x': kind='gauss' is not a kind of draw"):
        DrawTable({"x": ("gauss", (1,))})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"stream 'x': shape=\(-1,\) has a negative dimension"):
        DrawTable({"x": ("cn", (-1,))})


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    every_kind().draw(keys(range(4)), steps(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert rng.GOLDEN == GOLDEN - 2**64


def test_a_key_draws_by_a_clock_of_the_systems_own() -> None:
    """The key in the first state gives every later draw of the episode, whole or one element."""
    key = episode_key(torch.tensor([3, 9]), torch.tensor([0, 2]))
    step = torch.tensor([0, 0])
    kept = DrawTable({"start": ("uniform", ()), "world": ("key", ())}).draw(key, step)["world"]
    assert torch.equal(kept, key)
    table = DrawTable({"gain": ("cn", (2,)), "event": ("uniform", (5,))})
    clock = torch.tensor([7, 1])
    drawn = table.draw(kept, clock)["event"]
    element = torch.tensor([4, 0])
    one = table.draw_element("event", kept, clock, element)
    assert one.tolist() == [drawn[0, 4].item(), drawn[1, 0].item()]


def test_one_element_of_every_stream_is_what_a_whole_draw_has_there() -> None:
    table = DrawTable({"event": ("uniform", (5,)), "answer": ("uniform", (5,))})
    key, clock = keys([3, 9, 4]), torch.tensor([7, 1, 0])
    element = torch.tensor([4, 0, 2])
    whole, single = table.draw(key, clock), table.draw_elements(key, clock, element)
    for name, values in whole.items():
        assert single[name].tolist() == values[torch.arange(3), element].tolist()


@pytest.mark.parametrize(
    "streams",
    [
        {"a": ("uniform", (2,)), "b": ("uniform", (3,))},
        {"a": ("uniform", (2,)), "b": ("normal", (2,))},
        {},
    ],
)
def test_elements_of_unlike_streams_are_not_drawn_together(
    streams: dict[str, tuple[Kind, tuple[int, ...]]],
) -> None:
    zero = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="allowed: all uniform and of one size"):
        DrawTable(streams).draw_elements(zero, zero, zero)


def test_only_uniform_elements_are_drawn_alone() -> None:
    table = DrawTable({"gain": ("cn", (2,))})
    zero = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="gain"):
        table.draw_element("gain", zero, zero, zero)
