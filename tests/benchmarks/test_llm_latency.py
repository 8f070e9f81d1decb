import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from benchmarks import llm_latency  # noqa: E402
from benchmarks._harness import Options, Report  # noqa: E402
from gnnflow.policies.llm.model.language_model import LanguageModel  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "policies"))
from tiny_model import make_model, make_tokenizer  # noqa: E402


def test_both_sides_run_with_the_same_model(monkeypatch):
    tokenizer = make_tokenizer()
    model = LanguageModel(make_model(len(tokenizer)), tokenizer)
    monkeypatch.setattr(llm_latency.LanguageModel, "load", lambda name: model)
    monkeypatch.setattr(llm_latency.torch, "set_num_threads", lambda number: None)
    report = Report("test", Options(quick=True, json=None, threads=1))
    llm_latency.compare(Options(quick=True, json=None, threads=1), report)
    assert len(report._rows) == 2
    assert all(row.ours > 0 and row.theirs > 0 for row in report._rows)
