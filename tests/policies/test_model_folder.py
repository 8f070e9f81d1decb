import builtins
import contextlib
import json
import shutil
import warnings

import pytest

pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

import huggingface_hub  # noqa: E402
import transformers  # noqa: E402
from huggingface_hub import constants  # noqa: E402
from tiny_model import save_tiny  # noqa: E402
from transformers import dynamic_module_utils, modeling_utils  # noqa: E402

from gnnflow.errors import ConfigError  # noqa: E402
from gnnflow.policies import PolicyError  # noqa: E402
from gnnflow.policies.llm import prompt  # noqa: E402
from gnnflow.policies.llm.model import language_model  # noqa: E402
from gnnflow.policies.llm.model.adapter import read_adapter  # noqa: E402
from gnnflow.policies.llm.model.language_model import LanguageModel  # noqa: E402
from gnnflow.policies.llm.model.model_files import sealed  # noqa: E402
from gnnflow.policies.llm.model.model_folder import fetch_model, load_tokenizer  # noqa: E402
from gnnflow.policies.llm.prompt import time_limit  # noqa: E402

CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
class Config: pass
class Model: pass
"""
MAP = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model", "AutoTokenizer": "own.T"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("whole") / "tiny")


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A copy of a tiny model; whoever asks the hub or the terminal fails the test."""
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("asked on the terminal"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return shutil.copytree(whole, tmp_path / "tiny")


def change(folder, file="config.json", **values):
    path = folder / file
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | values))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "strange", "auto_map": MAP}),
        ("config.json", {"model_type": "vit", "auto_map": MAP}),
    ],
)
def test_code_in_a_folder_is_never_run(folder, file, values):
    (folder / "own.py").write_text(CODE)
    change(folder, file, **values)
    with pytest.raises(PolicyError, match=r"tiny brings code of its own \('auto_map'\), which"):
        LanguageModel.load(str(folder))
    assert not (folder / "ran").exists()


def test_code_of_a_tokenizer_is_never_run(folder):
    (folder / "own.py").write_text(CODE)
    state = {"model_type": "gpt_neox", "num_hidden_layers": 1}  # a type without a tokenizer
    change(folder, **state)
    change(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "own.T"]})
    with contextlib.suppress(PolicyError):
        load_tokenizer(folder)
    assert not (folder / "ran").exists()


def test_code_that_is_not_needed_is_left_alone(folder):
    (folder / "own.py").write_text(CODE)
    change(folder, auto_map=MAP)
    LanguageModel.load(str(folder))
    assert not (folder / "ran").exists()


def test_kernels_are_not_the_choice_of_a_file(folder, monkeypatch):
    name = "kernels-community/flash-attn2"
    monkeypatch.setattr(
        modeling_utils, "lazy_import_flash_attention", lambda *_, **__: pytest.fail("loads kernels")
    )
    change(folder, _attn_implementation=name, attn_implementation=name,
           _experts_implementation="sonicmoe")  # fmt: skip
    model = LanguageModel.load(str(folder))
    assert model.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}},
         r"is quantized \('quantization_config'\), which gnnflow does not load; take the model"),
        ("config.json", {"text_config": {"quantization_config": {"quant_method": "awq"}}},
         "is quantized"),
        ("config.json", {"transformers_weights": "../other.safetensors"}, "must not be set"),
        ("config.json", {"model_type": ["llama"]}, r"a model of type \['llama'\], which transform"),
        ("config.json", {"model_type": "vit"}, "of type 'vit', which does not write text"),
        ("config.json", {"num_hidden_layers": 3}, "lacks 9 of its weights, as model.layers.2"),
        ("tokenizer_config.json", {"tokenizer_class": "AutoModelForCausalLM"},
         "'tokenizer_class' of .*tokenizer_config.json is no tokenizer: 'AutoModelForCausalLM'"),
        ("config.json", {"tokenizer_class": "RagTokenizer"}, "config.json is no tokenizer"),
        ("tokenizer_config.json", {"tokenizer_class": 3}, "is no tokenizer: 3"),
    ],
)  # fmt: skip
def test_what_a_folder_may_not_ask_for(folder, file, values, message):
    change(folder, file, **values)
    with pytest.raises(PolicyError, match=message) as caught:
        LanguageModel.load(str(folder))
    assert "\n" not in str(caught.value)


def test_weights_that_are_pickles_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PolicyError, match="holds no weights as safetensors; those in other files"):
        LanguageModel.load(str(folder))


@pytest.mark.parametrize("name", ["../model.safetensors", "model.bin", "none.safetensors", 3])
def test_lists_of_weights_name_files_beside_them(folder, name):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.bin").touch()
    change(folder, "model.safetensors.index.json", weight_map={"lm_head.weight": name})
    with pytest.raises(PolicyError, match="which is no file beside it"):
        LanguageModel.load(str(folder))


def test_a_chat_template_has_limits(folder, monkeypatch):
    (folder / "chat_template.jinja").write_text("x" * (1 << 18) + "x")
    with pytest.raises(PolicyError, match="has 262145 characters, at most 262144"):
        LanguageModel.load(str(folder))
    monkeypatch.setattr(language_model, "_TEMPLATE_LIMIT_S", 0.1)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    for template, message in ((loop, "it takes longer than 0.1 s"), ("{{ 1 / 0 }}", "division")):
        (folder / "chat_template.jinja").write_text(template)
        model = LanguageModel.load(str(folder))
        with pytest.raises(PolicyError, match=f"chat template cannot be filled: {message}"):
            model.split([])


