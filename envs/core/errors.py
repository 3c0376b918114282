"""The errors that a user can cause. Each message names the field, the value and what is allowed."""

from __future__ import annotations

from sixgym.envs.backend.printing import printable

LONGEST = 4000
"""Characters of a message: what a user brought may be quoted in it, and may be a file's size."""


class SixgymError(ValueError):
    """Base of all errors that come from what a user typed, passed or stored.

    Args:
        message: it becomes one line of printable characters, for what it quotes may be anything; of
            a very long one the middle is left out.
    """

    def __init__(self, message: object = "", *more: object) -> None:
        text = printable(str(message))
        if len(text) > LONGEST:
            half = LONGEST // 2
            text = f"{text[:half]} [...] {text[-half:]}"
        super().__init__(text, *more)


class ParamsError(SixgymError):
    """A parameter of a system is unknown, of the wrong type or out of its range."""


class ActionError(SixgymError):
    """An action has the wrong shape or type, is not finite, or lies outside its space."""


class SeedError(SixgymError):
    """A seed is negative, not an integer, or there are too few or too many of them."""


class OptionsError(SixgymError):
    """An option of a constructor or of ``reset`` is unknown or malformed."""


class NoAttributeError(OptionsError, AttributeError):
    """An environment has no attribute or method of that name."""


class StateError(SixgymError):
    """A step out of order (before reset, after the end) or a state that does not fit the system."""


class UnknownIdError(SixgymError):
    """An environment, policy, preset or algorithm of that name does not exist."""


class ConfigError(SixgymError):
    """A training configuration is malformed or asks for what does not exist."""


class CheckpointError(SixgymError):
    """A checkpoint is missing, truncated, altered, or belongs to something else."""


class PolicyError(SixgymError):
    """A policy returned something that is not an action, or its file cannot be read."""


class ResultError(SixgymError):
    """A stored result is malformed or does not belong to the task it names."""


class SubmissionError(SixgymError):
    """A submission to the leaderboard is not data that can be judged; see its checks."""


class EndpointError(SixgymError):
    """A language model's server cannot be reached, refuses, or answers with what is no answer.

    Args:
        message: one line.
        status: the HTTP status, where there was an answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ConformanceError(SixgymError):
    """An environment breaks a promise that all environments make; see the conformance kit."""


class PluginWarning(UserWarning):
    """An installed package that brings systems could not be imported, and was left out."""


class ActionTypeError(ActionError, TypeError):
    """An action is not an array of numbers of the right kind."""
