"""The routes: OpenAI's completions over our own models, and what an operator asks.

    GET /v1/models   POST /v1/completions   POST /v1/chat/completions (refused)   GET /health   GET /metrics

A route reads, asks the `Desk`, and tells what comes; who may come here at all was decided by `guard.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from glassgpt.errors import BusyError, ConfigError, DataError, GlassgptError, TokenizerError
from glassgpt.serve.answers import Account, dumped, error_body, sent
from glassgpt.serve.desk import Desk, DrainingError, Pending
from glassgpt.serve.guard import Guard
from glassgpt.serve.limits import Access, Limits
from glassgpt.serve.metrics import in_prometheus_form
from glassgpt.serve.shapes import CompletionRequest
from glassgpt.serve.shelf import Served, UnknownModelError

Result = TypeVar("Result")
SMALL = 4096  # characters that are encoded before anybody else could notice
NO_CHAT = (
    "this is a base model: it goes on with a text, and has no chat form; POST /v1/completions with a prompt instead"
)


def create_app(desk: Desk, access: Access, limits: Limits) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        yield
        desk.close()

    # Its own pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="glassgpt", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    _add_routes(app, desk, limits)
    app.add_exception_handler(GlassgptError, _told)
    app.add_exception_handler(Exception, _told_of_bug)
    app.add_exception_handler(RequestValidationError, _told_of_body)
    app.add_exception_handler(HTTPException, _told_of_route)
    app.add_middleware(Guard, access=access, limits=limits)
    if access.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=sorted(access.origins), allow_methods=["*"], allow_headers=["*"]
        )
    return app


def _add_routes(app: FastAPI, desk: Desk, limits: Limits) -> None:
    @app.get("/health")
    async def health() -> Response:
        return answer({"status": "draining" if desk.draining else "ok"}, status=503 if desk.draining else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(in_prometheus_form(desk), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models() -> Response:
        found = await asyncio.to_thread(desk.shelf.found)
        rows = [_model_row(name, int(path.stat().st_mtime)) for name, path in found.items() if path.exists()]
        return answer({"object": "list", "data": rows})

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        found = await asyncio.to_thread(desk.shelf.found)
        if name not in found:
            raise UnknownModelError(f"there is no model {name!r}; see GET /v1/models")
        return answer(_model_row(name, int(found[name].stat().st_mtime)))

    @app.post("/v1/chat/completions")
    async def chat() -> Response:
        return answer(error_body(NO_CHAT, code="no_chat_form", kind="invalid_request_error"), status=400)

    @app.post("/v1/completions")
    async def completions(asked: CompletionRequest, request: Request) -> Response:
        served = await desk.model(asked.model)
        prompts = await _encoded(served, asked, limits)
        account = Account(
            served.name,
            served.lm.tokenizer,
            prompts,
            n=asked.samples,
            echo=bool(asked.echo),
            logprobs=asked.logprobs is not None,
        )
        pending = desk.submit(
            served.engine,
            prompts,
            asked.settings(desk.shelf.weights),
            alternatives=asked.logprobs or 0,
            score_prompt=bool(asked.echo) and asked.logprobs is not None,
        )
        if asked.stream:
            wants_usage = asked.stream_options is not None and asked.stream_options.include_usage
            return Stream(pending, _chunks(pending, account, wants_usage=wants_usage))
        return await _unless_gone(request, _whole(pending, account), pending)


async def _encoded(served: Served, asked: CompletionRequest, limits: Limits) -> list[list[int]]:
    """The prompts as ids that the model knows, and no more of them than it may be asked to read."""
    lm = served.lm
    prompts = [lm.opening] if asked.prompt is None else asked.prompts
    characters = sum(len(prompt) for prompt in prompts)
    ids: list[list[int]] = []
    for prompt in prompts:
        if isinstance(prompt, str):
            ids.append(lm.encode(prompt) if characters < SMALL else await asyncio.to_thread(lm.encode, prompt))
        else:
            ids.append(prompt)
            if max(prompt) >= lm.tokenizer.vocab_size:
                raise TokenizerError(f"token {max(prompt)} is none of the {lm.tokenizer.vocab_size:,} that there are")
    if (tokens := sum(map(len, ids))) > limits.prompt_tokens:
        raise DataError(f"the prompt has {tokens:,} tokens; {limits.prompt_tokens:,} are read at most")
    if (texts := len(ids) * asked.samples) > limits.samples:
        raise ConfigError(f"{len(ids)} prompts with n={asked.samples} are {texts} texts; {limits.samples} are allowed")
    return ids


async def _whole(pending: Pending, account: Account) -> Response:
    pieces = account.opening()
    async for bundle in pending.bundles():
        pieces += [piece for event in bundle if (piece := account.piece(event))]
    return answer(account.joined(pieces))


async def _chunks(pending: Pending, account: Account, *, wants_usage: bool) -> AsyncIterator[bytes]:
    try:
        if opening := b"".join(map(account.chunk, account.opening())):
            yield opening
        async for bundle in pending.bundles():
            if chunk := b"".join(account.chunk(piece) for event in bundle if (piece := account.piece(event))):
                yield chunk
    except GlassgptError as problem:  # the status was sent long ago
        yield sent(error_body(str(problem), code="failed", kind="server_error"))
    if wants_usage:
        yield account.last_chunk()
    yield b"data: [DONE]\n\n"


class Stream(StreamingResponse):
    """Server-sent events; however the connection ends, the request does too."""

    def __init__(self, pending: Pending, chunks: AsyncIterator[bytes]) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self.pending = pending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.pending.close()


async def _unless_gone(request: Request, work: Awaitable[Result], pending: Pending) -> Result | Response:
    """The work's result; a client that leaves ends it."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=499)  # nobody hears it
    finally:
        pending.close()
        for task in (working, watching):
            task.cancel()
            with suppress(asyncio.CancelledError, GlassgptError):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _model_row(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "glassgpt"}


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
    message = f"{place or 'the body'}: {first['msg']}"
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