def test_a_prompt_template_has_a_limit_of_time(tmp_path, monkeypatch):
    monkeypatch.setattr(prompt, "_LIMIT_S", 0.1)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    file = tmp_path / "prompt.jinja"
    blocks = ("instructions", "question")
    file.write_text("".join(f"{{% block {name} %}}{loop}{{% endblock %}}" for name in blocks))
    with pytest.raises(ConfigError, match="cannot be filled: it takes longer than 0.1 s"):
        prompt.Prompt.load(file, explain=False).messages([])


def test_a_limit_of_time_is_gone_afterwards():
    with pytest.raises(TimeoutError, match="a loop takes longer than 0 s"), time_limit(0, "a loop"):
        sorted([1, 2], key=lambda value: value)
    with time_limit(60, "nothing"):
        pass
    sorted([1, 2], key=lambda value: value)


@pytest.fixture(scope="module")
def whole_adapter(whole, tmp_path_factory):
    place = tmp_path_factory.mktemp("whole") / "adapter"
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what transformers renames
        peft.get_peft_model(LanguageModel.load(str(whole)).model, config).save_pretrained(place)
    return place


@pytest.fixture
def adapter(whole_adapter, folder, tmp_path):
    place = shutil.copytree(whole_adapter, tmp_path / "adapter")
    change(place, "adapter_config.json", base_model_name_or_path=str(folder))
    return place


def test_a_plain_adapter_loads(adapter):
    change(adapter, "adapter_config.json", alpha_pattern={"model.layers.0.self_attn.q_proj": 3},
           layers_to_transform=[0, 1], use_rslora=True)  # fmt: skip
    LanguageModel.load(str(adapter))
    settings = read_adapter(adapter).settings
    assert settings["target_modules"] == ["q_proj"] and settings["use_rslora"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target_modules": "(a+)+(a+)+q_proj"}, "'target_modules' of .* is .* does not apply"),
        ({"target_modules": ["(a+)+b"]}, "'target_modules' of"),
        ({"exclude_modules": "(a+)+b"}, "'exclude_modules' of"),
        ({"modules_to_save": ["(a+)+b"]}, "'modules_to_save' of"),
        ({"layers_to_transform": [0], "layers_pattern": "(.*a)*b"}, "'layers_pattern' of"),
        ({"rank_pattern": {"(a+)+b": 4}}, "'rank_pattern' of"),
        ({"alpha_pattern": {"q_proj": "4"}}, "'alpha_pattern' of"),
        ({"r": 10**9}, "'r' of"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "'megatron_co"),
        ({"init_lora_weights": "pissa"}, "'init_lora_weights' of"),
        ({"corda_config": {"cache_file": "/etc/passwd"}}, "'corda_config' of"),
        ({"peft_type": "XLORA", "adapters": {"0": "strange/adapter"}}, "is of the kind 'XLORA'"),
        ({"base_model_name_or_path": None}, "does not name the model that it belongs to"),
    ],
)
def test_adapters_are_numbers_and_names(adapter, values, message):
    change(adapter, "adapter_config.json", **values)
    with pytest.raises(PolicyError, match=message):
        LanguageModel.load(str(adapter))


def test_adapters_in_pickles_are_refused(adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(PolicyError, match="holds no adapter_model.safetensors; adapters in other"):
        LanguageModel.load(str(adapter))


@pytest.mark.parametrize("base", ["strange/model", "adapter"])
def test_the_base_of_an_adapter_is_not_fetched(adapter, base, monkeypatch):
    asked = []

    def snapshot(name, *, local_files_only, **_):
        asked.append((name, local_files_only))
        raise huggingface_hub.errors.LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    message = f"belongs to the model {base}, which is not on this machine; gnnflow fetches nothing"
    if base == "adapter":  # an adapter of an adapter
        base, message = str(adapter), "holds an adapter, where a whole model is needed"
    change(adapter, "adapter_config.json", base_model_name_or_path=base)
    with pytest.raises(PolicyError, match=message):
        LanguageModel.load(str(adapter))
    assert asked == [("strange/model", True)] * (base == "strange/model")


def test_a_model_of_the_hub_comes_without_code(folder, monkeypatch):
    asked = {}

    def snapshot(name, *, allow_patterns, ignore_patterns, local_files_only):
        asked[name] = allow_patterns, local_files_only
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert fetch_model("some/model") == folder
    patterns, local_only = asked["some/model"]
    assert not local_only
    assert not any(pattern.endswith((".py", ".bin", ".pt", "*")) for pattern in patterns)


def test_while_a_model_loads_nothing_is_fetched():
    before = constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE
    with sealed():
        assert huggingface_hub.is_offline_mode()
        with pytest.raises(ValueError, match="trust_remote_code"):
            transformers.dynamic_module_utils.resolve_trust_remote_code(None, "x", False, True)
    assert before == (constants.HF_HUB_OFFLINE, dynamic_module_utils.TIME_OUT_REMOTE_CODE)


def test_what_lies_beside_a_gguf_file_is_not_read(folder, tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    seen = []

    def stop(where, **options):
        seen.append(([path.name for path in where.iterdir()], options))
        raise ValueError("seen")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", stop)
    (folder / "strange.gguf").write_bytes(b"GGUF")
    with pytest.raises(PolicyError, match="cannot convert .*strange.gguf: seen"):
        fetch_model(str(folder / "strange.gguf"))
    ((files, options),) = seen
    assert files == ["model.gguf"]
    assert options["trust_remote_code"] is False and options["local_files_only"] is True
