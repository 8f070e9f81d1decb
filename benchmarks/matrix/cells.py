"""What the matrix runs, declared in one place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from benchmarks.cluster_runs import DEPENDENT_WORDS, DISTDGL, STORED_WORDS, Workload
from benchmarks.hyperparameters import HYPERPARAMETERS
from benchmarks.peers.pyg_job import PYG
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, TUNED_MODEL

Mode = Literal["", "async", "sync"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedGraph:
    """A graph, and how all contenders train on it."""

    source: tuple[str, ...]
    """Words that tell gnnflow-partition where it comes from."""
    workload: Workload
    """The hyperparameters of every side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """What decides about the cache, and the words it adds to gnnflow-train's command line."""

    words: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ("",)
    """Whether training goes on while it answers; empty where nothing or nobody slow is asked."""
    has_budget: bool = True
    """Whether it has a cache."""
    async_epochs: int | None = None
    """Epochs with mode `async`: more where the first answer takes its time. Accuracies are those
    after the epochs of the others all the same."""
    title: str = ""
    """As tables and figures call it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One run but for its repeats."""

    graph: str
    parts: int
    rate: str
    budget: int
    """Cache in percent of the halo vertices; 0 for contenders without one."""
    policy: str
    mode: Mode = ""

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> Self:
        """The cell that a line of a run belongs to."""
        return cls(**{field.name: line[field.name] for field in fields(cls)})

    @property
    def name(self) -> str:
        """As `--only` reads it, for people."""
        words = [self.graph, f"{self.parts} parts", self.rate, f"{self.budget} %", self.policy]
        return " ".join([*words, self.mode]).strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Cells that belong together; contenders take turns within it."""

    graphs: tuple[str, ...]
    parts: int
    rate: str
    budgets: tuple[int, ...]
    policies: tuple[str, ...]

    def cells(self) -> Iterator[Cell]:
        """Returns the block's cells in the order in which they run."""
        for graph in self.graphs:
            for number, budget in enumerate(self.budgets):
                for policy in self.policies:
                    contender = CONTENDERS[policy]
                    if not contender.has_budget and number:
                        continue
                    for mode in contender.modes:
                        yield Cell(
                            graph=graph,
                            parts=self.parts,
                            rate=self.rate,
                            budget=budget if contender.has_budget else 0,
                            policy=policy,
                            mode=mode,
                        )


def _workload(graph: str, fanout: tuple[int, ...], batch_size: int) -> Workload:
    hyper = replace(HYPERPARAMETERS, fanout=fanout, batch_size=batch_size)
    return Workload(graph=graph, hyperparameters=hyper)


def _generated(spec: str, fanout: tuple[int, ...], batch_size: int) -> TrainedGraph:
    return TrainedGraph(
        source=("--generate", spec, "--undirected"), workload=_workload(spec, fanout, batch_size)
    )


def _dataset(name: str, fanout: tuple[int, ...], batch_size: int) -> TrainedGraph:
    return TrainedGraph(source=("--dataset", name), workload=_workload(name, fanout, batch_size))


GRAPHS = {
    "sbm": _generated(
        "sbm:vertices=60000,edges=435000,classes=64,within=0.78,features=128,train=0.3",
        (25, 10),
        250,
    ),
    "debian-packages": _dataset("debian-packages", (10, 10), 500),
    "rmat": _generated("rmat:vertices=65536,edges=500000,features=128,train=0.3", (10, 10), 250),
    "debian-contents": _dataset("debian-contents", (10, 10), 2000),
    "ogbn-arxiv": _dataset("ogbn-arxiv", (10, 10), 1000),
    "ogbn-products": _dataset("ogbn-products", (15, 10), 1000),
}
"""All graphs, by name. Those that are neither embedded nor generated take part where they are."""

