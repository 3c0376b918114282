"""The router's score of a draft: how likely it is what the cloud would answer.

Pointwise logistic regression on the log-probabilities that the edge agent gave its own tokens
[our choice: dossier 4.4; the artifact has a router classifier with the draft as input: paper].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sixgym.agents.toolcall.model import Draft
from sixgym.envs.core.errors import SixgymError

FEATURES = ("log_prob_sum", "log_prob_min", "length", "is_valid")
"""Of a draft, in this order."""

Array = NDArray[np.float64]


class Scorer(BaseModel):
    """A fitted logistic regression, as plain data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: tuple[float, float, float, float]
    """Of the features it was fitted on."""
    scale: tuple[float, float, float, float] = Field(description="their deviations, positive")
    weight: tuple[float, float, float, float]
    """Of the standardised features."""
    bias: float

    def score(self, features: Array, *, schema_gate: bool = True) -> Array:
        """Scores in [0, 1] of drafts.

        Args:
            features: (rows, 4) of `features_of`.
            schema_gate: an invalid draft scores 0, (13): the validator is free and certain.

        Returns:
            (rows,) chance that the draft is what the cloud answers.
        """
        standard = (features - np.array(self.mean)) / np.array(self.scale)
        logit = standard @ np.array(self.weight) + self.bias
        chance: Array = 0.5 * (1.0 + np.tanh(0.5 * logit))  # the sigmoid, without overflow
        return np.where(features[:, 3] > 0.0, chance, 0.0) if schema_gate else chance


def features_of(draft: Draft) -> Array:
    """(rows, 4) features of drafts, see `FEATURES`."""
    log_prob = draft.log_prob.double()
    valid = [call is not None for call in draft.calls()]
    columns = (
        log_prob.sum(1).numpy(),
        log_prob.amin(1).numpy(),  # 0 behind the end is never the least
        draft.is_said.sum(1).double().numpy(),
        np.array(valid, dtype=np.float64),
    )
    return np.stack(columns, axis=1)


def fit_scorer(
    features: Array, label: Sequence[bool], weight: Sequence[float] | None = None
) -> Scorer:
    """Fit the score on offloaded requests, of which the cloud's answer is known.

    Args:
        features: (rows, 4) of `features_of`.
        label: whether each draft equals the cloud's answer.
        weight: of each row, 1 / P(offload) where some were offloaded by chance; None is 1 each.

    Raises:
        SixgymError: all labels are the same.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    from sklearn.linear_model import LogisticRegression

    is_right = np.asarray(label, dtype=bool)
    if is_right.all() or not is_right.any():
        raise SixgymError(f"label: all of {len(is_right)} are the same; allowed: both kinds")
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 0.0, scale, 1.0)
    model = LogisticRegression(max_iter=1_000)
    model.fit((features - mean) / scale, is_right, sample_weight=weight)
    return Scorer.model_validate(
        {
            "mean": mean.tolist(),
            "scale": scale.tolist(),
            "weight": model.coef_[0].tolist(),
            "bias": float(model.intercept_[0]),
        }
    )


def auc(score: Array, label: Sequence[bool]) -> float:
    """Area under the ROC curve: the chance that a right draft scores above a wrong one.

    Raises:
        SixgymError: all labels are the same.
        ModuleNotFoundError: scikit-learn is not installed.
    """
    from sklearn.metrics import roc_auc_score

    if len(set(map(bool, label))) < 2:
        raise SixgymError(f"label: all of {len(label)} are the same; allowed: both kinds")
    return float(roc_auc_score(np.asarray(label, dtype=bool), score))


def calibration_error(score: Array, label: Sequence[bool], bins: int = 10) -> float:
    """ECE: mean distance of score and share of right drafts in bins of equal mass.

    [standard]
    """
    order = np.argsort(score, kind="stable")
    is_right = np.asarray(label, dtype=np.float64)[order]
    parts = zip(np.array_split(score[order], bins), np.array_split(is_right, bins), strict=True)
    gaps = [len(s) * abs(s.mean() - r.mean()) for s, r in parts if len(s)]
    return float(sum(gaps) / len(score))
