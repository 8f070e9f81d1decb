"""What a folder or file of gnnflow holds, in a few lines."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnflow.errors import DataError, one_line
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import read_regular
from gnnflow.partition import read_manifest
from gnnflow.partition.manifest import MANIFEST_FILE
from gnnflow.replay.trace import Trace, read_trace, read_traces
from gnnflow.report.figures import option_groups, over_optimum, wait_share
from gnnflow.report.run_record import read_run
from gnnflow.report.summary_file import SUMMARY_FILE
from gnnflow.units import human_bytes

CHECKPOINT_FILE = "checkpoint.json"

Facts = Mapping[str, Any]

_MAX_INSIDE = 1000
_SIGNS = (
    (MANIFEST_FILE, "partition"),
    (SUMMARY_FILE, "run"),
    (CHECKPOINT_FILE, "checkpoint"),
    (f"*/{CHECKPOINT_FILE}", "checkpoints"),
    ("trace-rank*.npz", "traces"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What is at a path."""

    kind: str
    """`partition`, `run`, `trace` or `checkpoint`; `folder` of what holds some of these."""
    path: Path
    """Where."""
    facts: Facts
    """Names and values, in the order to show them; values are numbers, text, or lists of them."""
    columns: tuple[str, ...] = ()
    """Heading of a table of parts or ranks, if there is one."""
    rows: tuple[tuple[int, ...], ...] = ()
    """Its rows."""


def describe(path: Path) -> Description:
    """Finds out what is at a path and describes it.

    Raises:
        DataError: If there is nothing, or nothing of gnnflow's.
        GnnflowError: If what is there is damaged.
    """
    makers: list[tuple[bool, Callable[[Path], Description]]] = [
        ((path / MANIFEST_FILE).is_file(), _partition),
        ((path / SUMMARY_FILE).is_file(), _run),
        ((path / CHECKPOINT_FILE).is_file(), _checkpoint),
        (any(path.glob("trace-rank*.npz")), _traces),
        (path.suffix == ".npz" and path.is_file(), _one_trace),
        (any(path.glob(f"*/{CHECKPOINT_FILE}")), _newest_checkpoint),
    ]
    for fits, make in makers:
        if fits:
            return make(path)
    if inside := _inside(path):
        return Description(kind="folder", path=path, facts=inside)
    reason = "holds none of them" if path.exists() else "does not exist"
    raise DataError(
        f"{path} {reason}; give a partition folder, the folder of a finished run, a trace or a "
        "checkpoint"
    )


def _inside(path: Path) -> Facts:
    """What the folders in a folder are, by name; those that are nothing of gnnflow's are left out.

    Nothing is read: a look at the files says it.
    """
    found: dict[str, Any] = {}
    for each in sorted(path.iterdir())[:_MAX_INSIDE] if path.is_dir() else ():
        for sign, kind in _SIGNS:
            if any(each.glob(sign)):
                found[each.name] = kind
                break
    return found


def _partition(path: Path) -> Description:
    manifest = read_manifest(path)
    num_bytes = sum(file.size_bytes for part in manifest.parts for file in part.files.values())
    facts: dict[str, Any] = {
        "graph": manifest.name,
        "source": manifest.source,
        "vertices": manifest.num_vertices,
        "edges": manifest.num_edges,
        "classes": manifest.num_classes,
        "parts": manifest.num_parts,
        "method": manifest.method,
        "edge cut": round(manifest.edge_cut, 4),
        "undirected": manifest.undirected,
        "halo hops": manifest.halo_hops,
        "arrays": [
            f"{name} {array.dtype}{list(array.row_shape)}"
            for name, array in manifest.arrays.items()
        ],
        "edge weights": list(manifest.edge_weights),
        "size": human_bytes(num_bytes),
    }
    if stored := _stored_first_hops(path):
        facts["stored first hop"] = stored
    facts |= {f"balance of {name}": round(value, 3) for name, value in manifest.balance.items()}
    rows = [
        (
            *(number, part.num_vertices, part.num_edges, part.num_halo),
            *(part.num_seeds[split] for split in manifest.splits),
        )
        for number, part in enumerate(manifest.parts)
    ]
    columns = ("part", "vertices", "in-edges", "halo", *manifest.splits)
    return Description(kind="partition", path=path, facts=facts, columns=columns, rows=tuple(rows))


