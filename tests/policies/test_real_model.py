"""With the small model that `gnnflow-policy get-model` brings, where it is there already."""

import pytest
import torch

pytest.importorskip("transformers")

from made_up import make_observation  # noqa: E402

from gnnflow.policies.labelled_situations import shipped_situations  # noqa: E402
from gnnflow.policies.llm.model.language_model import LanguageModel  # noqa: E402
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, models_dir  # noqa: E402
from gnnflow.policies.llm.prompt import Prompt  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (models_dir() / SMALL_MODEL / "gnnflow.json").is_file(),
    reason="the small model is not there; gnnflow-policy get-model brings it",
)


def test_the_kept_start_gives_the_logits_of_the_whole_prompt():
    model = LanguageModel.load(SMALL_MODEL)
    prompt = Prompt.load(None, explain=False)
    prefix = model.encode_prefix(prompt.messages(shipped_situations("examples")[:1]))
    text = prompt.question(make_observation()) + prefix.tail
    scores = model.score(prefix, [text], ["yes", "no"])[0]
    whole = torch.tensor([prefix.token_ids + model.tokens(text)])
    with torch.inference_mode():
        logits = model.model(whole, logits_to_keep=1).logits[0, -1]
    expected = torch.log_softmax(logits[model.first_tokens(["yes", "no"])].float(), 0)
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)
