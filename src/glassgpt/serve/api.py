"""The routes: OpenAI's completions over our own models, and what an operator asks.

    GET /v1/models   POST /v1/completions   POST /v1/chat/completions (refused)   GET /health   GET /metrics

A route reads, asks the `Desk`, and tells what comes; who may come here at all was decided by `guard.py`. What the page
is made of and asks for besides is in `site.py`, `glass.py` and `story.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from glassgpt.errors import ConfigError, DataError, GlassgptError, TokenizerError
from glassgpt.serve.answers import Account, error_body, sent
from glassgpt.serve.desk import WHEN_GONE, Desk, Pending
from glassgpt.serve.glass import add_glass
from glassgpt.serve.guard import Guard
from glassgpt.serve.limits import Access, Limits
from glassgpt.serve.metrics import in_prometheus_form
from glassgpt.serve.problems import answer, tell_problems
from glassgpt.serve.shapes import CompletionRequest
from glassgpt.serve.shelf import Served, Shelf, UnknownModelError
from glassgpt.serve.site import add_page
from glassgpt.serve.story import add_story

Result = TypeVar("Result")
SMALL = 4096  # characters that are encoded before anybody else could notice
NO_CHAT = (
    "this is a base model: it goes on with a text, and has no chat form; POST /v1/completions with a prompt instead"
)


def create_app(desk: Desk, access: Access, limits: Limits) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        desk.open()
        try:
            yield
        finally:
            desk.close()

    # Its own pages of documentation would load scripts from elsewhere.
    app = FastAPI(
        title="glassgpt", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=lifespan
    )
    _add_routes(app, desk, limits)
    add_glass(app, desk, limits)
    add_story(app, desk, limits)
    add_page(app)
    tell_problems(app)
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
        rows = await asyncio.to_thread(_model_rows, desk.shelf)
        return answer({"object": "list", "data": list(rows.values())})

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Response:
        rows = await asyncio.to_thread(_model_rows, desk.shelf)
        if name not in rows:
            raise UnknownModelError(f"there is no model {name!r}; see GET /v1/models")
        return answer(rows[name])

    @app.post("/v1/chat/completions")
    async def chat() -> Response:
        return answer(error_body(NO_CHAT, code="no_chat_form", kind="invalid_request_error"), status=400)

    @app.post("/v1/completions")
    async def completions(asked: CompletionRequest, request: Request) -> Response:
        return await _complete(desk, limits, asked, request)


async def _complete(desk: Desk, limits: Limits, asked: CompletionRequest, request: Request) -> Response:
    served = await desk.model(asked.model)
    prompts = await _encoded(served, asked, limits)
    account = Account(
        served.name,
        served.fingerprint,
        served.lm.tokenizer,
        prompts,
        n=asked.samples,
        echo=bool(asked.echo),
        logprobs=asked.logprobs is not None,
        ids=bool(asked.return_token_ids),
    )
    pending = desk.submit(
        served,
        prompts,
        asked.settings(desk.shelf.weights),
        alternatives=asked.logprobs or 0,
        score_prompt=bool(asked.echo) and asked.logprobs is not None,
    )
    setattr(request.state, WHEN_GONE, pending.close)
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


def _model_rows(shelf: Shelf) -> dict[str, dict[str, Any]]:
    """By name; one that is put in another's place, or removed, while it is asked for is left out."""
    rows = {}
    for name, path in shelf.found().items():
        with suppress(OSError):
            created = int(path.stat().st_mtime)
            rows[name] = {"id": name, "object": "model", "created": created, "owned_by": "glassgpt"}
    return rows
