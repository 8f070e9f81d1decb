"""Options: one set of dataclasses behind the command line, YAML files and --print-config."""

import dataclasses
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gnnflow.cli import doctor, infer, options, partition, policy, replay
from gnnflow.cli.help_page import entries
from gnnflow.cli.policy import FitConfig, TuneConfig
from gnnflow.cli.replay import ReplayConfig
from gnnflow.config import (
    CacheConfig,
    InferConfig,
    JobConfig,
    ModelConfig,
    OptimizationConfig,
    PartitionConfig,
    PolicyConfig,
    RuntimeConfig,
    SamplingConfig,
    TrainConfig,
    parse_int_list,
    recorded_options,
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


def test_what_commands_share_is_listed_where_each_says() -> None:
    infer_names = [entry.name for entry in entries(InferConfig)]
    assert infer_names[:5] == ["parts", "checkpoint", "out", "vertices", "ranks"]
    runtime_names = [entry.name for entry in entries(RuntimeConfig)]
    shown = ["transport", "wire-dtype", "gradient-dtype", "topology-bytes", "comm-timeout"]
    assert runtime_names[1:6] == shown
    recorded = recorded_options(TrainConfig(parts=Path("x")))["runtime"]
    assert [name.replace("_", "-") for name in recorded] == runtime_names
    assert set(recorded) == set(RuntimeConfig.__dataclass_fields__)
    shared = set(JobConfig.__dataclass_fields__)
    assert shared < set(recorded) and shared < set(InferConfig.__dataclass_fields__)


BOMB = "a: &a [x, x]\n" + "".join(f"k{n}: &k{n} [*a, *a]\n" for n in range(30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "line 2 has an alias"),
        ("a: &a [*a]\n", "line 1 has an alias"),
        ("base: &b {lr: 1}\n<<: *b\n", "line 2 has an alias"),
        ("[" * 50_000, "nested too deeply"),
        ("seed: 1" + ":1" * 3000, "line 1 has a value of more than 4096 characters"),
        ("seed: 0x" + "f" * 5000, "line 1 has a value of more than 4096 characters"),
        ("seed: 0x" + "f" * 4000, "Exceeds the limit"),
        ("lr: !!python/name:os.system", "could not determine a constructor"),
    ],
)
def test_yaml_that_would_grow(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse("parts", "--config", str(write(tmp_path, text)))
    assert "\n" not in str(caught.value)


def test_yaml_that_is_too_large(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="it has 1.1 TB, and may have 262.1 kB"):
        parse("parts", "--config", str(path))


def whole_numbers(config_class: type[Any]) -> list[str]:
    return [
        entry.name
        for entry in options.entries(config_class)
        if re.search(r"\bint\b", str(entry.hint)) and entry.hint is not bool
    ]


CONFIGS = {
    "gnnflow-train": TrainConfig,
    "gnnflow-infer": infer.InferConfig,
    "gnnflow-partition": partition.PartitionCommandConfig,
    "gnnflow-replay": replay.ReplayConfig,
    "gnnflow-doctor": doctor.DoctorConfig,
    "gnnflow-policy collect": policy.CollectConfig,
    "gnnflow-policy fit": policy.FitConfig,
    "gnnflow-policy tune-llm": policy.TuneConfig,
}


@pytest.mark.parametrize("prog", CONFIGS)
def test_whole_numbers_have_an_end(prog: str, capsys: pytest.CaptureFixture[str]) -> None:
    config_class = CONFIGS[prog]
    found = list(options.entries(config_class))
    must = [entry for entry in found if entry.default is dataclasses.MISSING]
    words = ["x" for entry in must if entry.positional]
    words += [word for entry in must if not entry.positional for word in (f"--{entry.name}", "x")]
    names = whole_numbers(config_class)
    assert names
    for name in names:
        said = ""
        try:
            options.parse(config_class, prog=prog, args=[*words, f"--{name}", str(2**64)])
        except (SystemExit, ConfigError) as error:
            said = capsys.readouterr().err + str(error)
        assert re.search(rf"{name.replace('-', '_')} must be (at most|in \[)", said), (name, said)
        assert str(2**64) in said


@pytest.mark.parametrize(
    ("config_class", "values", "message"),
    [
        (RuntimeConfig, {"seed": 2**64}, "seed must be at most 9223372036854775807, got 1844"),
        (RuntimeConfig, {"seed": -1}, "seed must not be negative, got -1"),
        (RuntimeConfig, {"seed": 10**6000}, "got a number of 19932 bits"),
        (RuntimeConfig, {"threads": 10**6}, "threads must be at most 1024, got 1000000"),
        (PartitionConfig, {"halo_hops": 10**6}, "halo_hops must be at most 100, got 1000000"),
        (PartitionConfig, {"num_parts": 10**5}, "num_parts must be at most 99999"),
        (SamplingConfig, {"fanout": (10, 2**31)}, "got 2147483648; -1 keeps all neighbours"),
        (SamplingConfig, {"fanout": (1,) * 101}, "fanout must have at most 100 numbers, got 101"),
        (SamplingConfig, {"batch_size": 2.5}, "batch_size must be a whole number, got 2.5"),
        (SamplingConfig, {"batch_size": True}, "batch_size must be a whole number, got True"),
        (CacheConfig, {"cache_bytes": "9"}, "cache_bytes must be a whole number, got '9'"),
        (CacheConfig, {"lookahead": 2**31}, "lookahead must be at most 2147483647"),
    ],
)
def test_whole_numbers_of_programs(
    config_class: type[Any], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        config_class(**values)


def test_the_largest_that_can_be() -> None:
    assert RuntimeConfig(seed=2**63 - 1, threads=1024, topology_bytes=2**63 - 1).threads == 1024
    assert SamplingConfig(batch_size=np.int64(5)).batch_size == 5


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--out", os.fsdecode(b"run\xff")],
        ["--config", str(write(tmp_path, 'out: "run\\udcff"'))],
    ):
        options.let_streams_print_everything()
        with pytest.raises(SystemExit) as ended:
            parse("parts", *words)
        assert ended.value.code == 2
        assert "is no text in utf-8; rename it (gnnflow-train --help" in capsys.readouterr().err


PRINTING = r"""
import os
from gnnflow.cli import options
from gnnflow.errors import ConfigError

def main():
    print("3 × 4 − … ─ é 漢", os.fsdecode(b"run\xff"))
    raise ConfigError("… " + os.fsdecode(b"run\xff"))

options.run(main)
"""


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"3 x 4 - ... - \\xe9 \\u6f22 run\\xff\n"),
        ("latin-1", b"3 \xd7 4 - ... - \xe9 \\u6f22 run\\xff\n"),
        ("utf-8", "3 × 4 − … ─ é 漢 run".encode() + b"\\xff\n"),
    ],
)
def test_any_stream_prints_anything(encoding: str, printed: bytes) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PRINTING],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (ended.returncode, ended.stdout) == (1, printed), ended.stderr
    assert ended.stderr.endswith(b" run\\xff\n") and ended.stderr.count(b"\n") == 1
