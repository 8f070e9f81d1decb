import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from made_up import make_observation  # noqa: E402
from tiny_model import make_model, make_tokenizer, save_tiny  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

from gnnflow.policies import Decision, PolicyError  # noqa: E402
from gnnflow.policies.labelled_situations import Situation  # noqa: E402
from gnnflow.policies.llm.answers import (  # noqa: E402
    Choice,
    FreeText,
    Literal,
    answer_parts,
    parse_answer,
)
from gnnflow.policies.llm.judge import DecisionTask, Judge  # noqa: E402
from gnnflow.policies.llm.llm_policy import LlmPolicy, PromptParts  # noqa: E402
from gnnflow.policies.llm.model.guided_writer import GuidedWriter  # noqa: E402
from gnnflow.policies.llm.model.language_model import LanguageModel  # noqa: E402
from gnnflow.policies.llm.prompt import Prompt  # noqa: E402

MESSAGES = [
    {"role": "system", "content": "You steer a cache. Answer yes or no."},
    {"role": "user", "content": "Hit rate 50%. Replace now?"},
    {"role": "assistant", "content": "yes"},
]
QUESTIONS = ["Hit rate 10%. Replace now?", "Hit rate 90%, volume +3.0%. Replace?", "Replace"]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return LanguageModel(make_model(len(tokenizer)), tokenizer)


def full_logits(model, prefix, text):
    """The plain way: the whole prompt at once, nothing kept."""
    token_ids = prefix.token_ids + model.tokens(text)
    with torch.inference_mode():
        return model.model(torch.tensor([token_ids])).logits[0, -1].float()


def test_kept_prefix_and_batch_give_the_logits_of_the_whole_prompt(model):
    prefix = model.encode_prefix(MESSAGES)
    texts = [question + prefix.tail for question in QUESTIONS]
    scores = model.score(prefix, texts, ["yes", "no"])
    first = model.first_tokens(["yes", "no"])
    for text, score in zip(texts, scores, strict=True):
        logits = full_logits(model, prefix, text)[first]
        torch.testing.assert_close(score, torch.log_softmax(logits, 0), rtol=1e-4, atol=1e-4)
    # The prefix serves again, unchanged, whatever the batch.
    alone = model.score(prefix, texts[1:2], ["yes", "no"])
    torch.testing.assert_close(alone[0], scores[1], rtol=1e-4, atol=1e-4)


def test_the_prompt_is_what_the_chat_template_makes_of_all_messages(model):
    prefix = model.encode_prefix(MESSAGES)
    whole = model.tokenizer.apply_chat_template(
        [*MESSAGES, {"role": "user", "content": QUESTIONS[0]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    pieces = model.tokenizer.decode(prefix.token_ids) + QUESTIONS[0] + prefix.tail
    assert pieces == whole


def test_a_model_of_another_family_without_chat_template():
    tokenizer = make_tokenizer(chat=False)
    torch.manual_seed(1)
    gpt = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=512)
    )
    model = LanguageModel(gpt, tokenizer)
    prefix = model.encode_prefix(MESSAGES)
    assert prefix.answer_lead == " "
    text = QUESTIONS[0] + prefix.tail
    assert text.endswith("Answer:")
    answers = [" yes", " no"]
    expected = full_logits(model, prefix, text)[model.first_tokens(answers)]
    scores = model.score(prefix, [text], answers)[0]
    torch.testing.assert_close(scores, torch.log_softmax(expected, 0), rtol=1e-4, atol=1e-4)


def test_answers_are_compared_in_float32(tokenizer):
    model = LanguageModel(make_model(len(tokenizer), torch.bfloat16), tokenizer)
    prefix = model.encode_prefix(MESSAGES)
    scores = model.score(prefix, [QUESTIONS[0] + prefix.tail], ["yes", "no"])
    assert scores.dtype == torch.float32
    rounded = torch.log_softmax(scores.bfloat16().float(), 1)
    assert not torch.equal(scores, rounded)


def test_answers_that_start_alike_are_refused(model):
    with pytest.raises(PolicyError, match="cannot tell the answers yes, yes! apart"):
        model.first_tokens(["yes", "yes!"])


def test_written_answers_follow_their_parts_and_parse(model):
    prefix = model.encode_prefix(MESSAGES)
    writer = GuidedWriter(model)
    for replace in (True, False):
        text = writer.write(prefix, QUESTIONS[0] + prefix.tail, answer_parts(replace, 12))
        decision = parse_answer(text)
        assert decision.replace is replace
        assert decision.explanation


def test_a_choice_is_the_models_own(model):
    prefix = model.encode_prefix(MESSAGES)
    writer = GuidedWriter(model)
    text = QUESTIONS[0] + prefix.tail
    words = [" hit", " volume", " rate"]
    chosen = writer.write(prefix, text, [Choice(words)])
    scores = model.score(prefix, [text], words)[0]
    assert chosen in words
    # Where the words are one token each, the choice is the best-scored one.
    if all(len(model.tokens(word)) == 1 for word in words):
        assert chosen == words[int(scores.argmax())]


def test_free_text_has_a_limit_and_no_quotes(model):
    prefix = model.encode_prefix(MESSAGES)
    parts = [Literal('{"why": "'), FreeText(5), Literal('"}')]
    text = GuidedWriter(model).write(prefix, QUESTIONS[1] + prefix.tail, parts)
    assert json.loads(text)["why"].isprintable()


def situation(saved, **changes):
    return Situation(
        observation=make_observation(**changes), saved_rows=saved, horizon=8, group="made up"
    )


@pytest.mark.parametrize("explain", [False, True])
def test_a_policy_on_a_judge_in_this_process(model, explain):
    reference = [situation(100.0 - 20 * number, incoming_uses=0.1 * number) for number in range(12)]
    parts = PromptParts(
        prompt=Prompt.load(None, explain=explain), examples=reference[:1], reference=reference[1:]
    )
    policy = LlmPolicy(Judge(model, identity=""), parts)
    assert policy.calibration.num_reference == 11
    decision = policy.decide(make_observation())
    assert decision.replace == (decision.probability > 0.5)
    assert decision.explanation
    assert (decision.expected_volume_change is not None) == explain


def test_calibrations_are_kept_on_disk(model, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path))
    task = DecisionTask(
        messages=MESSAGES,
        explain=False,
        reference_questions=QUESTIONS * 2,
        reference_labels=[True, False, True, False, True, False],
    )
    first = Judge(model, "tiny").prepare(task)
    (file,) = (tmp_path / "calibrations").iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"offset": 7.0}))
    assert Judge(model, "tiny").prepare(task).offset == 7.0
    assert Judge(model, "another").prepare(task) == first
    file.write_text("{ damaged")
    assert Judge(model, "tiny").prepare(task) == first


