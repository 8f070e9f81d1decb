"""Runs the tests of the kernels on builds with sanitizers: `python tests/kernels/sanitize.py`.

    python tests/kernels/sanitize.py [address] [undefined] [thread] [-- PYTEST_ARGUMENTS]

Each build goes to a folder of its own under `build/`, beside the ordinary one. The tests must not
import torch: its libraries are not instrumented and would fill the report.
"""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = ("address", "undefined", "thread")
# The library to load before Python, and what makes a finding end the run with an error.
RUNTIMES = {
    "address": ("libasan.so", "ASAN_OPTIONS", "detect_leaks=0:abort_on_error=0"),
    "undefined": ("libubsan.so", "UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
    "thread": ("libtsan.so", "TSAN_OPTIONS", "halt_on_error=1:second_deadlock_stack=1"),
}
TESTS = ("tests/kernels", "tests/sampling", "tests/features")
# A child of fork keeps the sanitizer's state but not its thread.
LEFT_OUT = {"thread": ("--deselect", "tests/kernels/test_threads.py::test_a_forked_child")}
INSIDE = "GNNFLOW_SANITIZED_KERNELS"


def build(sanitizer: str) -> Path:
    """Builds instrumented kernels and returns the shared library."""
    folder = ROOT / "build" / f"sanitize-{sanitizer}"
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder / "lib")]
        + ["--build-temp", str(folder / "objects")],
        cwd=ROOT,
        # gcc 12 sees uninitialised values in pybind11 where its own checks confuse it.
        env=os.environ | {"GNNFLOW_SANITIZE": sanitizer, "CFLAGS": "-Wno-maybe-uninitialized"},
        check=True,
    )
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    return folder / "lib" / "gnnflow" / f"_kernels{suffix}"


def run_instrumented(sanitizer: str, library: Path, arguments: list[str]) -> int:
    """Starts this file again with the sanitizer's runtime loaded first."""
    runtime, variable, options = RUNTIMES[sanitizer]
    compiler = os.environ.get("CXX", "g++")
    # The runtime looks for what throws exceptions when it starts, so that comes with it.
    preloaded = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in (runtime, "libstdc++.so")
    ]
    environment = os.environ | {
        "LD_PRELOAD": ":".join(preloaded),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONMALLOC": "malloc",
        INSIDE: str(library),
        variable: f"{options}:{os.environ.get(variable, '')}",
    }
    tests = arguments or list(TESTS)
    command = [sys.executable, __file__, *tests, *LEFT_OUT.get(sanitizer, ())]
    # The thread sanitizer needs its shadow memory where a random layout may put something else.
    if sanitizer == "thread" and shutil.which("setarch"):
        command = ["setarch", os.uname().machine, "--addr-no-randomize", *command]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def run_tests(library: str, arguments: list[str]) -> int:
    """Runs the tests with this build in place of the ordinary one."""
    spec = importlib.util.spec_from_file_location("gnnflow._kernels", library)
    assert spec is not None and spec.loader is not None
    kernels = importlib.util.module_from_spec(spec)
    sys.modules["gnnflow._kernels"] = kernels
    spec.loader.exec_module(kernels)
    import gnnflow

    gnnflow._kernels = kernels
    code = pytest.main(["-q", "--capture=sys", "-p", "no:cacheprovider", *arguments])
    assert sys.modules["gnnflow._kernels"] is kernels
    if "torch" in sys.modules:
        sys.exit("the tests of the kernels must not import torch")
    return int(code)


def main() -> None:
    """Builds and tests with each sanitizer named, or with all of them."""
    if INSIDE in os.environ:
        sys.exit(run_tests(os.environ[INSIDE], sys.argv[1:]))
    given = sys.argv[1:]
    split = given.index("--") if "--" in given else len(given)
    names, arguments = given[:split] or list(SANITIZERS), given[split + 1 :]
    unknown = [name for name in names if name not in SANITIZERS]
    if unknown:
        sys.exit(f"unknown sanitizer {unknown[0]!r}; known are {', '.join(SANITIZERS)}")
    for name in names:
        print(f"== {name} sanitizer", flush=True)
        code = run_instrumented(name, build(name), arguments)
        if code != 0:
            sys.exit(f"{name} sanitizer: the tests ended with code {code}")


if __name__ == "__main__":
    main()