def _stored_first_hops(parts: Path) -> str:
    """What `gnnflow-train --first-hop stored` has left beside a partition, and its size."""
    files = sorted(parts.glob("part-*/first_hop_*.npy"))
    kinds = {file.stem.removeprefix("first_hop_") for file in files}
    num_bytes = sum(file.stat().st_size for file in files)
    return f"{', '.join(sorted(kinds))}, {human_bytes(num_bytes)}" if kinds else ""


def _run(path: Path) -> Description:
    record = read_run(path)
    summary = record.summary
    facts: dict[str, Any] = {
        "graph": summary["graph"],
        "model": summary["model"],
        "ranks": record.num_ranks,
        "epochs": len(summary["epochs"]),
        "minibatches of a rank": record.num_steps,
    }
    for name in ("train_accuracy", "val_accuracy", "test_accuracy", "epoch_time_s", "hit_rate"):
        if summary.get(name) is not None:
            facts[name.replace("_", " ")] = round(summary[name], 4)
    facts |= {
        "rows fetched": summary["volume_rows"],
        "rows without a cache": summary["rows_without_cache"],
        "bytes fetched": human_bytes(summary["volume_bytes"]),
        "waiting, slowest rank": f"{wait_share(record):.1%}",
        "peak memory of a rank": human_bytes(summary["peak_memory_bytes"]),
    }
    over = over_optimum(record)
    if over is not None:
        facts["rows over Belady's"] = round(over, 3)
    if record.decisions:
        kinds = Counter(decision.kind for decision in record.decisions)
        facts["decisions"] = [f"{kind} {count}" for kind, count in sorted(kinds.items())]
    options = [option for _, group in option_groups(record.config) for option in group]
    facts["options"] = [f"{name}={value}" for name, value in options if value != "default"]
    return Description(kind="run", path=path, facts=facts)


def _traces(path: Path) -> Description:
    return _describe_traces(path, read_traces(path))


def _one_trace(path: Path) -> Description:
    return _describe_traces(path, [read_trace(path)])


def _describe_traces(path: Path, traces: list[Trace]) -> Description:
    facts = traces[0].facts
    about: dict[str, Any] = {
        "graph": facts.graph,
        "ranks": facts.num_ranks,
        "minibatches of a rank": traces[0].num_minibatches,
        "epochs": int(traces[0].columns["epoch"].max(initial=-1)) + 1,
        "batch size": facts.batch_size,
        "fanout": list(facts.fanout),
        "row": human_bytes(facts.row_bytes),
        "transport": facts.transport,
        "vertex inclusion probabilities": all(trace.vip is not None for trace in traces),
        "settings": [
            f"{name}={value}" for name, value in facts.settings.items() if value is not None
        ],
    }
    rows = [
        (
            *(trace.facts.rank, trace.num_halo, trace.rows_asked),
            *(int(trace.columns[name].sum()) for name in ("num_hits", "num_fill")),
        )
        for trace in traces
    ]
    columns = ("rank", "halo", "rows asked for", "found", "fetched to fill")
    return Description(kind="trace", path=path, facts=about, columns=columns, rows=tuple(rows))


def _newest_checkpoint(path: Path) -> Description:
    """The last one of a folder of checkpoints; their names sort by position."""
    found = sorted(each.parent for each in path.glob(f"*/{CHECKPOINT_FILE}"))
    newest = _checkpoint(found[-1])
    others = {"checkpoints in the folder": len(found)}
    return Description(kind="checkpoint", path=found[-1], facts={**newest.facts, **others})


def _checkpoint(path: Path) -> Description:
    file = path / CHECKPOINT_FILE
    try:
        content = parse_json(read_regular(file))
        position, graph, files = content["position"], content["graph"], content["files"]
        facts: dict[str, Any] = {
            "graph": graph["name"],
            "model": content["model"]["class"],
            "model options": [
                f"{name}={value}" for name, value in (content["model"]["options"] or {}).items()
            ],
            "complete epochs": position["epoch"],
            "steps of the next": position["step"],
            "validation score": None if content["score"] is None else round(content["score"], 4),
            "ranks": content["num_ranks"],
            "size": human_bytes(sum(each["size_bytes"] for each in files.values())),
            "written by": f"gnnflow {content['gnnflow']}",
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} is not that of a checkpoint, or damaged ({one_line(repr(error))})"
        ) from None
    return Description(kind="checkpoint", path=path, facts=facts)
