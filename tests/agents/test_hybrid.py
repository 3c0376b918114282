"""Actions of a choice and some numbers, against enumeration, quadrature and counting."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from torch import Tensor

from sixgym.agents import export_policy
from sixgym.agents.hybrid import (
    LIMIT,
    LOG_STD_RANGE,
    Hybrid,
    Numbers,
    flat_action,
    hybrid_of,
    numbers_of,
    of_flat,
    prior_logits,
)
from sixgym.agents.hybrid_sb3 import HybridDistribution, HybridPolicy
from sixgym.agents.policies import NeuralPolicy
from sixgym.envs.core.errors import PolicyError

N, K = 3, 2


def some(rows: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Outputs of a network."""
    draw = torch.Generator().manual_seed(seed)
    return {
        "logits": torch.randn(rows, N, generator=draw, dtype=dtype),
        "raw": 2.0 * torch.randn(rows, K, generator=draw, dtype=dtype),
        "log_std": torch.randn(K, generator=draw, dtype=dtype) / 2.0,
    }


def with_masks(rows: int, allowed: Any, counts: Any, seed: int = 0) -> Hybrid:
    """The same distribution and masks for all rows."""
    outputs = some(1, seed)
    logits, raw = (outputs[k].expand(rows, -1) for k in ("logits", "raw"))
    masks = (torch.as_tensor(m, dtype=torch.float64).expand(rows, -1) for m in (allowed, counts))
    return hybrid_of(logits, raw, outputs["log_std"], *masks)


COUNTS = list(itertools.product((0.0, 1.0), repeat=1 + K))
ALLOWED = [(1.0, 1.0, 1.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)]


@pytest.mark.parametrize("allowed", ALLOWED)
@pytest.mark.parametrize("counts", COUNTS)
def test_probabilities_over_the_parts_that_count_sum_to_one(counts: Any, allowed: Any) -> None:
    """Over choices by enumeration, over numbers by quadrature on their logits."""
    points = 400
    logit = (torch.arange(points, dtype=torch.float64) + 0.5) / points * 2 * LIMIT - LIMIT
    u = logit.sigmoid()
    width = u * (1 - u) * 2 * LIMIT / points  # of the piece around each point
    chosen = [i for i in range(N) if allowed[i]] or [0]
    total = torch.zeros((), dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    numbers = [(u, width) if c else (0.3 * one, one) for c in counts[1:]]
    grid = torch.cartesian_prod(*(n[0] for n in numbers))
    volume = torch.cartesian_prod(*(n[1] for n in numbers)).prod(-1)
    found = with_masks(len(grid), allowed, counts)
    for place in chosen if counts[0] else chosen[:1]:
        density = found.log_prob(torch.full((len(grid),), place), grid).exp()
        total = total + (density * volume).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-3)


def test_what_is_forbidden_has_no_probability() -> None:
    found = with_masks(1, (1.0, 0.0, 1.0), (1.0, 1.0, 1.0))
    assert float(found.log_prob(torch.tensor([1]), torch.full((1, K), 0.5)).exp()) == 0.0


@pytest.mark.parametrize("counts", COUNTS)
def test_parts_that_do_not_count_give_no_gradient(counts: Any) -> None:
    outputs = {k: v.requires_grad_() for k, v in some(4).items()}
    allowed = torch.ones(4, N).double()
    found = hybrid_of(**outputs, allowed=allowed, component_mask=torch.tensor(counts).expand(4, -1))
    chosen, u = found.pick(torch.rand(4, 1 + K, dtype=torch.float64), False)
    (found.log_prob(chosen, u.detach()) + found.entropy()).sum().backward()  # type: ignore[no-untyped-call]
    moved = [outputs["logits"].grad, *(outputs["raw"].grad.T)]  # type: ignore[union-attr]
    assert [bool((g != 0).any()) for g in moved] == [bool(c) for c in counts]  # type: ignore[union-attr]
    width = outputs["log_std"].grad
    assert [bool(g != 0) for g in width] == [bool(c) for c in counts[1:]]  # type: ignore[union-attr]


