"""One page that shows a trace and needs nothing else: no server, no network, no library.

Its modules lie in `pages/`, as a browser reads them, so that a server can hand out the same files. Here they are
joined in the order of their imports. What a text or a run is called can never become markup or script: data
stand in the page as JSON without `<`, and a policy in the page forbids every script but its own, and every request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGES = Path(__file__).with_name("pages")
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<module>\w+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=function|const)", re.MULTILINE)
RISKY = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}  # in JSON these mean the same, escaped


def saved_page(shown: Mapping[str, Any]) -> str:
    """The page, whole: what `Trace.as_json` gives, and under `model` the run, step and form of the model."""
    style, script = _source("page.css"), joined("saved.js")
    policy = f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
    parts = {
        "policy": policy + "base-uri 'none'; form-action 'none'",
        "style": style,
        "trace": as_data(shown),
        "script": script,
    }
    # In one pass: a text may well hold "{script}".
    return re.sub(r"\{(policy|style|trace|script)\}", lambda found: parts[found[1]], _source("saved.html"))


def as_data(value: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: nothing in it can end that."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(RISKY)


def joined(entry: str) -> str:
    """A module with all that it imports above it, as one script."""
    sources: dict[str, str] = {}
    _gather(entry, sources)
    return "\n".join(sources.values())


def _gather(module: str, sources: dict[str, str]) -> None:
    if module in sources:
        return
    source = _source(module)
    for found in IMPORT.finditer(source):
        _gather(found["module"], sources)
    sources[module] = EXPORT.sub("", IMPORT.sub("", source))


def _source(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def _digest(inline: str) -> str:
    """How a policy names one script or style: by its content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
