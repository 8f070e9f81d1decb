"""Coverage-guided fuzzing of all that gnnflow reads: `python tests/fuzz/run.py`.

    python tests/fuzz/run.py [--seconds N] [--json FILE] [TARGET ...]

Each target runs in a process of its own under Atheris (`pip install "gnnflow[fuzz]"`), which
changes inputs and keeps those that reach new code. A finding is an input that ends in anything but
success or a one-line `GnnflowError`: another exception, a warning, code run or a file written
because of data, more than 20 s or 4 GiB for one input, a signal. Fuzzing goes on after one; the
first input of each kind is kept in `build/fuzz/TARGET/findings/`, the corpus beside it.
"""

import argparse
import contextlib
import importlib.util
import json
import logging
import mmap
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
NAMES = ("manifest", "partition-arrays", "csv", "parquet", "numpy-files", "dgl-folders",
         "pyg-folders", "yaml", "llm-answers", "http-answers", "situations", "classifiers",
         "checkpoints", "traces", "run-folders")  # fmt: skip
SECONDS_FOR_ONE = 20
MEGABYTES = 4096
ADDRESS_SPACE_BYTES = 16 << 30
LONGEST_INPUT = 16_384


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--child", choices=("fuzz", "cover"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in NAMES]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(NAMES)}")
    if arguments.child == "fuzz":
        _fuzz(arguments.targets[0], arguments.seconds)
    if arguments.child == "cover":
        _cover(arguments.targets[0])
        return 0
    if importlib.util.find_spec("atheris") is None:
        print('fuzzing needs Atheris: pip install "gnnflow[fuzz]"', file=sys.stderr)
        return 2
    rows = []
    for name in arguments.targets or NAMES:
        rows.append(_run(name, arguments.seconds))
        print("{name:17} {inputs:>9,} inputs {findings:>3} findings   lines reached {lines}".format(
            **rows[-1]), flush=True)  # fmt: skip
        for kind in rows[-1]["kinds"]:
            print(f"    {kind}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["findings"] for row in rows))


def _run(name: str, seconds: int) -> dict[str, object]:
    """Fuzzes one target, starting again after whatever ends the process."""
    place = BUILD / name
    (place / "corpus").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place / "findings", ignore_errors=True)
    (place / "findings").mkdir()
    end = time.monotonic() + seconds
    ended: list[str] = []
    tried = 0
    while (left := round(end - time.monotonic())) > 1 and len(ended) < 20:
        with (place / "log").open("w") as log:
            done = subprocess.run(
                [sys.executable, __file__, "--child", "fuzz", "--seconds", str(left), name],
                stdout=log, stderr=subprocess.STDOUT, check=False, cwd=ROOT,
                env=_environment(),
            )  # fmt: skip
        with contextlib.suppress(FileNotFoundError):
            tried += struct.unpack("<q", (place / "tried").read_bytes())[0]
        if done.returncode == 0:
            break
        ended.append(_why(place / "log", done.returncode))
    kinds = [path.read_text().splitlines()[-1] for path in place.glob("findings/*.txt")] + ended
    covered = subprocess.run(
        [sys.executable, __file__, "--child", "cover", name],
        capture_output=True, text=True, check=False, cwd=ROOT, env=_environment(),
    )  # fmt: skip
    lines = covered.stdout.strip().splitlines()[-1:] or [covered.stderr.strip()[-200:]]
    return {
        "name": name,
        "seconds": seconds,
        "inputs": tried,
        "findings": len(kinds),
        "kinds": kinds,
        "lines": lines[0],
    }


def _environment() -> dict[str, str]:
    """With the gnnflow that lies beside the tests, whatever is installed."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def _why(log: Path, code: int) -> str:
    text = log.read_text(errors="replace")
    said = re.findall(r"ERROR: libFuzzer: .*|^\w*Error: .*", text, re.MULTILINE)
    return f"the process ended with {code}: {said[-1] if said else text[-300:]}"


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = BUILD / name
    with atheris.instrument_imports(include=["gnnflow"]):
        from targets import TARGETS
    from target import attempt

    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    target = TARGETS[name](folder)
    for number, seed in enumerate(target.seeds()):
        (place / "corpus" / f"seed-{number:03d}").write_bytes(seed)
        attempt(target, seed)  # what is imported at first use is imported before it counts
    words = place / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    counter = _counter(place / "tried")
    kinds: set[str] = set()

    def try_one(data: bytes) -> None:
        counter[:] = struct.pack("<q", struct.unpack("<q", counter[:])[0] + 1)
        finding = attempt(target, data)
        if finding is None:
            return
        frames = [
            frame for frame in traceback.extract_tb(finding.__traceback__)
            if "/gnnflow/" in frame.filename or "/partition/" in frame.filename
        ]  # fmt: skip
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
        kind = f"{type(finding).__name__}@{where}"
        if kind not in kinds:
            kinds.add(kind)
            path = place / "findings" / re.sub(r"[^\w.@:-]", "_", kind)
            path.with_name(path.name + ".input").write_bytes(data)
            lines = "".join(traceback.format_exception(finding))
            head = " ".join(str(finding).split())[:160]
            path.with_name(path.name + ".txt").write_text(f"{lines}\n{kind}: {head}\n")

    sys.argv[1:] = []
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_FOR_ONE}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={place / 'findings'}/",
        *([f"-dict={words}"] if target.words else []),
        "-print_final_stats=1",
        str(place / "corpus"),
    ]
    atheris.Setup([sys.argv[0], *options], try_one)
    atheris.Fuzz()


def _counter(path: Path) -> mmap.mmap:
    path.write_bytes(bytes(8))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 8)


def _escaped(word: str) -> str:
    return word if "\\" in word else word.replace('"', '\\"')


def _cover(name: str) -> None:
    """Prints what the corpus reaches of the target's modules."""
    import coverage

    logging.disable()
    # Started before gnnflow is imported: lines of a module's own level count as well.
    measured = coverage.Coverage(
        data_file=None, config_file=False, include=[f"{ROOT}/gnnflow/*", f"{ROOT}/partition/*"]
    )
    with measured.collect(), tempfile.TemporaryDirectory() as folder:
        from target import attempt
        from targets import TARGETS

        target = TARGETS[name](Path(folder))
        for path in sorted((BUILD / name / "corpus").iterdir()):
            attempt(target, path.read_bytes())
        target.close()
    files = [
        str(Path(importlib.import_module(module).__file__ or "").resolve())
        for module in TARGETS[name].modules
    ]
    reached = statements = 0
    for file in files:
        _, executable, _, missing, _ = measured.analysis2(file)
        statements += len(executable)
        reached += len(executable) - len(missing)
    print(f"{reached} of {statements}")


if __name__ == "__main__":
    raise SystemExit(main())
