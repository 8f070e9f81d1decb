"""The pages as text, and the command that writes them."""

import json
import re
import stat
import sys
from functools import partial
from pathlib import Path

import pytest
from made_run import decision_line, make_parts, make_run

from gnnflow.cli import report as command
from gnnflow.errors import MissingExtraError
from gnnflow.report import write_report


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return make_parts(tmp_path_factory.mktemp("pages") / "parts")


@pytest.fixture
def call(call_command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return partial(call_command, "gnnflow-report", command.main)


def charts_of(page):
    text = re.search(r'id="chart-data">(.*?)</script>', page, re.DOTALL)[1]
    return json.loads(text)


def test_the_page_of_a_run(call, parts, tmp_path):
    folder = make_run(tmp_path / "run", parts)
    code, out, err = call(folder)
    assert (code, err) == (0, "") and out.strip() == str(folder / "report.html")
    page = (folder / "report.html").read_text()
    assert len(page) < 200_000
    for text in (
        "0.8000",
        "25.0%",
        "−25 % against no cache",
        "1.15 ×",
        "2 replaced, 2 kept",
        "Decisions of auto",
        "the better choice in 75% (always no in 90%, always yes in 10%, one threshold in 95%; ",
    ):
        assert text in page
    assert "1,500 rows crossed between ranks of 2,000 that were needed (−25 %)." in page
    assert "<b>replacing</b>" not in page and "&lt;b&gt;replacing" in page
    charts = charts_of(page)
    assert charts.keys() == {"hit-rate", "volume", "loss", "score"}
    assert [series["name"] for series in charts["hit-rate"]["series"]] == [
        "all ranks",
        "rank 0",
        "rank 1",
    ]
    assert len(charts["hit-rate"]["marks"]) == 6
    assert {mark["y"] for mark in charts["hit-rate"]["marks"]} == {0.25}
    assert [series["values"][-1] for series in charts["volume"]["series"]] == [2000, 1500, 1300]
    assert charts["loss"]["epochs"] == [5]


def test_nothing_but_the_least(call, parts, tmp_path):
    """One rank, one epoch, no remote rows, no scores, no partition."""
    folder = make_run(
        tmp_path / "run", tmp_path / "gone", num_ranks=1, num_epochs=1, decisions=False
    )
    summary = json.loads((folder / "summary.json").read_text())
    for record in (summary, *summary["epochs"]):
        nothing = {"hit_rate": None, "volume_rows": 0, "rows_without_cache": 0}
        record |= nothing | dict.fromkeys(("train_accuracy", "val_accuracy", "test_accuracy"))
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line |= {"rows_remote": 0, "rows_asked": 0, "rows_cached": 0, "rows_fetched": 0}
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert call(folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert charts_of(page).keys() == {"loss"}
    assert "is not there any more" in page and "Halo cache" not in page


def test_runs_compared(call, parts, tmp_path):
    folders = [
        make_run(tmp_path / "first", parts, hit=0.25, accuracy=0.8),
        make_run(tmp_path / "second", parts, hit=0.5, accuracy=0.7, num_epochs=3),
    ]
    code, out, _ = call(*folders)
    assert code == 0 and out.strip() == "comparison.html"
    page = (tmp_path / "comparison.html").read_text()

    def cells(key):
        row = re.search(rf'<tr data-row="{key}">.*?</tr>', page, re.DOTALL)[0]
        return [
            (text, bool(best))
            for best, text in re.findall(r"<td( class=\"best\")?>(.*?)</td>", row)
        ]

    assert cells("test") == [("0.8000", True), ("0.7000", False)]
    assert cells("hit_rate") == [("25.0%", False), ("50.0%", True)]
    assert cells("epochs") == [("2", False), ("3", False)]
    assert cells("memory") == [("123.0 MB", False), ("123.0 MB", False)]
    assert re.search(r"<th>cache-fraction</th>\s*<td>0.25</td><td>0.5</td>", page)
    assert "<th>fanout</th>" not in page
    volume = charts_of(page)["volume"]["series"]
    assert [series["name"] for series in volume] == ["first", "second"]
    assert volume[0]["values"][9:11] == [1500, None] and volume[1]["values"][-1] == 1500


def test_many_decisions_stay_a_small_page(call, parts, tmp_path):
    folder = make_run(tmp_path / "run", parts, num_epochs=400)
    lines = [json.dumps(decision_line(minibatch, True)) for minibatch in range(2000)]
    (folder / "decisions-rank0.jsonl").write_text("\n".join(lines))
    assert call(folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert len(charts_of(page)["hit-rate"]["marks"]) == 1500
    assert "Listed: 100, replacements first" in page
    assert len(page) < 1_000_000


def test_what_is_refused(call, tmp_path):
    code, _, err = call(tmp_path)
    assert code == 1 and "holds no summary.json" in err and len(err.splitlines()) == 1
    assert call()[0] == 2


def test_a_page_that_cannot_be_written(call, parts, tmp_path):
    folder = make_run(tmp_path / "run", parts)
    code, _, err = call(folder, "--out", tmp_path / "missing" / "page.html")
    assert code == 1 and "cannot write the page" in err and "missing/page.html: No such" in err
    assert call(folder, "--out", "/dev/full")[0] == 1
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode), "a device is written to, not replaced"
    assert not list(tmp_path.rglob("*.part"))


def test_without_jinja2(parts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'pip install "gnnflow\[report\]"'):
        write_report(make_run(tmp_path / "run", parts))


def test_losses_that_are_no_numbers_are_a_gap(call, parts, tmp_path):
    """As null, and as NaN and Infinity, which earlier releases wrote."""
    folder = make_run(tmp_path / "run", parts)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for number, loss in ((6, None), (8, float("nan")), (10, float("inf"))):
        lines[number]["loss"] = loss
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = json.loads((folder / "summary.json").read_text())
    summary["epochs"][-1]["loss"] = float("inf")
    (folder / "summary.json").write_text(json.dumps(summary))
    assert call(folder)[0] == 0
    (series,) = charts_of((folder / "report.html").read_text())["loss"]["series"]
    gaps = [place for place, value in enumerate(series["values"]) if value is None]
    bad = [lines[number] for number in (6, 8, 10)]
    assert gaps == sorted({5 * line["epoch"] + line["step"] for line in bad})
    other = make_run(tmp_path / "other", parts)
    assert call(folder, other, "--out", tmp_path / "both.html")[0] == 0
    summary["epochs"][-1]["loss"] = "much"
    (folder / "summary.json").write_text(json.dumps(summary))
    assert "'loss' must be a number or null" in call(folder)[2]