def test_samples_have_the_densities_that_are_said() -> None:
    """Each number's share below a point is the Gaussian's below its logit."""
    count = 100_000
    uniform = torch.rand(count, 1 + K, generator=torch.Generator().manual_seed(1)).double()
    found = with_masks(count, (1.0, 0.0, 1.0), (1.0, 1.0, 1.0))
    chosen, u = found.pick(uniform, False)
    share = torch.bincount(chosen, minlength=N) / count
    torch.testing.assert_close(share, found.choice.log_p[0].exp().float(), atol=6e-3, rtol=0)
    std = found.numbers.log_std.exp()
    for point in (0.1, 0.5, 0.8):
        logit = math.log(point / (1 - point))
        below = torch.special.ndtr((logit - found.numbers.centre[0]) / std)
        torch.testing.assert_close((u < point).double().mean(0), below, atol=6e-3, rtol=0)


@pytest.mark.parametrize("counts", COUNTS)
def test_entropy_is_the_mean_of_the_negative_log_probability(counts: Any) -> None:
    count = 100_000
    uniform = torch.rand(count, 1 + K, generator=torch.Generator().manual_seed(2)).double()
    found = with_masks(count, (1.0, 1.0, 0.0), counts, seed=3)
    log_prob = found.log_prob(*found.pick(uniform, False))
    error = float(log_prob.std()) / math.sqrt(count)
    assert float(found.entropy()[0]) == pytest.approx(-float(log_prob.mean()), abs=4 * error + 1e-3)
    numbers = (found.numbers.entropy()[0] * torch.tensor(counts[1:])).sum()
    light = found.choice.entropy()[0] * counts[0] + 0.1 * numbers
    torch.testing.assert_close(found.entropy(0.1)[0], light)


@pytest.mark.parametrize("std", [math.exp(LOG_STD_RANGE[0]), 0.5, math.exp(LOG_STD_RANGE[1])])
@pytest.mark.parametrize("centre", [-5.0, -1.0, 0.0, 3.0])
def test_entropy_of_a_number_is_the_integral(centre: float, std: float) -> None:
    from scipy import integrate, stats

    def integrand(z: float) -> float:
        p = stats.norm.pdf(z, centre, std)
        u = 1.0 / (1.0 + math.exp(-z))
        return float(-p * (stats.norm.logpdf(z, centre, std) - math.log(u * (1.0 - u))))

    want = integrate.quad(integrand, centre - 9 * std, centre + 9 * std, limit=200)[0]
    number = Numbers(torch.tensor([centre]).double(), torch.tensor([math.log(std)]).double())
    assert float(number.entropy()) == pytest.approx(want, abs=4e-4)


def test_the_uniform_distribution_has_nearly_the_largest_entropy() -> None:
    """That of the uniform is 0; a logit-normal comes near with a deviation of about 1.7."""
    widest = numbers_of(torch.zeros(1), torch.tensor([9.0]))
    assert -0.05 < float(widest.entropy()) < 0.0


def test_the_best_is_the_likeliest_choice_and_the_medians() -> None:
    found = with_masks(1000, (1.0, 0.0, 1.0), (1.0, 1.0, 1.0))
    uniform = torch.rand(1000, 1 + K, dtype=torch.float64)
    chosen, u = found.pick(uniform, True)
    assert torch.equal(chosen, found.choice.log_p.argmax(1))
    torch.testing.assert_close(u, found.pick(torch.full_like(uniform, 0.5), False)[1])


def test_choices_that_tie_are_drawn_among() -> None:
    masks = torch.tensor([1.0, 0.0, 1.0]), torch.ones(2000, 1 + K)
    found = hybrid_of(torch.zeros(2000, N), torch.zeros(2000, K), torch.zeros(K), *masks)
    uniform = torch.rand(2000, 1 + K, generator=torch.Generator().manual_seed(0))
    chosen, _ = found.pick(uniform, True)
    share = torch.bincount(chosen, minlength=N) / 2000
    assert share.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=0.05)


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-24, 1.0])
@pytest.mark.parametrize("raw", [-1e6, -4.0, 0.0, 4.0, 1e6])
def test_extreme_numbers_stay_inside_and_have_finite_log_probabilities(
    raw: float, uniform: float
) -> None:
    outputs = {
        "logits": torch.zeros(1, N),
        "raw": torch.full((1, K), raw),
        "log_std": torch.tensor([-50.0, 50.0]),
    }
    found = hybrid_of(**outputs, allowed=torch.ones(1, N), component_mask=torch.ones(1, 1 + K))
    chosen, u = found.pick(torch.full((1, 1 + K), uniform), False)
    assert ((u > 0) & (u < 1)).all()
    action = flat_action(chosen, u, N)
    assert spaces.Box(-1, 1, (N + K,)).contains(action[0].numpy())
    assert torch.isfinite(found.log_prob(*of_flat(action, N))).all()
    assert torch.isfinite(found.entropy()).all()
    assert torch.isfinite(found.log_prob(chosen, torch.tensor([[0.0, 1.0]]))).all()


