"""gnnflow-doctor: what it finds on this machine, what it says of others, how it ends."""

import json
import sys
from functools import partial

import pytest

from gnnflow.cli import doctor as command
from gnnflow.doctor import Links, check_links, check_machine, links_of_started_ranks
from gnnflow.doctor import links as rank_checks
from gnnflow.doctor import machine as machine_checks
from gnnflow.errors import CommError


@pytest.fixture
def call(call_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return partial(call_command, "gnnflow-doctor", command.main)


def states(findings):
    return {finding.name: finding.state for finding in findings}


def advice(findings, name):
    return next(finding.advice for finding in findings if finding.name == name)


def test_this_machine(call):
    """Kernels, torch and two ranks work where the tests run."""
    code, out, err = call("--json", "--ranks", "2")
    assert (code, err) == (0, "")
    findings = {finding["name"]: finding for finding in json.loads(out)}
    for name in ("kernels", "torch", "mpiexec", "ranks", "MPI", "link inside the machine"):
        assert findings[name]["state"] != "problem"
    assert findings["ranks"]["value"] == "2 on 1 machine, mpiexec"
    assert "/s, " in findings["link inside the machine"]["value"]


def test_a_launcher_that_does_not_work(call, monkeypatch, tmp_path):
    mpiexec = tmp_path / "mpiexec"
    mpiexec.write_text("#!/bin/sh\necho 'no such fabric' >&2\nexit 3\n")
    mpiexec.chmod(0o755)
    monkeypatch.setattr(rank_checks, "find_mpiexec", lambda: mpiexec)
    code, out, err = call()
    assert (code, err) == (1, "")
    assert "they do not start: no such fabric" in out and "gnnflow[mpich]" in out


def test_no_launcher(monkeypatch):
    def missing():
        raise CommError("no mpiexec here")

    monkeypatch.setattr(rank_checks, "find_mpiexec", missing)
    links, findings = links_of_started_ranks(2)
    assert links is None and states(findings) == {"mpiexec": "problem"}


def test_ranks_that_hang(monkeypatch, tmp_path):
    mpiexec = tmp_path / "mpiexec"
    mpiexec.write_text('#!/bin/sh\n[ "$1" = --version ] || exec sleep 60\n')
    mpiexec.chmod(0o755)
    monkeypatch.setattr(rank_checks, "find_mpiexec", lambda: mpiexec)
    monkeypatch.setattr(rank_checks, "_LIMIT_S", 0.2)
    links, findings = links_of_started_ranks(3)
    assert links is None and "no answer within 0.2 s" in findings[-1].value


def test_bad_options(call):
    assert call("--ranks", "0")[0] == 2


def test_slow_links_are_noted():
    links = Links(
        library="MPICH 5",
        thread_level="MULTIPLE",
        hosts=["a", "a", "b"],
        latency_s=[2e-6, 3e-3],
        bytes_per_s=[5e9, 1e7],
    )
    findings = check_links(links)
    assert states(findings) == {
        "ranks": "ok",
        "MPI": "ok",
        "link inside the machine": "ok",
        "link between machines": "note",
    }
    said = advice(findings, "link between machines")
    assert "--wire-dtype bfloat16" in said and "more than a millisecond" in said


def test_a_thread_level_that_is_not_enough():
    links = Links(library="MPI", thread_level="FUNNELED", hosts=["a"], latency_s=[], bytes_per_s=[])
    assert states(check_links(links)) == {"ranks": "ok", "MPI": "problem"}


def test_settings_that_slow_a_job_down():
    settings = {"OMP_NUM_THREADS": "64", "OMP_WAIT_POLICY": "active"}
    findings = check_machine(1000, settings)
    noted = [name for name, state in states(findings).items() if state == "note"]
    assert {"cores", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"} <= set(noted)
    calm = states(check_machine(1, {}))
    assert calm["OMP_NUM_THREADS"] == calm["OMP_WAIT_POLICY"] == calm["cores"] == "ok"


def test_little_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_checks, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(machine_checks, "_LITTLE_SHARED_MEMORY", 1 << 60)
    assert "--shm-size" in advice(check_machine(1), "shared memory")
    monkeypatch.setattr(machine_checks, "_SHARED_MEMORY", tmp_path / "none")
    assert "--transport alltoall" in advice(check_machine(1), "shared memory")


def test_missing_packages_and_kernels(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "gnnflow._kernels", None)
    findings = {finding.name: finding for finding in check_machine(1)}
    assert "not: parquet" in findings["extras"].value
    assert findings["kernels"].state == "problem"
