"""Puts pages together and writes them as one file that needs nothing else."""

from collections import Counter
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gnnflow.files.whole_file import write_whole
from gnnflow.optional import require_package
from gnnflow.report import charts, comparison, figures
from gnnflow.report.run_record import RunRecord, read_run

REPORT_FILE = "report.html"

_CHART_TITLES = {
    "hit-rate": "Hit rate",
    "volume": "Rows fetched since the start",
    "loss": "Loss",
    "score": "Score",
}


def write_report(folder: Path, path: Path | None = None) -> Path:
    """Writes the page of a run.

    Args:
        folder: folder of a finished run.
        path: file to write; `report.html` in the folder by default.

    Returns:
        The file.

    Raises:
        DataError: if the folder is not that of a finished run.
        ResourceError: if the file cannot be written.
        MissingExtraError: if jinja2 is not installed.
    """
    render = _renderer()
    record = read_run(folder)
    listed, decisions_said = figures.decision_rows(record)
    drawn = [
        charts.hit_rate_chart(record),
        charts.volume_chart(record),
        charts.loss_chart(record),
        charts.score_chart(record),
    ]
    text = render(
        "run.html.jinja",
        title=f"{record.summary['model']} on {record.summary['graph']}",
        record=record,
        tiles=figures.tiles(record),
        charts={each["id"]: each for each in drawn if each is not None},
        volume_sentence=figures.volume_sentence(record),
        time_groups=figures.time_bars(record),
        decisions=listed,
        decisions_said=decisions_said,
        decision_kinds=Counter(each.kind for each in record.decisions),
        part_groups=figures.part_bars(record.partition) if record.partition else [],
        halo_cells=figures.halo_cells(record.partition) if record.partition else [],
        option_groups=figures.option_groups(record.config),
    )
    return _write(path or folder / REPORT_FILE, text)


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Writes a page that compares runs.

    Args:
        folders: folders of finished runs, two or more.
        path: file to write.

    Returns:
        The file.

    Raises:
        DataError: if a folder is not that of a finished run.
        ResourceError: if the file cannot be written.
        MissingExtraError: if jinja2 is not installed.
    """
    render = _renderer()
    records = [read_run(folder) for folder in folders]
    names = run_names(records, folders)
    text = render(
        "comparison.html.jinja",
        title=f"{len(records)} runs compared",
        records=records,
        names=names,
        rows=comparison.compared_rows(records),
        options=comparison.differing_options(records),
        charts={each["id"]: each for each in comparison.compared_charts(records, names)},
        chart_titles=_CHART_TITLES,
    )
    return _write(path, text)


def run_names(records: Sequence[RunRecord], folders: Sequence[Path]) -> list[str]:
    """Names of runs: those of their folders, or the whole paths where two are the same."""
    names = [record.name for record in records]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _renderer() -> Any:
    jinja2 = require_package("jinja2", extra="report", purpose="report.html")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gnnflow.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    environment.globals["version"] = version("gnnflow")
    environment.globals["asset"] = _asset

    def render(template: str, **values: Any) -> str:
        text: str = environment.get_template(template).render(**values)
        return text

    return render


def _asset(name: str) -> str:
    """Text of a file that the page carries in itself."""
    return resources.files("gnnflow.report").joinpath(name).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> Path:
    write_whole(path, text, "the page")
    return path
