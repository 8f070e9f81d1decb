"""The tables of the matrix."""

from collections.abc import Sequence

from benchmarks._harness import over
from benchmarks.cluster_runs import DISTDGL
from benchmarks.emulated_hosts import parse_rate
from benchmarks.matrix.cells import CONTENDERS, GRAPHS
from benchmarks.results.markdown import table
from benchmarks.results.matrix_records import (
    DIFFER,
    NOT_COMPARABLE,
    Matrix,
    Result,
    human_rate,
    is_ours,
    learning_mark,
)
from gnnflow.policies.rivals import RIVALS

GOALS = (
    # policy, budget, rate, against, times
    ("lookahead", 25, "200mbit", DISTDGL, 3.0),
    ("lookahead", 25, "1gbit", DISTDGL, 2.0),
    ("lookahead", 25, "200mbit", "none", 1.91),
    ("lookahead", 25, "200mbit", "static", 1.5),
    ("lookahead-bfloat16", 50, "200mbit", "none", 1.91),
    ("lookahead-bfloat16", 50, "200mbit", "static", 1.82),
)
"""What was aimed at with two ranks: how many times faster which contender is than another."""
ANYWHERE = 1.82
"""Times static prefetching that are to be reached somewhere."""


def graphs(matrix: Matrix) -> str:
    """The graphs and how they are cut and trained on."""
    rows = []
    seen = set()
    for line in matrix.replays():
        where = (line["graph"], line["parts"])
        if where in seen or line["graph"] not in GRAPHS:
            continue
        seen.add(where)
        hyper = GRAPHS[line["graph"]].workload.hyperparameters
        rows.append(
            [
                f"`{line['graph']}`",
                f"{line['vertices']:,}",
                f"{line['edges']:,}",
                line["features"],
                f"{line['train_seeds']:,}",
                str(line["parts"]),
                f"{line['edge_cut']:.3f}",
                ",".join(map(str, hyper.fanout)),
                str(hyper.batch_size),
            ]
        )
    head = ["graph", "vertices", "edges", "features", "train seeds", "parts", "edge cut"]
    return table([*head, "fanout", "batch of a rank"], rows)


def goals(matrix: Matrix) -> str:
    """Each goal, graph by graph, with what was measured."""
    graphs = [graph for graph, parts, _ in matrix.places() if parts == 2]
    graphs = list(dict.fromkeys(graphs))
    rows = []
    for policy, budget, rate, against, times in GOALS:
        cells = []
        for graph in graphs:
            pair = _pair(matrix, graph, 2, rate, budget, policy, against)
            cells.append("" if pair is None else _with_accuracies(*pair, goal=times))
        who = f"{CONTENDERS[policy].title}, {budget} %"
        rows.append([human_rate(rate), who, CONTENDERS[against].title, f"{times:g}", *cells])
    best = _best_over_static(matrix)
    text = table(["link", "ours", "times as fast as", "goal", *graphs], rows)
    if best is not None:
        ratio, ours = best
        cell = ours.cell
        word = "reached" if ratio >= ANYWHERE else "not reached"
        text += (
            f"\n\nGoal met: bold. {ANYWHERE:g} times static prefetching somewhere in the matrix: "
            f"{word}; most is {ratio:.2f}, {ours.title} on {cell.graph}, {cell.parts} parts, "
            f"{human_rate(cell.rate)}, {cell.budget} %."
        )
    return text


def epochs(matrix: Matrix) -> str:
    """A table of every place: graph, parts and link."""
    sections = []
    # Without what always the same answer and a threshold have, the figure would mislead.
    shown = ("pass_at_1", *RIVALS) if any(_rivals(result) for result in matrix.results) else ()
    for graph, parts, rate in matrix.places():
        rows = []
        for result in sorted(matrix.at(graph, parts, rate), key=lambda each: each.cell.budget):
            rows.append(_row(matrix, result, shown))
        head = ["budget", "who decides", "epoch, s", "no cache / it", "DistDGL / it"]
        head += ["static / it", "hits", "volume"]
        head += [({"pass_at_1": "Pass@1"} | RIVALS)[name] for name in shown]
        head += ["answer", "waits", "validation", "test"]
        title = f"**{graph}, {parts} parts, {human_rate(rate)}**"
        sections.append(f"{title}\n\n{table(head, rows)}")
    return "\n\n".join(sections)


