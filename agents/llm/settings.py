"""Where a model's server is and how it is asked, as plain data that holds no secret."""

from __future__ import annotations

from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from sixgym.envs.core.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

Constrained = Literal["auto", "grammar", "choice", "json_schema", "none"]

_UNSHOWN = ("base_url", "api_key_env", "extra")
"""Fields whose wrong values no message shows: a secret may have been put there by mistake."""


class Strict(BaseModel):
    """Plain data, checked: no unknown fields, no conversions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class EndpointSettings(Strict):
    """An OpenAI-compatible server and how it is asked.

    The API key is none of the settings: it is read from the environment variable that
    ``api_key_env`` names, when a request is sent.
    """

    base_url: str = Field(description="up to and including /v1: http://127.0.0.1:8000/v1")
    model: str = Field(min_length=1, description="as the server calls it")
    api_key_env: str = Field(
        "",
        pattern=r"^([A-Z_][A-Z0-9_]*)?$",
        description="environment variable that holds the API key, in capitals; empty: no key",
    )
    timeout_s: float = Field(
        60.0, gt=0.0, le=3600.0, description="longest time to connect, and between two bytes, s"
    )
    retries: int = Field(4, ge=0, le=20, description="tries after the first")
    backoff_s: float = Field(
        0.5, gt=0.0, le=60.0, description="wait before the first retry, s; doubles each time"
    )
    max_wait_s: float = Field(
        60.0,
        gt=0.0,
        le=3600.0,
        description="longest wait before a retry, s; a server that asks for more is not retried",
    )
    max_tokens: int | None = Field(
        256, ge=1, description="longest answer, tokens; None leaves it to the server"
    )
    temperature: float = Field(0.0, ge=0.0, le=2.0, description="of sampling; 0 is greedy")
    seed: int | None = Field(None, ge=0, lt=2**31, description="of the server's sampling")
    max_parallel: int = Field(8, ge=1, le=256, description="requests in flight at one time")
    constrained: Constrained = Field(
        "auto",
        description="how the server is to keep to the grammar; auto: whichever way it understands, "
        "none if it understands none",
    )
    prompt_price: float = Field(0.0, ge=0.0, description="cost of a prompt token, any currency")
    completion_price: float = Field(0.0, ge=0.0, description="cost of a token of the answer")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="more fields of every request, e.g. chat_template_kwargs of vLLM",
    )

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        if not _is_plain_url(value):
            raise ValueError(
                "http://HOST/v1 or https://HOST/v1, without user name, query, fragment"
            )
        return value.rstrip("/")


def _is_plain_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bad port or address
        return False
    return is_web and not ("@" in parts.netloc or parts.query or parts.fragment)


def read(cls: type[M], data: object, where: str) -> M:
    """A model from plain data.

    Args:
        cls: of strict fields.
        data: what was read.
        where: what a message begins with: the file.

    Raises:
        ConfigError: a field is missing, unknown, of the wrong type or out of range; the message is
            one line and never holds what may be a secret.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item)) for item in error.errors(include_url=False))
        raise ConfigError(f"{where}: {problems}") from None


def _problem(item: dict[str, Any]) -> str:
    """One mistake in words."""
    path = [str(part) for part in item["loc"]]
    name = ".".join(path) or "content"
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if item["type"] == "missing":
        return f"{name}: missing"
    if item["type"] == "extra_forbidden":
        hint = "; name the environment variable of a key by api_key_env" if "key" in name else ""
        return f"{name}: no such field{hint}"
    if not path or set(path) & set(_UNSHOWN):
        return f"{name}: allowed: {message}"
    return f"{name}={item['input']!r}: allowed: {message}"
