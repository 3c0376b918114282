"""What arrives at the edge and over which network: parameters of the world of NetGPT.

Marks as in `sixgym.envs.netgpt.params`.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from sixgym.envs.core.params import Params, param

REGIMES = ("G", "M", "P", "X")
"""Names of the network regimes: good (5G), medium (4G), poor (loaded cell), bad (cell edge)."""
MAX_REQUESTS = 256
"""Most requests of a slot that can be asked for."""

NetworkMode = Literal[
    "frozen:G", "frozen:M", "frozen:P", "frozen:X", "markov", "markov+ar", "trace"
]
Pricing = Literal["flat", "tou", "premium", "surge"]

PRICE_LISTS: dict[Pricing, tuple[float, float, float]] = {
    "flat": (0.28, 0.028, 0.42),
    "tou": (0.27, 0.07, 1.10),
    "premium": (0.56, 0.07, 1.68),
    "surge": (0.28, 0.028, 0.42),
}
"""Price per million tokens in US$ (per thousand in m$): prompt, prompt in cache, output.
[related: lists of DeepSeek V3.2 (December 2025), until 5 September 2025, and V3.1]"""


class WorldParams(Params):
    """Time, arrivals, requests, network and prices."""

    # --------------------------------------------------------------------------- time and arrivals
    slot_s: float = param(10.0, unit="s", source="ours", description="Slot length T_s.", gt=0.0,
        le=3600.0)  # fmt: skip
    num_requests: int = param(
        16, unit="1", source="ours", description="Requests K of a slot, or their mean.",
        ge=1, le=MAX_REQUESTS,
    )  # fmt: skip
    max_requests: int = param(
        32,
        unit="1",
        source="ours",
        description="Most requests K_max of a slot; at least num_requests.",
        ge=1,
        le=MAX_REQUESTS,
    )
    arrivals: Literal["fixed", "poisson"] = param(
        "fixed",
        unit="",
        source="ours",
        description="fixed: K requests in every slot; poisson: min(Poisson(K), K_max).",
    )

    # ------------------------------------------------------------------------------------ requests
    difficulty_a: float = param(
        2.0,
        unit="1",
        source="ours",
        description="First shape of the beta law of the hidden difficulty d.",
        note="Beta(2, 3): mean 0.4, mass away from both ends",
        ge=1.0,
        le=50.0,
    )
    difficulty_b: float = param(
        3.0, unit="1", source="ours", description="Second shape of the beta law of d.",
        ge=1.0, le=50.0,
    )  # fmt: skip
    size_model: Literal["lognormal", "deterministic"] = param(
        "lognormal",
        unit="",
        source="ours",
        description="Sizes of requests: lognormal with mean and cv, clipped; or all at the mean.",
        note="clipping biases the means, so exact results need deterministic",
    )
    size_difficulty_corr: float = param(
        0.0,
        unit="1",
        source="ours",
        description="Correlation of the normal score of d with the normal of each size.",
        note="the theory of thresholds needs 0 (its assumption A3)",
        ge=-1.0,
        le=1.0,
    )
    prompt_tokens: float = param(
        900.0, unit="token", source="ours", description="Mean of the prompt n_in, tool list "
        "included.", ge=1.0, le=1e6,
    )  # fmt: skip
    prompt_cv: float = param(0.4, unit="1", source="ours", description="Its coefficient of "
        "variation.", ge=0.0, le=5.0)  # fmt: skip
    prompt_tokens_min: float = param(64.0, unit="token", source="ours", description="Least n_in.",
        ge=1.0, le=1e6)  # fmt: skip
    prompt_tokens_max: float = param(8192.0, unit="token", source="ours", description="Most n_in.",
        ge=1.0, le=1e7)  # fmt: skip
    output_tokens: float = param(60.0, unit="token", source="ours", description="Mean of the "
        "output n_out, one JSON call; the same for both agents.", ge=1.0, le=1e5)  # fmt: skip
    output_cv: float = param(0.4, unit="1", source="ours", description="Its coefficient of "
        "variation.", ge=0.0, le=5.0)  # fmt: skip
    output_tokens_min: float = param(8.0, unit="token", source="ours", description="Least n_out.",
        ge=1.0, le=1e5)  # fmt: skip
    output_tokens_max: float = param(512.0, unit="token", source="ours", description="Most n_out.",
        ge=1.0, le=1e6)  # fmt: skip
    context_bytes: float = param(
        512_000.0,
        unit="B",
        source="ours",
        description="Mean of the context X uploaded with a request (state, logs, images).",
        note="with plain text alone (0 here) bandwidth hardly matters, against the paper's theorem",
        ge=0.0,
        le=1e9,
    )
    context_cv: float = param(0.8, unit="1", source="ours", description="Its coefficient of "
        "variation.", ge=0.0, le=5.0)  # fmt: skip
    context_bytes_max: float = param(16e6, unit="B", source="ours", description="Most X.",
        ge=0.0, le=1e10)  # fmt: skip

    # ------------------------------------------------------------------------------------- network
    network: NetworkMode = param(
        "markov+ar",
        unit="",
        source="ours",
        description="frozen:R: always regime R without jitter; markov: a chain of regimes; "
        "markov+ar: with AR(1) jitter of the logarithms; trace: replay of `trace` or of "
        "`trace_bandwidth_mbps` and `trace_rtt_s`.",
        note="the paper has network states and regimes [paper]; the process is our choice",
    )
    regime_bandwidth_mbps: tuple[float, float, float, float] = param(
        (100.0, 20.0, 4.0, 1.0),
        unit="Mbit/s",
        source="ours",
        description="Median bandwidth of the regimes G, M, P, X, the same up and down; each in "
        "[0.01, 100000].",
        note="60 % of mobile users see under 50 Mbit/s [related: arXiv 2507.18834]",
    )
    regime_rtt_s: tuple[float, float, float, float] = param(
        (0.020, 0.060, 0.150, 0.300),
        unit="s",
        source="ours",
        description="Median round-trip time of the regimes; each in [0, 10].",
        note="5 % see under 20 ms [related: arXiv 2507.18834]",
    )
    regime_transition: tuple[tuple[float, float, float, float], ...] = param(
        (
            (0.96, 0.04, 0.0, 0.0),
            (0.04, 0.91, 0.05, 0.0),
            (0.0, 0.06, 0.88, 0.06),
            (0.0, 0.0, 0.10, 0.90),
        ),
        unit="1",
        source="ours",
        description="Probabilities of the next regime (columns) by regime (rows).",
        note="stationary law (6, 6, 5, 3)/20",
    )
    regime_start: tuple[float, float, float, float] = param(
        (0.3, 0.3, 0.25, 0.15),
        unit="1",
        source="ours",
        description="Law of the first regime; the stationary one by default.",
    )
    bandwidth_corr: float = param(0.9, unit="1", source="ours", description="phi_B of the jitter "
        "of ln B from slot to slot.", ge=0.0, le=1.0)  # fmt: skip
    bandwidth_jitter: float = param(0.30, unit="1", source="ours", description="Stationary "
        "standard deviation sigma_B of ln B.", ge=0.0, le=3.0)  # fmt: skip
    rtt_corr: float = param(0.9, unit="1", source="ours", description="phi_R of the jitter of "
        "ln R.", ge=0.0, le=1.0)  # fmt: skip
    rtt_jitter: float = param(0.15, unit="1", source="ours", description="Stationary standard "
        "deviation sigma_R of ln R.", ge=0.0, le=3.0)  # fmt: skip
    trace: str | None = param(
        None,
        unit="",
        source="ours",
        description="Path of a .csv or .npz file with columns bandwidth_mbps and rtt_s, one row a "
        "slot; see `sixgym.envs.netgpt.trace_files`.",
    )
    trace_bandwidth_mbps: tuple[float, ...] = param(
        (), unit="Mbit/s", source="ours", description="Trace given as an array instead."
    )
    trace_rtt_s: tuple[float, ...] = param(
        (), unit="s", source="ours", description="Trace given as an array instead."
    )
    trace_start: Literal["first", "uniform"] = param(
        "first",
        unit="",
        source="ours",
        description="Row of the trace at which an episode begins: the first, or any by the seed. "
        "After the last row comes the first again.",
    )

    # -------------------------------------------------------------------------------------- prices
    pricing: Pricing = param(
        "flat",
        unit="",
        source="related",
        description="Price list and its schedule m_t: flat (1); tou (0.5 off-peak); premium (1); "
        "surge (1 or 3, a chain).",
        note="DeepSeek's lists; the cycles of tou and surge are our choice",
    )
    price_mult: float = param(
        1.0,
        unit="1",
        source="ours",
        description="Constant factor of the schedule.",
        ge=0.0,
        le=1000.0,
    )
    price_miss: float | None = param(
        None, unit="m$/ktoken", source="related", description="Price of a prompt token; None: of "
        "the list.", ge=0.0, le=1000.0,
    )  # fmt: skip
    price_hit: float | None = param(
        None, unit="m$/ktoken", source="related", description="Price of a prompt token in the "
        "provider's cache; None: of the list.", ge=0.0, le=1000.0,
    )  # fmt: skip
    price_out: float | None = param(
        None, unit="m$/ktoken", source="related", description="Price of an output token; None: of "
        "the list.", ge=0.0, le=1000.0,
    )  # fmt: skip
    cache_hit: float = param(0.0, unit="1", source="ours", description="Share chi of the prompt "
        "that is in the provider's cache.", ge=0.0, le=1.0)  # fmt: skip
    tou_period: int = param(200, unit="slot", source="ours", description="Cycle of tou.",
        ge=2, le=1_000_000)  # fmt: skip
    tou_peak: int = param(133, unit="slot", source="ours", description="Slots of the cycle at "
        "full price; at most tou_period.", ge=0, le=1_000_000)  # fmt: skip
    tou_mult: float = param(
        0.5, unit="1", source="related", description="Off-peak multiplier.",
        note="official list until 5 September 2025", ge=0.0, le=100.0,
    )  # fmt: skip
    surge_mult: float = param(3.0, unit="1", source="ours", description="Multiplier in a surge.",
        ge=0.0, le=100.0)  # fmt: skip
    surge_up: float = param(0.02, unit="1", source="ours", description="Probability per slot that "
        "a surge begins.", ge=1e-6, le=1.0)  # fmt: skip
    surge_down: float = param(0.05, unit="1", source="ours", description="Probability per slot "
        "that it ends.", ge=1e-6, le=1.0)  # fmt: skip

    @model_validator(mode="after")
    def _counts_and_bounds_in_order(self) -> Self:
        pairs = (
            ("num_requests", "max_requests"),
            ("prompt_tokens_min", "prompt_tokens_max"),
            ("output_tokens_min", "output_tokens_max"),
            ("tou_peak", "tou_period"),
        )
        for low, high in pairs:
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low}={getattr(self, low)!r}: allowed: <= {high} ({getattr(self, high)!r})"
                )
        return self

    @model_validator(mode="after")
    def _regimes_are_proper(self) -> Self:
        for name, low, high in (
            ("regime_bandwidth_mbps", 0.01, 1e5),
            ("regime_rtt_s", 0.0, 10.0),
        ):
            if not all(low <= v <= high for v in getattr(self, name)):
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: allowed: each from {low:g} to {high:g}"
                )
        rows = self.regime_transition
        if len(rows) != len(REGIMES):
            raise ValueError(f"regime_transition: {len(rows)} rows; allowed: {len(REGIMES)}")
        laws = [("regime_transition", row) for row in rows]
        for name, law in [*laws, ("regime_start", self.regime_start)]:
            if min(law) < 0.0 or abs(sum(law) - 1.0) > 1e-9:
                raise ValueError(f"{name}: {law!r}; allowed: probabilities that sum to 1")
        return self

    @model_validator(mode="after")
    def _trace_fits_the_mode(self) -> Self:
        has_arrays = bool(self.trace_bandwidth_mbps or self.trace_rtt_s)
        if self.network != "trace" and (self.trace is not None or has_arrays):
            raise ValueError(f"network={self.network!r}: allowed with a trace: 'trace'")
        if self.network == "trace" and (self.trace is not None) == has_arrays:
            raise ValueError(
                "network='trace': allowed: either trace=PATH or trace_bandwidth_mbps and "
                "trace_rtt_s"
            )
        return self

    def files(self) -> dict[str, tuple[str, ...]]:
        """The trace, if there is one."""
        return {} if self.trace is None else {"trace": (self.trace,)}

    @property
    def has_regimes(self) -> bool:
        """Whether the regime is a chain."""
        return self.network.startswith("markov")

    @property
    def frozen_regime(self) -> int | None:
        """Index of the frozen regime, or None."""
        name = self.network.removeprefix("frozen:")
        return REGIMES.index(name) if name in REGIMES else None

    @property
    def prices(self) -> tuple[float, float, float]:
        """Prices of a prompt token, one in cache, and an output token, m$ per thousand."""
        given = (self.price_miss, self.price_hit, self.price_out)
        of_list = PRICE_LISTS[self.pricing]
        miss, hit, out = (b if a is None else a for a, b in zip(given, of_list, strict=True))
        return miss, hit, out

    @property
    def prompt_price(self) -> float:
        """Effective price p_in of a prompt token, m$ per thousand, at multiplier 1."""
        miss, hit, _ = self.prices
        return self.cache_hit * hit + (1.0 - self.cache_hit) * miss

    @property
    def surge_share(self) -> float:
        """Stationary probability of a surge: 2/7 by default."""
        return self.surge_up / (self.surge_up + self.surge_down)