_DECAY = ("--scorer", "decay")
_SLOW_MODES: tuple[Mode, ...] = ("async", "sync")
_LLM = (*_DECAY, "--policy", "llm")
CONTENDERS = {
    DISTDGL: Contender(has_budget=False, title="DistDGL 1.1.3"),
    PYG: Contender(has_budget=False, title="PyG 2.8.1, one process, no link"),
    "none": Contender(words=("--policy", "none"), has_budget=False, title="no cache"),
    "static": Contender(title="static, best period"),
    "classifier": Contender(
        words=(*_DECAY, "--policy", "classifier"),
        modes=_SLOW_MODES,
        title="best classifier",
    ),
    "llm": Contender(
        words=(*_LLM, "--llm-model", SMALL_MODEL),
        modes=_SLOW_MODES,
        async_epochs=14,
        title="language model, untuned",
    ),
    "llm-tuned": Contender(
        words=(*_LLM, "--llm-model", TUNED_MODEL),
        modes=_SLOW_MODES,
        async_epochs=14,
        title="language model, tuned",
    ),
    "bandit": Contender(words=(*_DECAY, "--policy", "bandit"), title="bandit"),
    "auto": Contender(words=(*_DECAY, "--policy", "auto"), title="rule (auto)"),
    "lookahead": Contender(title="lookahead"),
    "lookahead-bfloat16": Contender(
        words=("--wire-dtype", "bfloat16"), title="lookahead, rows in bfloat16"
    ),
    "lookahead-dependent": Contender(words=DEPENDENT_WORDS, title="lookahead, dependent"),
    "lookahead-stored": Contender(
        words=STORED_WORDS, title="lookahead, dependent, stored first hop"
    ),
}
"""All contenders, by name, in the order of tables and figures. `static` gets the best schedule and
`classifier` the best kind for each graph and budget by replay."""

PEERS = (DISTDGL, PYG)
"""Contenders of others."""
_ALL = tuple(CONTENDERS)
_WITHOUT_MODELS = tuple(name for name in CONTENDERS if name != PYG and not name.startswith("llm"))
_SIMPLE = (DISTDGL, "none", "static", "lookahead", "lookahead-dependent", "lookahead-stored")
_MAIN = ("sbm", "debian-packages")
_LARGE = ("debian-contents", "ogbn-arxiv", "ogbn-products")
BLOCKS = (
    Block(graphs=_MAIN, parts=2, rate="200mbit", budgets=(25,), policies=_ALL),
    Block(graphs=_MAIN, parts=2, rate="200mbit", budgets=(50, 5), policies=_WITHOUT_MODELS),
    Block(graphs=_MAIN, parts=2, rate="1gbit", budgets=(25,), policies=_WITHOUT_MODELS),
    Block(graphs=_MAIN, parts=4, rate="200mbit", budgets=(25,), policies=_WITHOUT_MODELS),
    Block(graphs=("rmat",), parts=2, rate="200mbit", budgets=(25,), policies=_WITHOUT_MODELS),
    Block(graphs=_MAIN, parts=2, rate="200mbit", budgets=(50, 5), policies=("llm", "llm-tuned")),
    Block(graphs=("rmat", *_LARGE), parts=2, rate="200mbit", budgets=(25,), policies=(PYG,)),
    Block(graphs=_LARGE, parts=2, rate="200mbit", budgets=(25,), policies=_SIMPLE),
    Block(graphs=_MAIN, parts=2, rate="100mbit", budgets=(25,), policies=_SIMPLE),
    Block(graphs=_MAIN, parts=2, rate="10gbit", budgets=(25,), policies=_SIMPLE),
    Block(graphs=_MAIN, parts=4, rate="200mbit", budgets=(50, 5), policies=_SIMPLE),
    Block(graphs=_MAIN, parts=4, rate="200mbit", budgets=(25,), policies=("llm", "llm-tuned")),
    Block(graphs=("rmat",), parts=2, rate="200mbit", budgets=(50, 5), policies=_SIMPLE),
)
"""What is run, the most telling first."""

QUICK_GRAPH = _generated(
    "sbm:vertices=8000,edges=60000,classes=16,within=0.78,features=64,train=0.3", (10, 10), 200
)
"""Stands for `sbm` with `--quick`, with an epoch less."""
QUICK = (
    Block(
        graphs=("sbm",),
        parts=2,
        rate="200mbit",
        budgets=(25,),
        policies=("none", "static", "bandit", "lookahead"),
    ),
)
"""What `--quick` runs."""

STEPS_OF = {"graph": "debian-packages", "parts": 2, "rate": "200mbit", "budget": 25}
"""Cells whose first run keeps hit rates by minibatch, for a figure."""
