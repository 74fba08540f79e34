"""What a monitor reads: the desk's counters and the engines' load, in the text form of Prometheus.

Nothing is measured here that would cost a step; whoever wants rates takes them from the counters.
"""

from __future__ import annotations

from glassgpt.serve.desk import Desk

COUNTERS = {
    "requests": "requests that were accepted",
    "refused": "requests that found the queue full",
    "cancelled": "requests whose client went away",
    "prompt_tokens": "tokens of prompts",
    "tokens": "tokens that were written",
}


def in_prometheus_form(desk: Desk) -> str:
    lines = []
    for name, what in COUNTERS.items():
        lines += _metric(f"glassgpt_{name}_total", "counter", what, {"": desk.counts[name]})
    loaded = {served.name: served.engine for served in desk.shelf.loaded()}
    steps = {_label(name): engine.slots.steps for name, engine in loaded.items()}
    running = {_label(name): engine.active for name, engine in loaded.items()}
    waiting = {_label(name): max(0, engine.in_flight - engine.active) for name, engine in loaded.items()}
    lines += _metric("glassgpt_steps_total", "counter", "steps that a model has taken", steps)
    lines += _metric("glassgpt_running_texts", "gauge", "texts that are being written", running)
    lines += _metric("glassgpt_waiting_texts", "gauge", "texts that wait for a slot", waiting)
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, what: str, values: dict[str, int]) -> list[str]:
    rows = [f"{name}{label} {value}" for label, value in values.items()]
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}", *rows]


def _label(model: str) -> str:
    escaped = model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{{model="{escaped}"}}'
