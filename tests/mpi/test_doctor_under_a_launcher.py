"""gnnflow-doctor where a launcher has started the ranks."""

import json

from ranks import run_ranks


def test_its_ranks_measure():
    ended = run_ranks(2, ["-m", "gnnflow.cli.doctor", "--json"])
    assert (ended.returncode, ended.stderr) == (0, "")
    findings = {finding["name"]: finding for finding in json.loads(ended.stdout)}
    assert findings["ranks"]["value"].startswith("2 on 1 machine, ")
    assert "mpiexec" not in findings
    assert findings["link inside the machine"]["state"] != "problem"
