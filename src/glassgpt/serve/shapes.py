"""What comes in: OpenAI's request for completions, checked, with its names turned into ours.

Of OpenAI's own fields those that no base model here can serve are refused when they ask for something, not passed
over. What goes out is built in `answers.py`.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from glassgpt.config import SamplingConfig, Weights
from glassgpt.serve.limits import Limits

LIMITS = Limits()
Finite = Field(allow_inf_nan=False)
TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """`POST /v1/completions`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: Annotated[str, Field(max_length=512)]
    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=LIMITS.samples)]
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1, max_length=LIMITS.samples)]
        | None
    ) = None  # left out: whatever the model's run begins its samples with
    n: Annotated[int, Field(ge=1, le=LIMITS.samples)] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=LIMITS.max_tokens)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=8)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    user: Annotated[str, Field(max_length=512)] | None = None

    top_k: Annotated[int, Field(ge=0, le=1 << 32)] | None = None  # these three are ours
    min_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None

    return_token_ids: bool | None = None  # beside logprobs, as some other servers give them: ids are exact, texts not

    best_of: int | None = None
    suffix: str | None = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: Annotated[float, Finite] | None = None
    presence_penalty: Annotated[float, Finite] | None = None

    @field_validator("suffix", "logit_bias", "frequency_penalty", "presence_penalty")
    @classmethod
    def _asks_for_nothing(cls, value: Any) -> Any:
        if value:
            raise ValueError("this server does not do that; leave it out")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> CompletionRequest:
        if self.best_of not in {None, self.samples}:
            raise ValueError(f"best_of={self.best_of}: all {self.samples} samples are given; leave it out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options are of use with stream=true only")
        return self

    @property
    def samples(self) -> int:
        return 1 if self.n is None else self.n

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """As a list, however they came: one text, many, the ids of one, the ids of many."""
        prompt = self.prompt
        if prompt is None or isinstance(prompt, str):
            return [prompt or ""]
        if isinstance(prompt[0], int):
            return [[token for token in prompt if isinstance(token, int)]]
        return prompt

    def settings(self, weights: Weights) -> SamplingConfig:
        """OpenAI's defaults, not those of `glassgpt sample`: a request means here what it means elsewhere."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        seed = secrets.randbits(63) if self.seed is None else self.seed % (1 << 63)
        return SamplingConfig(
            max_new_tokens=16 if self.max_tokens is None else self.max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k or 0,
            top_p=1.0 if self.top_p is None else max(self.top_p, 1e-9),  # 0 means there: only the likeliest
            min_p=self.min_p or 0.0,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            stop=tuple(stops),
            num_samples=self.samples,
            seed=seed,
            weights=weights,
        )
