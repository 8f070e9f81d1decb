"""Scripts for clusters: they parse, and what they start runs under a stand-in for srun."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.launch.mpiexec import find_mpiexec, launch_environment
from gnnflow.partition import partition_graph

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "deploy").glob("**/*.sh"))

SRUN = f"""#!/bin/bash
# Stands for srun: drops its options and starts the command on as many ranks, or once per node.
echo "$*" >> "$SRUN_LOG"
ranks=$SLURM_NTASKS
while [[ $1 == --* ]]; do
    [[ $1 == --ntasks-per-node=1 ]] && ranks=once
    shift
done
if [[ $ranks == once ]]; then
    for ((node = 0; node < SLURM_NNODES; node++)); do
        SLURM_NODEID=$node SLURM_NTASKS=$SLURM_NNODES "$@" || exit
    done
    exit
fi
[[ $1 == gnnflow-train ]] || exit 97
shift
exec {find_mpiexec()} -n "$ranks" {sys.executable} -m gnnflow.cli.train "$@"
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of two ranks on one node, in an empty folder."""
    tools = tmp_path / "venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "activate").write_text(f'PATH="{tools}:$PATH"\n')
    (tools / "srun").write_text(SRUN)
    (tools / "srun").chmod(0o755)
    return launch_environment(find_mpiexec()) | {
        "GNNFLOW_VENV": str(tmp_path / "venv"),
        "SRUN_LOG": str(tmp_path / "srun.log"),
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": "2",
    }


def run(script: str, folder: Path, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        ["bash", ROOT / "deploy" / "slurm" / script, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scripts_are_sane() -> None:
    assert len(SCRIPTS) == 3
    for script in SCRIPTS:
        text = script.read_text()
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "\nset -euo pipefail\n" in text
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", script], check=True)
        # Directives after the first command are ignored by sbatch.
        lines = [line for line in text.splitlines()[1:] if line]
        first_command = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        assert not any(line.startswith("#SBATCH") for line in lines[first_command:])
        for line in text.splitlines():
            if re.search(r"\$[A-Za-z{]", line) and not line.lstrip().startswith("#"):
                unquoted = re.sub(r'"[^"]*"|\(\([^)]*\)\)|\[\[.*?\]\]', "", line)
                names = re.findall(r"\$\{?(\w+)", unquoted)
                assert set(names) <= {"SLURM_CPUS_PER_TASK", "1", "2", "LOCAL_PARTS"}, line


def test_cpu_job_with_parts_on_the_node(tmp_path: Path, cluster: dict[str, str]) -> None:
    graph = generate("sbm:vertices=300,edges=2000")
    partition_graph(graph, tmp_path / "parts", PartitionConfig(num_parts=2))
    local = tmp_path / "disk" / "parts"
    environment = cluster | {"LOCAL_PARTS": str(local), "SRUN_MPI": "pmi2"}
    said = run("train-cpu.sh", tmp_path, environment, "parts", "--epochs", "1")
    assert "Test accuracy" in said
    assert (tmp_path / "runs" / "7" / "summary.json").exists()
    assert (local / "manifest.json").read_bytes() == (
        tmp_path / "parts" / "manifest.json"
    ).read_bytes()
    stage, train = (tmp_path / "srun.log").read_text().splitlines()
    assert stage.startswith("--ntasks=1 --ntasks-per-node=1 ")
    assert train.startswith("--mpi=pmi2 --distribution=block --cpu-bind=cores")
    assert f"gnnflow-train {local} --threads 1 --out runs/7 --epochs 1" in train


def test_gpu_job(tmp_path: Path, cluster: dict[str, str]) -> None:
    said = run("train-gpu.sh", tmp_path, cluster, "parts", "--print-config")
    config = yaml.safe_load(said)
    assert (config["device"], config["threads"], config["out"]) == ("cuda", 1, "runs/7")
    assert "--mpi=pmix" in (tmp_path / "srun.log").read_text()


def test_parts_are_staged_by_node(tmp_path: Path) -> None:
    graph = generate("sbm:vertices=300,edges=2000")
    partition_graph(graph, tmp_path / "parts", PartitionConfig(num_parts=4, method="random"))
    for node in range(2):
        local = tmp_path / f"node{node}"
        environment = os.environ | {"SLURM_NODEID": str(node), "RANKS_PER_NODE": "2"}
        for _ in range(2):  # the second time there is nothing to do
            run("stage-parts.sh", tmp_path, environment, "parts", str(local))
        names = sorted(path.name for path in local.iterdir())
        assert names == ["manifest.json", *(f"part-0000{2 * node + i}" for i in range(2))]


def test_a_script_without_parts_says_how_to_use_it(tmp_path: Path, cluster: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", ROOT / "deploy" / "slurm" / "train-cpu.sh"],
        env=cluster,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "usage: sbatch train-cpu.sh PARTS" in done.stderr


def test_images_install_what_the_project_has() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    definition = (ROOT / "deploy" / "gnnflow.def").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    torch = re.search(r"TORCH \?= (\S+)", (ROOT / "Makefile").read_text())
    assert torch is not None
    for recipe in (dockerfile, definition):
        assert f'"{torch[1]}"' in recipe
        assert "GNNFLOW_NATIVE=0" in recipe
        for extra in re.findall(r"(?:EXTRAS=\"|gnnflow\[)([a-z,]+)", recipe)[0].split(","):
            assert f"\n{extra} = [" in project
