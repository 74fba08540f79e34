"""How much a client may ask for, and who may come: the numbers that the guard and the shapes hold to.

Every figure that a stranger sends is bounded by one here, before memory or time is spent on it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    body_bytes: int = 1 << 20
    header_bytes: int = 16 << 10
    send_s: float = 10.0  # to send a whole request, header and body
    prompt_tokens: int = 32_768  # of all prompts of a request together
    max_tokens: int = 4_096
    samples: int = 16  # n
    looked_at_tokens: int = 256  # of a text that is looked into; its maps grow with their square
    looked_at_weights: int = 2_000_000  # of all those maps together: 8 MB on their way to a page
    looking: int = 8  # who may wait for a look; one is taken at a time
    followers: int = 64  # who may follow runs while they train
    drain_s: float = 30.0  # what running requests have left after SIGTERM


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask: by which name of this machine, with which key, from a page of which origin."""

    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    any_address: bool = False  # any literal IP address too: the server listens on all
    key: str | None = None
    origins: frozenset[str] = frozenset()  # other web pages that may ask