@given(
    chosen=st.integers(0, N - 1),
    logits=st.lists(st.floats(-LIMIT, LIMIT, width=32), min_size=K, max_size=K),
)
@settings(max_examples=60, deadline=None)
def test_a_flat_action_is_read_as_it_was_written(chosen: int, logits: list[float]) -> None:
    u = torch.tensor([logits]).sigmoid()
    action = flat_action(torch.tensor([chosen]), u, N)
    back, v = of_flat(action, N)
    assert back.tolist() == [chosen]
    torch.testing.assert_close(v, u, atol=1e-7, rtol=0)
    # What a rounding of the action does to the probability is nothing to PPO's ratio.
    number = numbers_of(torch.zeros(1, K), torch.zeros(K))
    torch.testing.assert_close(number.log_prob(v), number.log_prob(u), atol=0.02, rtol=0)


def test_a_prior_is_where_the_medians_begin() -> None:
    medians = [0.05, 0.47, 0.95]
    found = numbers_of(prior_logits(medians), torch.zeros(3))
    assert found.pick(torch.zeros(3), True).tolist() == pytest.approx(medians, abs=1e-5)
    edge = numbers_of(prior_logits([0.0, 1.0]), torch.zeros(2)).pick(torch.zeros(2), True)
    assert edge.tolist() == pytest.approx([0.011, 0.989], abs=1e-3)


# ------------------------------------------------------------------------------ Stable-Baselines3


def seen_space() -> spaces.Dict:
    """Two numbers and the masks."""
    return spaces.Dict(
        {
            "observation": spaces.Box(-1.0, 1.0, (2,)),
            "region_mask": spaces.Box(0.0, 1.0, (N,)),
            "component_mask": spaces.Box(0.0, 1.0, (1 + K,)),
        }
    )


class Aim(gym.Env[dict[str, np.ndarray], np.ndarray]):
    """Choose the place that is shown, among two that are allowed, and hit a number.

    In every second step the number counts, in the others the choice.
    """

    observation_space = seen_space()
    action_space = spaces.Box(-1.0, 1.0, (N + K,))

    def _look(self) -> dict[str, np.ndarray]:
        shown = np.array([self.place - 1.0, self.t % 2], np.float32)
        counts = [1.0, 0.0, 0.0] if self.t % 2 else [0.0, 1.0, 0.0]
        allowed = np.ones(N, np.float32)
        allowed[(self.place + 1) % N] = 0.0
        masks = {"region_mask": allowed, "component_mask": np.array(counts, np.float32)}
        return {"observation": shown, **masks}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t, self.place = 0, int(self.np_random.integers(N))
        return self._look(), {}

    def step(self, action: np.ndarray) -> Any:
        chosen, u = of_flat(torch.as_tensor(action), N)
        choice = float(int(chosen) == self.place)
        number = 1.0 - 4.0 * (float(u[0]) - 0.8) ** 2
        reward = choice if self.t % 2 else number
        self.t, self.place = self.t + 1, int(self.np_random.integers(N))
        return self._look(), reward, False, self.t >= 16, {}


def model_of() -> PPO:
    """A small model, untrained."""
    brief = {"n_steps": 64, "batch_size": 64, "n_epochs": 4, "learning_rate": 3e-3, "seed": 0}
    network = {"net_arch": [16], "log_std_init": -0.5}
    return PPO(HybridPolicy, Aim(), policy_kwargs=network, device="cpu", **brief)  # type: ignore[arg-type]


def sights(rows: int = 6) -> dict[str, Tensor]:
    """Observations with all sorts of masks."""
    draw = torch.Generator().manual_seed(5)
    allowed = (torch.rand(rows, N, generator=draw) < 0.5).float()
    counts = (torch.rand(rows, 1 + K, generator=draw) < 0.5).float()
    shown = torch.rand(rows, 2, generator=draw)
    return {"observation": shown, "region_mask": allowed, "component_mask": counts}