def test_a_model_whose_numbers_are_broken_says_so(tokenizer):
    broken = make_model(len(tokenizer))
    with torch.no_grad():
        broken.model.norm.weight.fill_(torch.nan)
    judge = Judge(LanguageModel(broken, tokenizer), "")
    with pytest.raises(PolicyError, match="is not a number; is its file damaged"):
        judge.ask(DecisionTask(messages=MESSAGES, explain=False), QUESTIONS[0])


def test_models_load_from_folders_and_faults_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = save_tiny(tmp_path / "tiny")
    model = LanguageModel.load(str(folder), dtype="bfloat16")
    assert model.encode_prefix(MESSAGES).token_ids
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(PolicyError, match="cannot load the language model .*tiny: "):
        LanguageModel.load(str(folder))
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF no more")
    for name, message in [
        (tmp_path / "empty", "holds no model: no config.json"),
        (tmp_path / "none.gguf", "there is no model file"),
        (damaged, "cannot convert .*damaged.gguf"),
        (tmp_path / "none" / "at" / "all", "there is no model "),
        ("smollm2-135m-instruct", "is not there yet: run gnnflow-policy get-model"),
    ]:
        with pytest.raises(PolicyError, match=message):
            LanguageModel.load(str(name))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
GOOD = {
    "replace": True,
    "expected_hit_rate_change": 0.05,
    "expected_volume_change": -0.1,
    "explanation": "stale rows",
}


def test_the_whole_answer_is_read():
    decision = parse_answer(json.dumps(GOOD))
    assert decision == Decision(**GOOD)
    assert parse_answer(f"```json\n{json.dumps(GOOD)}\n```") == decision


@settings(max_examples=100)
@given(st.text(max_size=60) | JSON.map(json.dumps))
def test_nothing_else_is_an_answer(text):
    with pytest.raises(ValueError, match="the answer"):
        parse_answer(text)


@settings(max_examples=100)
@given(st.sampled_from(sorted(GOOD)), JSON)
def test_only_what_fits_of_an_answer_is_taken(name, value):
    text = json.dumps(GOOD | {name: value})
    if name == "replace" and not isinstance(value, bool):
        with pytest.raises(ValueError, match="answer has no 'replace' that is true or false"):
            parse_answer(text)
        return
    fits = isinstance(value, bool if name == "replace" else str)
    if name.startswith("expected"):
        highest = 10 if name == "expected_volume_change" else 1
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        fits = fits and -1 <= value <= highest
    left_out = "" if name == "explanation" else None
    assert getattr(parse_answer(text), name) == (value if fits else left_out)


YES, NO = '{"replace": true}', '{"replace": false}'


@pytest.mark.parametrize(
    "text",
    [
        YES,
        f"yes: {YES} is my answer",
        f"~~~\n{YES}\n~~~",
        f"```json\n{YES}\n```\nand so on {{",
        f"Either {NO} or {YES}.",
        f"<think>\nPerhaps {NO}?\n</think>\n{YES}",
        f"Perhaps {NO}? </think>{YES}",
        f"<Thinking>{NO}</Thinking>{YES}<think>{NO}",
        f"[THINK]{NO}[/THINK]{YES}",
        f'{YES} {{"replace": "I do not know"}}',
        f'{{"decision": {YES}, "confidence": 0.9}}',
        f"[{YES}]",
        '{"replace": "Yes"}',
        '{"replace": " TRUE "}',
        '{"replace": true, "explanation": "<think> or not </think>"}',
        '{"replace": true, "expected_hit_rate_change": NaN, "expected_volume_change": "-5%"}',
        '{"replace": true, "expected_volume_change": 1' + "0" * 400 + "}",
        '{"replace": true, "explanation": ["a", "b"], "more": 1}',
        '{"type": "object", "properties": {"replace": {"type": "boolean"}}} ' + YES,
    ],
)
def test_a_decision_is_found_in_what_models_write(text):
    decision = parse_answer(text)
    assert decision.replace is True
    assert decision.expected_volume_change is None


def test_explanations_can_be_written_down():
    decision = parse_answer(json.dumps({"replace": False, "explanation": "\ud800" + "x" * 5000}))
    assert decision.explanation == "?" + "x" * 999


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD)[:-1],
        json.dumps(GOOD).replace("}", ', "replace": false}'),
        json.dumps(GOOD).replace("true", '"perhaps"'),
        json.dumps(GOOD).replace("true", "1"),
        f"<think>{YES}",
        f"<think>{YES}</think>",
        "[" * 100_000,
        '{"a":' * 100_000,
        "{" * 100_000,
        "replace: true",
        "",
    ],
)
def test_near_misses_are_refused(text):
    with pytest.raises(ValueError, match="answer"):
        parse_answer(text)