def possible(matrix: Matrix) -> str:
    """What replays of the same minibatches say about each graph, parts and budget."""
    rows = []
    for line in matrix.replays():
        schedule = f"fill {line['fill']}, " + (
            f"every {line['period']}" if line["period"] else "never replaced"
        )
        if line["period"] and "alpha" in line:
            schedule += f", alpha {line['alpha']:g}"
        volume = min(line["volume_by_schedule"].values())
        kind = line["classifier"]
        rows.append(
            [
                line["graph"],
                str(line["parts"]),
                f"{line['budget']} %",
                _percent(line["belady_volume"]),
                _percent(line["lookahead_volume"]),
                f"{_percent(volume)} ({schedule})",
                f"{_percent(line['volume_by_classifier'][kind])} ({kind})" if kind else "",
            ]
        )
    head = ["graph", "parts", "budget", "Belady", "lookahead", "best static", "best classifier"]
    return table(head, rows)


def bounds(matrix: Matrix) -> str:
    """Epochs against what no cache of that size could beat on that link."""
    rows = []
    for graph, parts, rate in matrix.places():
        for budget in matrix.budgets(graph, parts, rate):
            ours = matrix.one(graph, parts, rate, budget, "lookahead")
            none = matrix.one(graph, parts, rate, budget, "none")
            replay = matrix.replay(graph, parts, budget)
            if ours is None or none is None or replay is None:
                continue
            epochs = len(ours.lines[0]["epoch_time_s"])
            least = replay["belady_volume"] * replay["rows_without_cache"] / epochs
            link_s = 8 * least * replay["row_bytes"] / parts / parse_rate(rate)
            compute_s = ours.median("compute_s") or 0.0
            bound_s = max(link_s, compute_s)
            rows.append(
                [
                    graph,
                    str(parts),
                    human_rate(rate),
                    f"{budget} %",
                    f"{compute_s:.2f}",
                    f"{link_s:.2f}",
                    f"{ours.epoch_s:.2f}",
                    f"{over(ours.epoch_s, bound_s):.2f}",
                    f"{over(none.epoch_s, bound_s):.2f}",
                ]
            )
    head = ["graph", "parts", "link", "budget", "computing, s", "least rows on the link, s"]
    head += ["lookahead, s", "of the bound", "no cache, of the bound"]
    return table(head, rows)


def published(matrix: Matrix) -> str:
    """Ranges over all places beside what papers report."""

    def most(policies: tuple[str, ...], against: str) -> str:
        ratios = [
            _ratio(pair)
            for graph, parts, rate in matrix.places()
            for budget in matrix.budgets(graph, parts, rate)
            for policy in policies
            if (pair := _pair(matrix, graph, parts, rate, budget, policy, against)) is not None
        ]
        return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "not run"

    deciders = ("classifier", "llm", "llm-tuned", "bandit", "auto")
    volumes = [1 - result.volume for result in matrix.results if result.cell.policy == "lookahead"]
    saved = [1 - result.volume for result in matrix.results if result.cell.policy in deciders]
    rows = [
        [
            "Rudder: a language model, against DistDGL without prefetching",
            "up to 91 % faster (1.91 times)",
            most(deciders, DISTDGL),
            most(("lookahead",), DISTDGL),
        ],
        [
            "the same against our own pipeline without a cache",
            "",
            most(deciders, "none"),
            most(("lookahead",), "none"),
        ],
        [
            "Rudder: against static prefetching",
            "up to 82 % faster (1.82 times)",
            most(deciders, "static"),
            most(("lookahead",), "static"),
        ],
        [
            "Rudder: less communication",
            "more than 50 %",
            _range_of_percent(saved),
            _range_of_percent(volumes),
        ],
        [
            "MassiveGNN: static prefetching, against DistDGL",
            "15 to 40 % faster",
            f"static: {most(('static',), DISTDGL)}",
            "",
        ],
    ]
    head = ["published", "figure", "ours, policies over `decay`", "ours, `lookahead`"]
    return (
        f"{table(head, rows)}\n\n{_learning_of_ranges(matrix, (*deciders, 'lookahead', 'static'))}"
    )


def _learning_of_ranges(matrix: Matrix, policies: Sequence[str]) -> str:
    """How many of the pairs with DistDGL have accuracies that differ, in a sentence."""
    pairs = [
        pair
        for graph, parts, rate in matrix.places()
        for budget in matrix.budgets(graph, parts, rate)
        for policy in policies
        if (pair := _pair(matrix, graph, parts, rate, budget, policy, DISTDGL)) is not None
    ]
    marks = [learning_mark(*pair) for pair in pairs]
    return (
        f"Accuracies of these {len(pairs)} pairs with DistDGL: {marks.count(DIFFER)} are further "
        f"apart than seeds ({DIFFER}), {marks.count(NOT_COMPARABLE)} cannot be compared "
        f"({NOT_COMPARABLE})."
    )


