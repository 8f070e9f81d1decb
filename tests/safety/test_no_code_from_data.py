"""No data can run code: what could let it is looked for in every file of the repository.

Names of functions are compared as they stand in the source, with what imports call them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("gnnflow", "partition", "benchmarks", "examples", "deploy", "requirements", "tests")

UNPICKLING = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
"""Modules whose use is to read objects."""

FORBIDDEN = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "execfile"), "runs text as code"),
    **dict.fromkeys(("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"),
                    "yaml.safe_load reads data"),
    **dict.fromkeys(("yaml.dump", "yaml.dump_all"), "yaml.safe_dump writes data"),
    **dict.fromkeys(("torch.save", "torch.jit.load", "torch.hub.load", "torch.package.load"),
                    "safetensors and JSON hold what is kept"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "commands.getoutput"),
                    "subprocess.run takes a list of words"),
    **dict.fromkeys(("pandas.read_pickle", "pd.read_pickle", "np.lib.npyio.load"), "unpickles"),
    **dict.fromkeys(("jinja2.Template", "tempfile.mktemp"), "unsafe with what others write"),
}  # fmt: skip
"""Calls that no file needs, and what to do instead."""

PICKLING_BY_MPI = {"send", "recv", "isend", "irecv", "ssend", "bsend", "sendrecv", "bcast",
                   "gather", "scatter", "allgather", "allreduce", "alltoall", "reduce", "scan",
                   "exscan"}  # fmt: skip
"""Methods of an MPI communicator that pickle what they are given."""

ALLOWED = {
    ("tests/examples/test_examples.py", "exec"): "runs the notebook of the repository",
    ("tests/examples/test_examples.py", "compile"): "the same",
    ("tests/docs/test_commands.py", "compile"): "compiles the programs of the pages",
    ("tests/docs/test_commands.py", "exec"): "runs the programs of the pages",
    ("tests/datasets/test_peer_folders.py", "torch.save"): "traps, and what PyG writes",
    ("tests/partition/test_damage.py", "np.save"): "a trap",
    ("tests/fuzz/choices.py", "np.save"): "a trap",
    ("tests/fuzz/test_targets.py", "os.system"): "what the fuzzer must notice",
}
"""Places that run code of the repository itself."""


def sources() -> list[Path]:
    found = [ROOT / "setup.py"]
    for folder in FOLDERS:
        found += sorted((ROOT / folder).rglob("*.py"))
    return [path for path in found if not path.is_relative_to(ROOT / "gnnflow" / "partition")]


def dotted(node: ast.expr) -> str:
    """The name of what is called: `np.load`, `comm.Send`, `x().load` as `?.load`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def constants(call: ast.Call) -> dict[str, object]:
    return {
        keyword.arg: keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
        for keyword in call.keywords
        if keyword.arg is not None
    }


def problems_of_call(call: ast.Call, place: str, uses_mpi: bool) -> Iterator[tuple[str, str]]:
    """Names of what is called, and what is wrong with it."""
    name, given = dotted(call.func), constants(call)
    last = name.rpartition(".")[2]
    if name in FORBIDDEN:
        yield name, FORBIDDEN[name]
    if given.get("allow_pickle", False) is not False:
        yield name, "allow_pickle must be False"
    is_default = name in ("np.load", "numpy.load") and "allow_pickle" not in given
    if is_default and not place.startswith("tests/"):
        yield name, "say allow_pickle=False"
    if name == "torch.load" and given.get("weights_only") is not True:
        yield name, "say weights_only=True"
    if given.get("shell", False) is not False:
        yield name, "a shell reads words as commands"
    if given.get("trust_remote_code", False) is not False:
        yield name, "runs what a model brings along"
    if last == "extractall" and given.get("filter") != "data":
        yield name, "say filter='data', or files land outside"
    if name == "skops.load" and not isinstance(
        next((each.value for each in call.keywords if each.arg == "trusted"), None), ast.Call
    ):
        yield name, "trusts a list that is written here"
    if uses_mpi and last in PICKLING_BY_MPI and "comm" in name.lower():
        yield name, "mpi4py pickles; the upper-case method sends buffers"


def problems(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    place = str(path.relative_to(ROOT))
    found: list[tuple[int, str, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            own = node.module if isinstance(node, ast.ImportFrom) else None
            for module in [own] if own else [alias.name for alias in node.names]:
                if module.partition(".")[0] in UNPICKLING:
                    found.append((node.lineno, module, "unpickling runs code"))
        elif isinstance(node, ast.Call):
            for name, why in problems_of_call(node, place, "mpi4py" in text):
                found.append((node.lineno, name, why))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = (*node.args.posonlyargs, *node.args.args)
            pairs = [
                *zip(reversed(every), reversed(node.args.defaults), strict=False),
                *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
            ]
            for argument, default in pairs:
                is_true = isinstance(default, ast.Constant) and default.value is True
                if is_true and argument.arg in ("trust_remote_code", "allow_pickle", "shell"):
                    found.append((node.lineno, argument.arg, "must be asked for"))
    return [
        f"{place}:{line}: {name}: {why}"
        for line, name, why in found
        if (place, name) not in ALLOWED
    ]


def test_nothing_runs_code_from_data() -> None:
    checked = sources()
    assert len(checked) > 200
    assert [problem for path in checked for problem in problems(path)] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import pickle", "pickle"),
        ("from joblib import load", "joblib"),
        ("np.load(file)", "np.load"),
        ("np.load(file, allow_pickle=wanted)", "np.load"),
        ("np.savez(file, allow_pickle=True)", "np.savez"),
        ("torch.load(file)", "torch.load"),
        ("torch.load(file, weights_only=False)", "torch.load"),
        ("torch.save(state, file)", "torch.save"),
        ("eval(text)", "eval"),
        ("exec(text, {})", "exec"),
        ("yaml.load(text, yaml.Loader)", "yaml.load"),
        ("subprocess.run(words, shell=True)", "subprocess.run"),
        ("AutoModel.from_pretrained(name, trust_remote_code=True)", "AutoModel.from_pretrained"),
        ("def load(name, trust_remote_code=True): ...", "trust_remote_code"),
        ("archive.extractall(folder)", "archive.extractall"),
        ("import mpi4py\nself._comm.bcast(values)", "self._comm.bcast"),
    ],
)
def test_each_of_these_would_be_found(
    text: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "file.py").write_text(text)
    [problem] = problems(tmp_path / "file.py")
    assert f": {named}: " in problem


@pytest.mark.parametrize(
    "text",
    [
        "np.load(file, allow_pickle=False)",
        "model.eval()",
        "yaml.safe_load(text)",
        "torch.load(file, weights_only=True)",
        "import mpi4py\nself._comm.Allgather(own, everyone)",
        "re.compile(text)",
    ],
)
def test_these_are_fine(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "file.py").write_text(text)
    assert problems(tmp_path / "file.py") == []