def test_sb3_is_answered_by_the_same_distribution() -> None:
    """Sampling, its log-probabilities, entropies and the best action, as SB3 asks for them."""
    policy = model_of().policy
    seen = sights()
    actions, values, log_prob = policy(seen)
    judged = policy.evaluate_actions(seen, actions)
    torch.testing.assert_close(judged[0], values)
    torch.testing.assert_close(judged[1], log_prob)
    found = policy.get_distribution(seen)
    torch.testing.assert_close(judged[2], found.hybrid.entropy())
    torch.testing.assert_close(log_prob, found.hybrid.log_prob(*of_flat(actions, N)))
    best = policy(seen, deterministic=True)[0].detach()
    assert torch.equal(best, found.mode())
    numpy = {k: v.numpy() for k, v in seen.items()}
    assert np.array_equal(policy.predict(numpy, deterministic=True)[0], best.numpy())
    allowed = seen["region_mask"].gather(1, of_flat(actions, N)[0][:, None])[:, 0] > 0
    nothing = ~(seen["region_mask"] > 0).any(1)
    assert (allowed | nothing).all()
    assert nothing.any(), "rows where nothing is allowed are among them"


def test_of_parameters_come_actions_and_their_log_probabilities() -> None:
    """SB3's interface of a distribution."""
    found = HybridDistribution(N, K, entropy_of_numbers=0.1)
    layer, log_std = found.proba_distribution_net(8, log_std_init=-0.5, prior=[0.2, 0.9])
    given = (layer(torch.zeros(5, 8)), log_std, torch.ones(5, N), torch.ones(5, 1 + K))
    best = found.actions_from_params(*given, deterministic=True)
    assert best.shape == (5, N + K)
    assert of_flat(best, N)[1][0].tolist() == pytest.approx([0.2, 0.9], abs=1e-5)
    torch.manual_seed(0)
    actions, log_prob = found.log_prob_from_params(*given)
    torch.testing.assert_close(log_prob, found.log_prob(actions))
    torch.testing.assert_close(found.entropy(), found.hybrid.entropy(0.1))
    with pytest.raises(PolicyError, match="allowed: 2 numbers"):
        found.proba_distribution_net(8, prior=[0.5])


def test_choice_and_number_are_learned() -> None:
    """1 a step if both are right; a choice among two at random and 1/2 earn (1/2 + 0.64) / 2."""
    model = model_of()
    model.learn(2560)
    env = Aim()
    seen, _ = env.reset(seed=9)
    total = 0.0
    for _ in range(64):
        action, _ = model.predict(seen, deterministic=True)
        seen, reward, _, over, _ = env.step(action)
        total += reward / 64
        if over:
            seen, _ = env.reset()
    assert total > 0.93


def test_an_exported_policy_acts_as_the_model() -> None:
    model = model_of()
    model.learn(64)
    policy = export_policy(model)
    assert isinstance(policy, NeuralPolicy)
    assert policy.architecture.head == "hybrid"
    seen = {k: v.numpy() for k, v in sights(32).items()}
    assert np.array_equal(policy.predict(seen)[0], model.predict(seen, deterministic=True)[0])
    one = {k: v[0] for k, v in seen.items()}
    assert policy.predict(one)[0].shape == (N + K,)
    policy.seed(3)
    drawn = np.stack([policy.predict(seen, deterministic=False)[0] for _ in range(400)])
    u = of_flat(torch.as_tensor(drawn), N)[1]
    spread = numbers_of(torch.zeros(K), model.policy.log_std.detach()).log_std.exp()
    np.testing.assert_allclose(u.logit().std(0).mean(0), spread, rtol=0.05)


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (spaces.Box(0, 1, (3,)), Aim.action_space, "a Dict with region_mask"),
        (spaces.Dict(observation=spaces.Box(0, 1, (3,))), Aim.action_space, "a Dict with region_"),
        (seen_space(), spaces.Box(-1, 1, (N + K + 1,)), r"allowed for a HybridPolicy: Box\(-1, 1"),
        (seen_space(), spaces.Box(0, 1, (N + K,)), r"allowed for a HybridPolicy: Box\(-1, 1"),
        (seen_space(), spaces.MultiDiscrete([3, 5]), r"allowed for a HybridPolicy: Box\(-1, 1"),
    ],
)
def test_other_spaces_are_refused(observation: Any, action: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        HybridPolicy(observation, action, lambda _: 1e-3)
