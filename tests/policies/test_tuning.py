import json

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from made_up import make_observation  # noqa: E402
from tiny_model import make_model, make_tokenizer, save_tiny  # noqa: E402

from gnnflow.cli import policy as command  # noqa: E402
from gnnflow.config import PolicyConfig  # noqa: E402
from gnnflow.errors import DataError, MissingExtraError  # noqa: E402
from gnnflow.policies import RankInfo  # noqa: E402
from gnnflow.policies.labelled_situations import Situation, with_margin, write_situations  # noqa: E402
from gnnflow.policies.llm import llm_policy  # noqa: E402
from gnnflow.policies.llm.judge import Judge  # noqa: E402
from gnnflow.policies.llm.model.language_model import LanguageModel  # noqa: E402
from gnnflow.policies.llm.tuner import tuning  # noqa: E402
from gnnflow.policies.llm.tuner.tuning import Tuner, TuningOptions, tuned_template  # noqa: E402
from gnnflow.policies.rivals import RIVALS  # noqa: E402


def make_situations(count, group, seed=0):
    """Replacing is better where rows coming in are used often."""
    generator = np.random.default_rng(seed)
    situations = []
    for _ in range(count):
        better = bool(generator.random() < 0.5)
        uses = generator.uniform(0.5, 0.9) if better else generator.uniform(0.01, 0.04)
        observation = make_observation(incoming_uses=float(uses), outgoing_uses=0.0)
        saved = 2000.0 if better else -150.0
        situations.append(
            Situation(observation=observation, saved_rows=saved, horizon=16, group=group)
        )
    return situations


def make_tuner(**changes):
    tokenizer = make_tokenizer()
    model = LanguageModel(make_model(len(tokenizer)), tokenizer)
    options = TuningOptions(**{"layers": 1.0, "learning_rate": 0.02, "epochs": 6} | changes)
    return Tuner(model, tuned_template(), options)


def test_a_model_learns_what_it_did_not_know():
    pytest.importorskip("peft")
    tuner = make_tuner()
    unseen = make_situations(40, "unseen", seed=1)
    labels = np.array([item.replace for item in unseen])
    before = ((tuner.log_odds(unseen) > 0) == labels).mean()
    seen = []
    tuner.fit(make_situations(96, "seen"), lambda *step: seen.append(step))
    after = ((tuner.log_odds(unseen) > 0) == labels).mean()
    assert before < 0.8 < 0.95 <= after
    assert [number for number, _, _ in seen] == list(range(1, 37))
    assert seen[-1][2] < seen[0][2]


def test_the_same_seed_gives_the_same_adapter():
    pytest.importorskip("peft")
    found = []
    for seed in (0, 0, 1):
        tuner = make_tuner(epochs=1, seed=seed)
        tuner.fit(make_situations(32, "seen"), lambda *step: None)
        found.append(tuner.log_odds(make_situations(8, "unseen", seed=1)))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.filterwarnings("ignore:`past_key_values`:FutureWarning")  # transformers renames it
def test_the_adapter_of_the_command_loads_with_its_prompt(tmp_path, capsys, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    base = save_tiny(tmp_path / "base")
    situations = [
        item for group in ("a/1", "a/2", "b/1") for item in make_situations(40, group, len(group))
    ]
    write_situations(tmp_path / "situations.jsonl", situations)
    write_situations(tmp_path / "other.jsonl", make_situations(20, "other", seed=5))
    out = tmp_path / "tuned"
    words = ["tune-llm", str(tmp_path / "situations.jsonl"), "--unseen"]
    words += [str(tmp_path / "other.jsonl"), "--out", str(out), "--model", str(base)]
    with pytest.raises(SystemExit) as ended:
        command.main([*words, "--epochs", "6", "--layers", "1", "--learning-rate", "0.02"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "pass_at_1" in shown
    card = json.loads((out / "card.json").read_text())
    measures = card["measures"]
    assert set(RIVALS) < measures["tuned, other"].keys()
    assert measures["tuned, other"]["pass_at_1"] > measures["untuned, other"]["pass_at_1"]
    assert sorted(path.name for path in out.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
        "prompt.jinja",
        "reference.jsonl",
    ]
    model = LanguageModel.load(str(out))
    judge = Judge(model, identity="")
    judge.close = lambda: None
    monkeypatch.setattr(llm_policy, "connect_to_host_server", lambda config, info: judge)
    policy = llm_policy.make_llm(PolicyConfig(policy="llm", llm_model=str(out)), RankInfo())
    assert policy.decide(make_observation(incoming_uses=0.8, outgoing_uses=0.0)).replace
    assert not policy.decide(make_observation(incoming_uses=0.02, outgoing_uses=0.0)).replace
    assert policy.calibration.num_reference > 0  # as it was measured: by its own situations
    assert len(policy._task.messages) == 1  # no examples: it has learnt from its own
    with pytest.raises(SystemExit):
        command.main(words)
    assert "exists" in capsys.readouterr().err


def test_a_margin_makes_small_savings_not_worth_it():
    situation = make_situations(1, "g")[0]
    fetched = situation.observation.state.incoming_rows
    small = with_margin(situation, (situation.saved_rows + 1) / fetched)
    assert not small.replace
    assert with_margin(situation, 0) == situation


def test_peft_is_named_with_its_extra(monkeypatch):
    def absent(module, **extra):
        raise MissingExtraError(module, extra["extra"], extra["purpose"])

    monkeypatch.setattr(tuning, "require_package", absent)
    with pytest.raises(MissingExtraError, match=r"gnnflow\[llm\]"):
        make_tuner()


def test_an_existing_folder_is_left_alone(tmp_path):
    pytest.importorskip("peft")
    with pytest.raises(DataError, match="exists"):
        make_tuner().save(tmp_path, "base", [], {})
