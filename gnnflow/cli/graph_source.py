"""Options that name the graph of a command, and the graph that they name."""

from dataclasses import dataclass, replace
from pathlib import Path

from gnnflow import datasets
from gnnflow.datasets.array_kinds import LabelTask
from gnnflow.datasets.split_spec import parse_split
from gnnflow.errors import ConfigError
from gnnflow.partition.stage_progress import Progress

_SOURCES = ("dataset", "edges", "generate", "from_dgl", "from_pyg")
_GOES_WITH = {
    "features": ("edges", "from_dgl"),
    "labels": ("edges", "from_dgl", "from_pyg"),
    "task": ("edges", "from_dgl", "from_pyg"),
    "edge_features": ("edges",),
    "num_vertices": ("edges",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """Where the graph comes from: one of dataset, edges, generate, from-dgl and from-pyg."""

    dataset: str | None = None
    """Name of a dataset: debian-packages comes with gnnflow, debian-contents is built once from
    this machine's package sources; ogbn-arxiv, ogbn-products, ogbn-papers100M, reddit and yelp are
    read from data-root or downloaded."""

    data_root: Path | None = None
    """Folder where datasets are looked for and downloaded to."""

    edges: Path | None = None
    """File of edges (.npy, .npz, .csv, .parquet): [2, num_edges] or two columns, source and
    destination."""

    features: str | None = None
    """File of vertex features, one row per vertex, to go with edges; or degree or learned, made
    from the edges. With from-dgl the name of an array, or degree or learned."""

    labels: str | None = None
    """File of vertex labels, to go with edges or from-pyg. With from-dgl the name of an array."""

    task: LabelTask = "auto"
    """What labels are: one class per vertex, any number of classes (multilabel), or numbers to
    predict (regression); auto takes whole numbers for classes, columns of 0 and 1 for multilabel
    and other numbers for regression."""

    split: str | None = None
    """File of masks or index arrays named train, val and test, to go with edges or from-pyg. Or
    random:0.6,0.2,0.2, the same shares of each class as stratified:0.6,0.2,0.2, or column:NAME
    for a column of the features or labels or an array of the vertices, with any graph."""

    num_vertices: int | None = None
    """Number of vertices, to go with edges, where neither features nor labels tell it and the last
    ones have no edge."""

    edge_features: Path | None = None
    """File of edge features, one row per edge in the order of edges."""

    edge_weights: Path | None = None
    """File of edge weights (.npy of one number for each edge), in the order of the edges; goes with
    any graph. Training draws neighbours by them on request (gnnflow-train --edge-weights weight).
    They are finite and not negative; edges of weight 0 are never drawn."""

    generate: str | None = None
    """Make a graph, as rmat:vertices=1e6,edges=1e7 or sbm:vertices=1e6,edges=1e7."""

    from_dgl: Path | None = None
    """Description (.json) of a partition folder of DistDGL, whose parts are kept if their number
    is right."""

    from_pyg: Path | None = None
    """Partition folder of torch_geometric.distributed (with META.json), likewise."""

    def check(self, prog: str) -> None:
        """Checks that exactly one source is given.

        Args:
            prog: Name of the command, for messages.

        Raises:
            ConfigError: if none or several are given, or an option has no source to go with.
        """
        named = [name for name in _SOURCES if getattr(self, name) is not None]
        if not named:
            raise ConfigError(
                "no graph to cut; give --dataset NAME, --edges FILE, --generate SPEC, --from-dgl "
                f"FILE or --from-pyg DIR ({prog} --help tells more)"
            )
        if len(named) > 1:
            given = " and ".join(_option(name) for name in named)
            raise ConfigError(f"give one source of the graph, got {given}; leave out all but one")
        goes_with = dict(_GOES_WITH)
        if self.split is not None and parse_split(self.split) is None:
            goes_with["split"] = ("edges", "from_pyg")
        for name, sources in goes_with.items():
            if getattr(self, name) not in (None, "auto") and named[0] not in sources:
                needed = " or ".join(_option(source) for source in sources)
                raise ConfigError(
                    f"{_option(name)} goes with {needed}, which is missing; leave out "
                    f"{_option(name)}"
                )

    @property
    def needs_workdir(self) -> bool:
        """Whether edges are written to a file first, instead of being mapped or held."""
        return not (self.dataset or self.edges)

    def open(self, workdir: Path | None, seed: int, progress: Progress) -> datasets.RawGraph:
        """Opens the graph and splits its vertices.

        Args:
            workdir: Folder for files of edges.
            seed: Seed of a generated graph and of a split by chance.
            progress: Told how far reading or generating is.

        Raises:
            DataError: if the graph cannot be used.
        """
        graph = self._open_and_split(workdir, seed, progress)
        if self.edge_weights is None:
            return graph
        return replace(graph, edge_weight=datasets.read_edge_weights(self.edge_weights))

    def _open_and_split(
        self, workdir: Path | None, seed: int, progress: Progress
    ) -> datasets.RawGraph:
        spec = None if self.split is None else parse_split(self.split)
        if self.split is None or spec is None:
            return self._open(self.split, workdir, seed, progress)
        if spec.kind == "column" and self.edges is not None:  # a file has it, and maybe as text
            return self._open(self.split, workdir, seed, progress)
        graph = self._open(None, workdir, seed, progress)
        progress("splitting vertices", 0, 0)
        return datasets.with_split(graph, self.split, seed)

    def _open(
        self, split: str | None, workdir: Path | None, seed: int, progress: Progress
    ) -> datasets.RawGraph:
        if self.dataset is not None:
            return datasets.load(self.dataset, root=self.data_root)
        if self.generate is not None:
            return datasets.generate(self.generate, seed, workdir, progress)
        if self.from_dgl is not None:
            return datasets.from_distdgl(
                self.from_dgl,
                features=self.features,
                labels=self.labels,
                task=self.task,
                workdir=workdir,
                progress=progress,
            )
        if self.from_pyg is not None:
            return datasets.from_pyg_partition(
                self.from_pyg,
                labels=self.labels,
                split=split,
                task=self.task,
                workdir=workdir,
                progress=progress,
            )
        assert self.edges is not None
        return datasets.from_files(
            self.edges,
            features=self.features,
            labels=self.labels,
            split=split,
            edge_features=self.edge_features,
            num_vertices=self.num_vertices,
            task=self.task,
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
