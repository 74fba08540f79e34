"""Defaults < preset or file < flags; everybody's names; a file that repeats the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt import names, settings
from glassgpt.config import RunConfig
from glassgpt.errors import ConfigError

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t #:'\""), min_size=1, max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "d_model": st.integers(1, 64).map(lambda n: 8 * n),
    "n_layers": st.integers(1, 99),
    "d_ff": st.none() | st.integers(1, 9999),
    "dropout": st.floats(0, 0.99, allow_subnormal=False),  # a training in this process may have switched them off
    "position": st.sampled_from(["learned", "rope"]),
    "bias": st.booleans(),
    "data": st.lists(TEXTS, min_size=1, max_size=3),
    "tokenizer": TEXTS,
    "learning_rate": st.floats(1e-9, 10, exclude_min=True),
    "seed": st.integers(0, 2**63),
    "compile": st.sampled_from(["auto", "on", "off"]),
    "sample_prompt": TEXTS,
    "out": st.none() | TEXTS,
    "publish": st.lists(TEXTS.map(lambda name: name + ".csv"), max_size=2),
}
CHOICES = st.fixed_dictionaries({}, optional=VALUES)


@given(CHOICES)
def test_a_saved_configuration_read_back_is_the_same(values: dict[str, Any]) -> None:
    config = settings.assemble(values)
    text = settings.to_yaml(config, dict.fromkeys(values, "flag"))
    assert read_back(text) == config


def read_back(text: str) -> RunConfig:
    import yaml

    return settings.assemble(settings.canonical(yaml.safe_load(text), place="here"))


@given(CHOICES)
def test_flattening_and_assembling_are_inverse(values: dict[str, Any]) -> None:
    config = settings.assemble(values)
    assert settings.assemble(settings.flat(config)) == config


def test_flags_go_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("n_layers: 7\nn_heads: 8\n", encoding="utf-8")
    chosen = settings.resolve(file=file, flags={"n_heads": "2"})
    assert (chosen.config.model.n_layers, chosen.config.model.n_heads) == (7, 2)
    assert chosen.config.model.d_model == RunConfig().model.d_model
    assert chosen.origins == {"n_layers": str(file), "n_heads": "flag"}


@pytest.mark.parametrize("alias", sorted(names.ALIASES))
def test_every_alias_leads_to_a_field(alias: str) -> None:
    from glassgpt.config import SamplingConfig

    known = {name for _, name, _ in settings.fields()} | set(SamplingConfig.model_fields)
    assert names.ALIASES[alias] in known
    assert alias not in known, "an alias that is a field too could never be told from it"


def test_an_alias_and_its_field_may_agree_but_not_differ() -> None:
    assert settings.canonical({"n_embd": 64, "d_model": 64}, place="x") == {"d_model": 64}
    with pytest.raises(ConfigError, match=r"sets d_model twice, to 64 and \(as n_embd\) to 32"):
        settings.canonical({"d_model": 64, "n_embd": 32}, place="x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"d_modle": 64}, "did you mean d_model?"),
        ({"n_heads": 3, "d_model": 128}, "d_model=128 does not split into n_heads=3; d_model=132 would"),
        ({"dropout": 1.5}, "dropout=1.5: it should be a number, 0 or more and less than 1"),
        ({"mlp": "gellu"}, "mlp='gellu': it should be 'gelu', 'gelu_exact', 'relu2' or 'swiglu'"),
        ({"seq_len": 1024}, "seq_len=1024 is longer than max_seq_len=256"),
        ({"epochs": 3}, "give iters_per_epoch or max_steps"),
        ({"epochs": "many", "iters_per_epoch": 3}, "no whole numbers"),
        ({"use_rope": "perhaps"}, "neither true nor false"),
        ({"learning_rate": "nan"}, "learning_rate"),
        ({"learning_rate": "inf"}, "learning_rate"),
        ({"warmup_steps": 2000}, "warmup_steps=2000 is longer than the run"),
        ({"grad_accum": 3}, "batch_size=8 does not split into grad_accum=3"),
    ],
)
def test_an_impossible_value_is_refused_with_the_way_out(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as problem:
        settings.resolve(flags=values)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "just text", "a: [", "3"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"odd\.yaml") as problem:
        settings.resolve(file=file)
    assert "\n" not in str(problem.value)


def test_an_unknown_key_in_a_file_names_the_file_and_the_nearest_setting(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("max_step: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"my\.yaml: unknown setting 'max_step'; did you mean max_steps\?"):
        settings.resolve(file=file)


def test_an_unknown_preset_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'mini_gtp'; presets are: ") as problem:
        settings.resolve(preset="mini_gtp")
    assert all(name in str(problem.value) for name in settings.presets())


@pytest.mark.parametrize("name", sorted(settings.presets()))
def test_every_preset_is_valid_and_says_what_it_is_for(name: str) -> None:
    settings.resolve(preset=name)
    assert len(settings.presets()[name]) > 10


def test_a_piece_cannot_be_changed() -> None:
    config = RunConfig()
    with pytest.raises(Exception, match="frozen"):
        config.model.d_model = 3


def test_sampling_settings_know_other_names_too() -> None:
    chosen = settings.sampling({"num_tokens": "7", "temp": "0.5", "stop": "END"})
    assert (chosen.max_new_tokens, chosen.temperature, chosen.stop) == (7, 0.5, ("END",))
    with pytest.raises(ConfigError, match="did you mean top_k"):
        settings.sampling({"topk": 3})


def test_a_setting_that_stands_twice_in_a_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("d_model: 64\nn_layers: 2\nd_model: 128\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="d_model stands there twice, the second time in line 3"):
        settings.resolve(file=tmp_path / "twice.yaml")
