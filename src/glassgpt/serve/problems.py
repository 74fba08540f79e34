"""Whatever goes wrong, told in OpenAI's form: our own errors, bodies that make no sense, routes that are none.

One table of status codes for the whole server, but for what `guard.py` refuses before. A mistake of our own is
told without its inside; that goes to the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from glassgpt.errors import (
    BusyError,
    ConfigError,
    DataError,
    GlassgptError,
    TokenizerError,
    UnknownCharacterError,
    did_you_mean,
)
from glassgpt.serve.answers import dumped, error_body
from glassgpt.serve.desk import DrainingError
from glassgpt.serve.shapes import CompletionRequest
from glassgpt.serve.shelf import UnknownModelError


def tell_problems(app: FastAPI) -> None:
    app.add_exception_handler(GlassgptError, _told)
    app.add_exception_handler(RequestValidationError, _told_of_body)
    app.add_exception_handler(HTTPException, _told_of_route)
    app.add_exception_handler(Exception, _told_of_bug)


def answer(content: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(dumped(content), status_code=status, media_type="application/json", headers=headers)


async def _told(_: Request, problem: Exception) -> Response:
    """One line that says what is wrong, as everywhere here."""
    message, kind = " ".join(str(problem).split()), "invalid_request_error"
    if isinstance(problem, DrainingError):
        return answer(
            error_body(message, code="draining", kind="server_error"), status=503, headers={"Retry-After": "5"}
        )
    if isinstance(problem, BusyError):
        body = error_body(message, code="queue_full", kind="rate_limit_error")
        return answer(body, status=429, headers={"Retry-After": "1"})
    if isinstance(problem, UnknownModelError):
        return answer(error_body(message, code="model_not_found", kind=kind, param="model"), status=404)
    if isinstance(problem, UnknownCharacterError):  # its own words name a flag of the command line
        message = f"this model's text never had the character {problem.character!r} (position {problem.position})"
    if isinstance(problem, ConfigError | DataError | TokenizerError):
        return answer(error_body(message, code="invalid_value", kind=kind), status=400)
    return answer(error_body(message, code="failed", kind="server_error"), status=500)


async def _told_of_bug(_: Request, __: Exception) -> Response:
    return answer(
        error_body("a mistake of this server's own; its log tells more", code="bug", kind="server_error"), status=500
    )


async def _told_of_body(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)
    first = _clearest(problem.errors())
    place = ".".join(str(part) for part in first["loc"][1:] if not isinstance(part, int))
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        said = f"there is no such field{did_you_mean(place, CompletionRequest.model_fields)}"
    message = f"{place or 'the body'}: {said}"
    return answer(
        error_body(message, code="invalid_value", kind="invalid_request_error", param=place or None), status=400
    )


def _clearest(problems: Sequence[Any]) -> Any:
    """Of a prompt, which may be four things, pydantic tells why it is none of the four; the last reason serves."""
    return problems[-1]


async def _told_of_route(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    codes = {404: "unknown_route", 405: "wrong_method"}
    message = (
        problem.detail
        if problem.status_code not in codes
        else f"{problem.detail}; routes are /v1/models, /v1/completions, /health, /metrics"
    )
    body = error_body(message, code=codes.get(problem.status_code, "invalid_request"), kind="invalid_request_error")
    return answer(body, status=problem.status_code, headers=dict(problem.headers or {}))
