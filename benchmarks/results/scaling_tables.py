"""The tables of the scaling benchmark."""

from typing import Any

from benchmarks._harness import over
from benchmarks.results.markdown import table

_GBIT_BYTES = 1e9 / 8


def measured(rows: list[dict[str, Any]], *, grows: bool) -> str:
    """Ranks that ran here, corrected for shared cores.

    Args:
        rows: What `benchmarks.scaling` found, one rank first.
        grows: Whether the graph grows with the ranks (weak scaling).
    """
    lines = []
    for row in rows:
        first = rows[0]
        hidden_s, exposed_s = own_core_s(row)
        ideal_s = first["processor_s"] / (1 if grows else row["ranks"])
        lines.append(
            [
                str(row["ranks"]),
                str(row["steps"]),
                f"{row['clock_s']:.2f}",
                f"{row['processor_s']:.2f}",
                f"{row['received_bytes'] / 1e6:.1f}",
                f"{hidden_s:.2f}",
                f"{exposed_s:.2f}",
                f"{100 * over(ideal_s, hidden_s):.0f} %",
                f"{100 * over(ideal_s, exposed_s):.0f} %",
                f"{over(row['sampled_vertices'], first['sampled_vertices']):.2f}",
            ]
        )
    head = ["ranks", "steps", "clock here, s", "processor of the busiest rank, s"]
    head += ["MB it receives", "own core, traffic hidden, s", "not hidden, s"]
    head += ["efficiency, hidden", "not hidden", "vertices sampled, of one rank's"]
    return table(head, lines)


def own_core_s(row: dict[str, Any]) -> tuple[float, float]:
    """Seconds of an epoch with a core for each rank on 1 Gbit/s, traffic hidden and not hidden."""
    link_s = row["received_bytes"] / _GBIT_BYTES
    return max(row["processor_s"], link_s), row["processor_s"] + link_s


def estimated(rows: list[dict[str, Any]]) -> str:
    """Parts that were cut, and epochs that the model estimates."""
    lines = []
    for row in rows:
        lines.append(
            [
                str(row["parts"]),
                f"{row['partition_s']:.0f}",
                f"{row['partition_peak_bytes'] / 2**30:.1f}",
                f"{row['edge_cut']:.3f}",
                f"{row['halo_over_part']:.1f}",
                str(row["steps"]),
                *(
                    f"{row[name]['epoch_s'][link]:.2f}"
                    for link in ("10gbit", "1gbit")
                    for name in ("lookahead", "static", "none")
                ),
                " / ".join(
                    f"{row[name]['rank_bytes'] / 1e6:.1f}"
                    for name in ("lookahead", "static", "none")
                ),
                f"{row['lookahead']['rank_memory_bytes'] / 2**20:.0f}",
            ]
        )
    head = ["parts", "cutting, processor s", "GiB", "edge cut", "halo of a part", "steps"]
    head += [
        f"{who}, {link}"
        for link in ("10 Gbit/s", "1")
        for who in ("lookahead", "static", "no cache")
    ]
    head += ["MB a rank and epoch: lookahead / static / none", "MiB of a rank"]
    return table(head, lines)


def largest(row: dict[str, Any]) -> str:
    """The largest graph that is cut and trained."""
    facts = [
        ("vertices", f"{row['vertices']:,}"),
        ("edges, both directions", f"{row['edges']:,}"),
        (
            f"generating and cutting into {row['ranks']} parts by `{row['method']}`",
            f"{row['partition_s']:.0f} processor s",
        ),
        ("memory for that", f"{row['partition_peak_bytes'] / 2**30:.1f} GiB"),
        ("edge cut", f"{row['edge_cut']:.3f}"),
        (f"an epoch of {row['train_seeds']:,} train seeds", f"{row['epoch_s']:.1f} s"),
        ("exact evaluation of all vertices", f"{row['evaluation_s']:.0f} s"),
        ("peak memory of a rank", f"{row['rank_peak_memory_bytes'] / 2**30:.1f} GiB"),
    ]
    return table(["what", "it takes"], [list(fact) for fact in facts])