def _rivals(result: Result) -> dict[str, float]:
    """Pass@1 and its rivals; empty if one of them is not known."""
    found = {name: result.of_policy(name) for name in ("pass_at_1", *RIVALS)}
    known = {name: value for name, value in found.items() if value is not None}
    return known if len(known) == len(found) else {}


def _row(matrix: Matrix, result: Result, shown: Sequence[str]) -> list[str]:
    cell = result.cell
    times = result.epochs_s
    spread = f" ({min(times):.2f}-{max(times):.2f})" if len(times) > 1 else ""
    ratios = []
    for against in ("none", DISTDGL, "static"):
        other = matrix.one(cell.graph, cell.parts, cell.rate, cell.budget, against)
        skip = other is None or other.cell == cell
        ratios.append("" if skip or other is None else _marked_ratio(result, other))
    latency = result.of_policy("latency_median_s")
    valid = result.of_policy("valid_share")
    in_time = "" if valid is None or valid > 0.995 else f", {100 * valid:.0f} % in time"
    rivals = _rivals(result)
    wait = result.median("wait_s")
    return [
        f"{cell.budget} %" if cell.budget else "-",
        _detail(result),
        f"{result.epoch_s:.2f}{spread}",
        *ratios,
        _percent(result.hit_rate) if is_ours(result) and cell.budget else "",
        _percent(result.volume),
        *(f"{rivals[name]:.2f}" if rivals else "" for name in shown),
        "" if latency is None else _seconds(latency) + in_time,
        "" if wait is None else f"{wait:.2f} s",
        *(_accuracy(result, split) for split in ("val", "test")),
    ]


def _detail(result: Result) -> str:
    line = result.lines[-1]
    if result.cell.policy == "static":
        alpha = f", alpha {line['alpha']:g}" if "alpha" in line else ""
        return f"{result.title} ({line['period']}, fill {line['fill']}{alpha})"
    if result.cell.policy == "classifier":
        return f"{result.title} ({line['classifier']})"
    return result.title


def _pair(
    matrix: Matrix, graph: str, parts: int, rate: str, budget: int, policy: str, against: str
) -> tuple[Result, Result] | None:
    """Ours and theirs, if both ran."""
    ours = matrix.one(graph, parts, rate, budget, policy)
    theirs = matrix.one(graph, parts, rate, budget, against)
    return None if ours is None or theirs is None else (ours, theirs)


def _ratio(pair: tuple[Result, Result]) -> float:
    ours, theirs = pair
    return over(theirs.epoch_s, ours.epoch_s)


def _marked_ratio(ours: Result, theirs: Result) -> str:
    return f"{_ratio((ours, theirs)):.2f} {learning_mark(ours, theirs)}".rstrip()


def _with_accuracies(ours: Result, theirs: Result, *, goal: float) -> str:
    """Their time over ours, bold where it reaches a goal, and what both have learnt meanwhile."""
    ratio = _ratio((ours, theirs))
    bold = "" if ratio < goal else "**"
    sides = [
        ", ".join(filter(None, (_accuracy(side, split) for split in ("val", "test"))))
        for side in (ours, theirs)
    ]
    learnt = f" ({' / '.join(sides)})" if all(sides) else ""
    return f"{bold}{ratio:.2f}{bold}{learnt} {learning_mark(ours, theirs)}".rstrip()


def _accuracy(result: Result, split: str) -> str:
    accuracy = result.learnt.median(split)
    return "" if accuracy is None else f"{accuracy:.3f}"


def _best_over_static(matrix: Matrix) -> tuple[float, Result] | None:
    found = []
    for result in matrix.results:
        cell = result.cell
        static = matrix.one(cell.graph, cell.parts, cell.rate, cell.budget, "static")
        if static is not None and cell.budget and is_ours(result):
            found.append((over(static.epoch_s, result.epoch_s), result))
    return max(found, key=lambda each: each[0]) if found else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range_of_percent(shares: list[float]) -> str:
    if not shares:
        return "not run"
    return f"{100 * min(shares):.0f} to {100 * max(shares):.0f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.2f} ms"
