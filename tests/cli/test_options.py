"""Options: one set of dataclasses behind the command line, YAML files and --print-config."""

import math
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gnnflow.cli import options
from gnnflow.cli.help_page import entries
from gnnflow.cli.policy import FitConfig, TuneConfig
from gnnflow.cli.replay import ReplayConfig
from gnnflow.config import (
    CacheConfig,
    InferConfig,
    ModelConfig,
    OptimizationConfig,
    PartitionConfig,
    PolicyConfig,
    RuntimeConfig,
    TrainConfig,
    parse_int_list,
)
from gnnflow.errors import ConfigError


def parse(*words: str) -> TrainConfig:
    return options.parse(TrainConfig, prog="gnnflow-train", args=words)


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_defaults_and_command_line() -> None:
    config = parse("parts", "--fanout", "5,-1", "--batch-size", "64", "--verify")
    assert config.parts == Path("parts")
    assert config.sampling.fanout == (5, -1)
    assert config.sampling.batch_size == 64
    assert config.runtime.verify is True
    assert config.model == TrainConfig(parts=Path("x")).model


def test_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "hidden: 33\nbatch_size: 7\nfanout: [3, 4]\nout: null\nverify: true\n")
    config = parse("parts", "--config", str(path), "--hidden", "9")
    assert config.model.hidden == 9
    assert config.sampling.batch_size == 7
    assert config.sampling.fanout == (3, 4)
    assert config.runtime.out is None
    assert config.runtime.verify is True


def test_printed_config_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["parts", "--fanout", "1,2,3", "--lr", "1e-05", "--out", "somewhere", "--model", "gat"]
    with pytest.raises(SystemExit) as stop:
        parse(*words, "--print-config")
    assert stop.value.code == 0
    path = write(tmp_path, capsys.readouterr().out)
    assert parse("--config", str(path)) == parse(*words)


def test_options_of_the_cache(tmp_path: Path) -> None:
    config = parse("parts").cache
    assert (config.cache_fraction, config.cache_bytes, config.lookahead) == (0.25, None, "auto")
    assert config.replace_every == 1
    assert parse("parts", "--scorer", "decay").cache.replace_every == 25
    config = parse("parts", "--lookahead", "7", "--cache-bytes", "1000", "--period", "0").cache
    assert (config.lookahead, config.cache_bytes, config.replace_every) == (7, 1000, 0)
    path = write(tmp_path, "lookahead: 3\ncache-bytes: null\nperiod: 4\ntrace: here\n")
    config = parse("parts", "--config", str(path)).cache
    assert (config.lookahead, config.replace_every, config.trace) == (3, 4, Path("here"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cache_fraction": 1.5}, r"cache_fraction must be in \[0, 1\], got 1.5; use cache_bytes"),
        ({"cache_bytes": -1}, "cache_bytes must not be negative, got -1"),
        ({"alpha": 1.0}, r"alpha must be in \(0, 1\), got 1.0"),
        ({"period": -2}, "period must not be negative, got -2"),
        ({"lookahead": -1}, "lookahead must be 'auto' or a number of minibatches from 0 on"),
        ({"prefetch_depth": -1}, "prefetch_depth must not be negative, got -1"),
        ({"exchange_every": 0}, "exchange_every must be at least 1, got 0"),
    ],
)
def test_bad_options_of_the_cache(values: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CacheConfig(**values)  # type: ignore[arg-type]


def test_every_option_is_printed() -> None:
    printed = yaml.safe_load(options.to_yaml(PartitionConfig(num_parts=8, hosts=2)))
    assert printed["num-parts"] == 8
    assert printed["hosts"] == 2
    assert set(printed) == {name.replace("_", "-") for name in PartitionConfig.__dataclass_fields__}


def test_positional_argument_may_come_from_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "parts: folder\n")
    assert parse("--config", str(path)).parts == Path("folder")
    assert parse("other", "--config", str(path)).parts == Path("other")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hiden: 3\n", "did you mean 'hidden'"),
        ("zzz: 3\n", "unknown option 'zzz'"),
        ("- 1\n", "got a list"),
        ("model:\n  hidden: 3\n", "not nested"),
        ("a: b: c\n", "is not YAML"),
    ],
)
def test_bad_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse("parts", "--config", str(write(tmp_path, text)))
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        parse("parts", "--config", str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hidden", "0"], "hidden must be at least 1, got 0"),
        (["--fanout", "3,x"], "whole numbers with commas"),
        (["--fanout", "0"], "at least 1 or -1"),
        (["--hiden", "3"], "--hidden"),
        (["--dropout", "1.5"], r"dropout must be in \[0, 1\)"),
    ],
)
def test_bad_words_end_with_usage_error(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("parts", *words)
    assert stop.value.code == 2
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert re.search(said, shown)


def test_run_prints_one_line_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise ConfigError("hidden must be at least 1, got 0")

    with pytest.raises(SystemExit) as stop:
        options.run(fails)
    assert stop.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_only_the_first_rank_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMI_RANK", "3")
    with pytest.raises(SystemExit):
        parse("parts", "--hidden", "0")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@given(st.lists(st.integers(-1, 10**6), min_size=1, max_size=6))
def test_int_list_round_trip(numbers: list[int]) -> None:
    assert parse_int_list(",".join(map(str, numbers))) == tuple(numbers)


def test_hosts_must_divide_parts() -> None:
    with pytest.raises(ConfigError, match="hosts must divide num_parts"):
        PartitionConfig(num_parts=4, hosts=3)


def numbers_of(config_class: type) -> list[str]:
    hints = [(entry.path[-1], entry.hint) for entry in entries(config_class)]
    return [name for name, hint in hints if hint is float or float in get_args(hint)]


@pytest.mark.parametrize(
    "config_class",
    [
        *(CacheConfig, ModelConfig, OptimizationConfig, PartitionConfig, PolicyConfig),
        *(RuntimeConfig, InferConfig, ReplayConfig, FitConfig, TuneConfig),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_numbers_out_of_range_are_refused_with_limit_and_value(
    config_class: type, value: float
) -> None:
    names = numbers_of(config_class)
    assert names
    places = {entry.path[-1]: Path() for entry in entries(config_class) if entry.positional}
    for name in names:
        if value == 1e300 and name in ("lr", "weight_decay", "clip_norm", "margin"):
            continue  # absurd, but a number
        with pytest.raises(ConfigError, match=rf"^{name} must .*, got {re.escape(str(value))}"):
            config_class(**places, **{name: value})
