"""Every contender trains with the hyperparameters of ours: what it is handed, and what it uses."""

import ast
import importlib
import json
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch_geometric.nn import SAGEConv

import benchmarks.peers
from benchmarks import aggregation, cluster, sampling
from benchmarks.cluster import ClusterPlan
from benchmarks.cluster_runs import GROUPS, SETTINGS, Setting, Workload, train_words
from benchmarks.emulated_hosts import EmulationError
from benchmarks.hyperparameters import HYPERPARAMETERS, Hyperparameters
from benchmarks.matrix import runs as matrix_runs
from benchmarks.matrix.cells import CONTENDERS, GRAPHS, PEERS, Cell
from benchmarks.matrix.runs import Bench, run_cell, words_of
from benchmarks.peers import distdgl_job, graphsage_training, minibatch_sides, pyg_job
from benchmarks.peers.graphsage_training import GraphSage, TrainingJob, make_optimizer
from benchmarks.peers.samplers import measure_peer
from benchmarks.peers.training_job import gather_run, hand_over
from gnnflow.cli.options import parse
from gnnflow.config import OptimizationConfig, PartitionConfig, TrainConfig
from gnnflow.datasets import generate
from gnnflow.loader.seed_schedule import SeedSchedule
from gnnflow.models import build_model
from gnnflow.partition import partition_graph
from gnnflow.training.optimization import make_optimizer as make_our_optimizer

OTHER = Hyperparameters(
    **HYPERPARAMETERS.to_json()
    | {
        "hidden": 24,
        "dropout": 0.25,
        "optimizer": "adamw",
        "lr": 0.02,
        "weight_decay": 0.001,
        "fanout": (4, 3, 2),
        "batch_size": 7,
        "epochs": 2,
        "seed": 11,
    }
)
"""Unlike every default."""
NUM_SEEDS = 100
SCRIPTS = Path(benchmarks.peers.__file__).parent
NO_CONTENDERS = {
    "distdgl_convert": "changes the format of a graph",
}
"""Scripts of peers that train nothing and sample nothing."""
OWN = {"benchmarks", "gnnflow", "numpy", "scipy", *sys.stdlib_module_names}
NAMES = {field.name for field in fields(Hyperparameters)} | {
    *("fanouts", "num_neighbors", "p", "aggr", "aggregator_type", "betas", "eps", "momentum"),
}
"""Keywords that say how a network learns, as the record and the frameworks call them."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("hyperparameters")
    graph = generate("sbm:vertices=400,edges=3000,classes=4,features=16,train=0.5", workdir=work)
    partition_graph(graph, work / "parts", PartitionConfig(num_parts=2, method="random"))
    return work / "parts"


def config_of(words: list[str]) -> TrainConfig:
    return parse(TrainConfig, prog="gnnflow-train", args=words)


def check_ours(config: TrainConfig, hyper: Hyperparameters) -> None:
    """gnnflow's side has every field of the record; what it has no option for is fixed."""
    assert (config.model.model, config.model.hidden) == (hyper.model, hyper.hidden)
    assert config.model.dropout == hyper.dropout
    assert config.sampling.fanout == hyper.fanout
    assert config.sampling.batch_size == hyper.batch_size
    assert config.runtime.seed == hyper.seed
    ours = config.optimization
    assert (ours.optimizer, ours.lr, ours.weight_decay) == (
        hyper.optimizer,
        hyper.lr,
        hyper.weight_decay,
    )
    assert (ours.schedule, ours.task) == (hyper.schedule, "classes")
    # Of what the record does not name, gnnflow does nothing.
    plain = OptimizationConfig()
    for name in ("clip_norm", "warmup_steps", "class_weights", "patience"):
        assert not getattr(ours, name) and getattr(ours, name) == getattr(plain, name)


@pytest.mark.parametrize("hyper", [HYPERPARAMETERS, OTHER])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_ours_trains_with_the_record(hyper, setting, tmp_path):
    workload = Workload(hyperparameters=hyper)
    config = config_of(train_words(setting, tmp_path, workload, 1, tmp_path / "run"))
    check_ours(config, hyper)
    assert config.optimization.epochs == hyper.epochs


@pytest.mark.parametrize("policy", [name for name in CONTENDERS if name not in PEERS])
def test_no_policy_changes_the_record(policy, tmp_path):
    bounds = {"period": 10, "fill": "degree", "alpha": 0.2, "classifier": "mlp"}
    for mode in CONTENDERS[policy].modes:
        cell = Cell(graph="sbm", parts=2, rate="1gbit", budget=25, policy=policy, mode=mode)
        setting = Setting(name=policy, words=words_of(cell, bounds))
        for graph in GRAPHS.values():
            words = train_words(setting, tmp_path, graph.workload, 1, tmp_path / "run")
            check_ours(config_of(words), graph.workload.hyperparameters)


def test_who_trains_for_longer_is_compared_after_the_same_epochs(tmp_path):
    workload = Workload(hyperparameters=OTHER)
    longer = config_of(train_words(SETTINGS[0], tmp_path, workload, 1, tmp_path / "run", epochs=9))
    assert (longer.optimization.epochs, longer.optimization.eval_every) == (9, OTHER.epochs)


@pytest.mark.parametrize(
    "change",
    [
        {"aggregation": "max"},
        {"activation": "elu"},
        {"normalization": "batch"},
        {"replace": True},
        {"loss": "mean-square"},
        {"cut": "in order"},
    ],
    ids=str,
)
def test_what_we_cannot_train_is_not_compared(change):
    with pytest.raises(ValueError, match="to compare with"):
        Workload(hyperparameters=replace(OTHER, **change)).options()


def test_the_record_is_whole_or_refused(tmp_path):
    for field in fields(Hyperparameters):
        assert (field.default, field.default_factory) == (MISSING, MISSING), field.name
    OTHER.write(tmp_path)
    assert Hyperparameters.read(tmp_path) == OTHER
    values = OTHER.to_json()
    for wrong in ({**values, "betas": 1}, {k: v for k, v in values.items() if k != "lr"}):
        with pytest.raises(ValueError, match="hyperparameters differ in"):
            Hyperparameters.of_json(wrong)


def handed_to_distdgl(parts: Path, hyper: Hyperparameters, monkeypatch) -> list[str]:
    found: list[str] = []

    def run_job(hosts, command, environment, out, num_ranks, timeout_s):
        assert Hyperparameters.read(out) == hyper
        found.extend(map(str, command[3:]))

    hosts = MagicMock(names=["a", "b"], rate="1gbit")
    monkeypatch.setattr(distdgl_job, "_run_job", run_job)
    monkeypatch.setattr(distdgl_job, "traffic_between", lambda before, after: {})
    monkeypatch.setattr(distdgl_job, "gather_run", lambda *given: given)
    given = distdgl_job.run_distdgl(
        hosts, Path("python"), parts, parts, Workload(hyperparameters=hyper), 2, 1
    )
    assert hyper in given
    return found


def handed_to_pyg(parts: Path, hyper: Hyperparameters, monkeypatch) -> list[str]:
    found: list[str] = []

    def run(command, **options):
        words = [str(word) for word in command[5:]]
        assert Hyperparameters.read(Path(words[0])) == hyper
        found.extend(words)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(pyg_job.subprocess, "run", run)
    monkeypatch.setattr(pyg_job, "gather_run", lambda *given: given)
    given = pyg_job.run_pyg(Path("python"), parts, Workload(hyperparameters=hyper), 2)
    assert hyper in given
    return found


@pytest.mark.parametrize(("handed", "ranks"), [(handed_to_distdgl, 1), (handed_to_pyg, 2)])
def test_a_peer_is_handed_the_record_and_no_other_word(handed, ranks, parts, monkeypatch):
    words = handed(parts, OTHER, monkeypatch)
    threads = "1" if ranks == 1 else "2"
    assert words[1:] == ["--classes", "4", "--threads", threads, "--ranks", str(ranks)]
    words[0] = str(parts)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["trainer", *words])
        patch.setattr(Hyperparameters, "read", lambda folder: OTHER)
        job = graphsage_training.read_job("trainer")
    assert (job.hyperparameters, job.ranks) == (OTHER, ranks)


class _Layer(torch.nn.Module):
    """Stands for a layer of DGL's."""

    def __init__(self, inputs: int, outputs: int, aggregation: str) -> None:
        super().__init__()
        self.given = (inputs, outputs, aggregation)
        self.fc_self = torch.nn.Linear(inputs, outputs)
        self.fc_neigh = torch.nn.Linear(inputs, outputs, bias=False)


def used_by_distdgl(job: TrainingJob, monkeypatch, watched: dict[str, object]) -> None:
    dgl = MagicMock()
    dgl.nn.pytorch.SAGEConv = _Layer
    graph = dgl.distributed.DistGraph.return_value
    graph.ndata = {name: torch.zeros(5, 16) for name in ("x", "y", "train")}
    dgl.dataloading.DistNodeDataLoader.return_value = []
    dgl.distributed.node_split.return_value = torch.arange(NUM_SEEDS)
    for name in ("dgl", "dgl.nn", "dgl.nn.pytorch"):
        monkeypatch.setitem(sys.modules, name, dgl)
    sys.modules.pop("benchmarks.peers.distdgl_trainer", None)
    distdgl_trainer = importlib.import_module("benchmarks.peers.distdgl_trainer")
    monkeypatch.setenv("DGL_IP_CONFIG", "ip")
    monkeypatch.setenv("DGL_CONF_PATH", "graph.json")

    class Wrapped(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module, self.join = module, nullcontext

    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", Wrapped)
    for name in ("init_process_group", "barrier", "all_reduce"):
        monkeypatch.setattr(torch.distributed, name, lambda *_: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    distdgl_trainer.train(job)
    sys.modules.pop("benchmarks.peers.distdgl_trainer", None)
    (fanout,), sampled = dgl.dataloading.NeighborSampler.call_args
    loaded = dgl.dataloading.DistNodeDataLoader.call_args.kwargs
    watched |= {"fanout": tuple(fanout[::-1]), "replace": sampled["replace"]}
    watched |= {"batch_size": loaded["batch_size"], "shuffle": loaded["shuffle"]}
    watched["layers"] = [layer.given for layer in watched["model"].layers]


def used_by_pyg(job: TrainingJob, monkeypatch, watched: dict[str, object]) -> None:
    from benchmarks.peers import pyg_trainer

    loader = MagicMock(return_value=[])
    monkeypatch.setattr(pyg_trainer, "NeighborLoader", loader)
    monkeypatch.setattr(pyg_trainer, "ToSparseTensor", MagicMock())
    monkeypatch.setattr(
        pyg_trainer,
        "_load",
        lambda out: SimpleNamespace(
            x=torch.zeros(5, 16), train_mask=torch.ones(NUM_SEEDS, dtype=torch.bool)
        ),
    )
    pyg_trainer.train(job)
    (_, fanout), loaded = loader.call_args
    watched |= {"fanout": tuple(fanout), "replace": loaded["replace"]}
    watched |= {"batch_size": loaded["batch_size"], "shuffle": loaded["shuffle"]}
    watched["layers"] = [
        (layer.in_channels, layer.out_channels, layer.aggr) for layer in watched["model"].layers
    ]


@pytest.mark.parametrize("hyper", [HYPERPARAMETERS, OTHER], ids=["usual", "other"])
@pytest.mark.parametrize("run", [used_by_distdgl, used_by_pyg])
def test_a_peer_trains_with_the_record(run, hyper, tmp_path, monkeypatch):
    watched: dict[str, object] = {}
    train_epoch, manual_seed, seeds = graphsage_training._train_epoch, torch.manual_seed, []
    epochs = []

    def watch(model, optimizer, loss_of, *others):
        model = getattr(model, "module", model)
        watched.update(model=model, optimizer=optimizer, loss=loss_of)
        epochs.append(train_epoch(model, optimizer, loss_of, *others))
        return epochs[-1]

    monkeypatch.setattr(graphsage_training, "_train_epoch", watch)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch, "manual_seed", lambda seed: seeds.append(seed) or manual_seed(seed))
    job = TrainingJob(hyperparameters=hyper, out=tmp_path, classes=4, threads=1, ranks=1)
    run(job, monkeypatch, watched)
    assert watched["fanout"] == hyper.fanout
    assert (watched["replace"], watched["shuffle"]) == (hyper.replace, True)
    assert watched["batch_size"] == hyper.even_batch_size(NUM_SEEDS, NUM_SEEDS, 1)
    sizes = hyper.layer_sizes(16, 4)
    assert len(sizes) == len(hyper.fanout) and {sizes[0][1], sizes[-1][0]} == {hyper.hidden}
    assert watched["layers"] == [(*each, hyper.aggregation) for each in sizes]
    assert watched["model"].dropout.p == hyper.dropout
    assert watched["model"]._activate is graphsage_training.ACTIVATIONS[hyper.activation]
    assert watched["loss"] is torch.nn.functional.cross_entropy
    optimizer = watched["optimizer"]
    assert (
        type(optimizer) is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[hyper.optimizer]
    )
    ours = make_our_optimizer(
        OptimizationConfig(optimizer=hyper.optimizer, lr=hyper.lr, weight_decay=hyper.weight_decay),
        [torch.nn.Parameter(torch.zeros(1))],
    )
    assert type(optimizer) is type(ours)
    assert optimizer.defaults == ours.defaults
    assert optimizer.param_groups[0]["lr"] == hyper.lr
    assert len(epochs) == hyper.epochs
    assert set(seeds) == {hyper.seed}
    written = json.loads((tmp_path / "trainer-0.json").read_text())
    assert Hyperparameters.of_json(written["hyperparameters"]) == hyper


def test_a_peer_learns_what_ours_learns(tmp_path):
    """Steps on the same graph, from the same weights, lead to the same weights."""
    hyper = replace(OTHER, dropout=0.0)
    config = config_of(
        train_words(SETTINGS[0], tmp_path, Workload(hyperparameters=hyper), 1, tmp_path / "run")
    )
    torch.manual_seed(0)
    edges = torch.randint(0, 30, (2, 200))
    rows, labels = torch.randn(30, 6), torch.randint(0, 4, (30,))
    ours = build_model(config, 6, 4)
    theirs = GraphSage(
        (SAGEConv(*sizes, aggr=hyper.aggregation) for sizes in hyper.layer_sizes(6, 4)),
        hyper,
        lambda layer, edge_index, x: layer(x, edge_index),
    )
    theirs.layers.load_state_dict(ours.convs.state_dict())
    optimizer = make_our_optimizer(config.optimization, ours.parameters())
    for _ in range(hyper.epochs):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(ours(rows, edges), labels).backward()
        optimizer.step()
    job = TrainingJob(hyperparameters=hyper, out=tmp_path, classes=4, threads=1, ranks=1)
    graphs = [edges] * len(hyper.fanout)
    graphsage_training.train_epochs(job, theirs, [None], lambda _: (graphs, rows, labels))
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(our, their, atol=1e-6)


@pytest.mark.parametrize("name", ["model", "normalization", "schedule", "activation", "cut"])
def test_a_peer_refuses_what_it_does_not_do(name):
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got 'else'"):
        GraphSage([], replace(OTHER, **{name: "else"}), lambda *_: torch.zeros(1))


def test_a_peer_refuses_other_optimizers_and_losses(tmp_path):
    with pytest.raises(ValueError, match="optimizer must be one of"):
        make_optimizer(replace(OTHER, optimizer="lion"), [])
    job = TrainingJob(
        hyperparameters=replace(OTHER, loss="else"), out=tmp_path, classes=4, threads=1, ranks=1
    )
    with pytest.raises(ValueError, match="loss must be one of"):
        graphsage_training.train_epochs(job, torch.nn.Linear(1, 1), [], lambda _: ())


def test_a_peer_that_trained_with_something_else_is_refused(parts, tmp_path):
    trainer = {"epochs": [], "hyperparameters": replace(OTHER, lr=0.003).to_json()}
    (tmp_path / "trainer-0.json").write_text(json.dumps(trainer))
    with pytest.raises(EmulationError, match=r"lr.*0\.003"):
        gather_run("distdgl", "1gbit", parts, tmp_path, OTHER, {})
    assert hand_over(OTHER, parts, tmp_path, threads=1)[0] == str(tmp_path)


def test_cells_hand_all_contenders_the_same(parts, tmp_path, monkeypatch):
    handed = {}
    for name in ("run_distdgl", "run_pyg", "run_gnnflow"):

        def run(*given, name=name, **_):
            handed[name] = next(each for each in given if isinstance(each, Workload))
            raise EmulationError("not run")

        monkeypatch.setattr(matrix_runs, name, run)
    monkeypatch.setattr(matrix_runs, "parts_of", lambda *given: parts)
    monkeypatch.setattr(matrix_runs, "convert", lambda *given: None)
    bench = Bench(graphs=GRAPHS, work=tmp_path, pythons=dict.fromkeys(PEERS, Path("python")))
    for graph, trained in GRAPHS.items():
        for policy in (*PEERS, "none", "lookahead"):
            cell = Cell(graph=graph, parts=2, rate="1gbit", budget=0, policy=policy)
            with pytest.raises(EmulationError):
                run_cell(bench, cell, MagicMock(), None, threads=1, seed=3)
        assert len(handed) == 3
        expected = replace(trained.workload.hyperparameters, seed=3)
        assert {workload.hyperparameters for workload in handed.values()} == {expected}


def test_turns_of_the_cluster_benchmark_hand_all_contenders_the_same(tmp_path, monkeypatch):
    seeds = []
    for name in ("run_distdgl", "run_gnnflow"):

        def run(*given, **_):
            hyper = next(each for each in given if isinstance(each, Workload)).hyperparameters
            assert replace(hyper, seed=0) == replace(OTHER, seed=0)
            return hyper.seed

        monkeypatch.setattr(cluster, name, run)
    plan = ClusterPlan(
        rates=("1gbit",),
        hosts=2,
        ranks_per_host=1,
        repeats=2,
        workload=Workload(hyperparameters=OTHER),
        parts=None,
        groups=("",),
    )
    seeds = list(cluster._run_in_turn(plan, MagicMock(), Path("python"), tmp_path, tmp_path))
    contenders = 1 + len(GROUPS[""])
    assert seeds == [11] * contenders + [12] * contenders


@pytest.mark.parametrize("side", ["dgl", "dgl-labor", "graphbolt"])
def test_samplers_of_peers_draw_what_ours_draws(side, tmp_path, monkeypatch):
    dgl = MagicMock()
    monkeypatch.setitem(sys.modules, "dgl", dgl)
    for name in ("indptr", "indices"):
        np.save(tmp_path / f"{name}.npy", np.zeros(2, dtype=np.int64))
    np.save(tmp_path / "seeds.npy", np.zeros((3, 7), dtype=np.int64))
    for sampler in (dgl.dataloading.NeighborSampler, dgl.dataloading.LaborSampler):
        sampler.return_value.sample.return_value = ([], [], [])
    whole = dgl.graphbolt.fused_csc_sampling_graph.return_value
    dgl.graphbolt.unique_and_compact_csc_formats.return_value = ([], MagicMock(indices=[]))
    answer = minibatch_sides.SIDES[side](tmp_path)
    process = SimpleNamespace(ask=lambda question: answer(json.loads(json.dumps(question))))
    hyper = replace(OTHER, replace=True)
    measure_peer(process, hyper, range(1, 2))
    if side == "dgl":
        (fanout,), options = dgl.dataloading.NeighborSampler.call_args
        assert (tuple(fanout[::-1]), options) == (hyper.fanout, {"replace": True})
        return
    if side == "dgl-labor":
        (fanout,), options = dgl.dataloading.LaborSampler.call_args
        assert (tuple(fanout[::-1]), options) == (hyper.fanout, {})
        return
    calls = whole.sample_neighbors.call_args_list
    assert tuple(call.args[1].item() for call in calls) == hyper.fanout
    assert all(call.kwargs == {"replace": True} for call in calls)


def test_our_sampler_draws_by_the_record(monkeypatch):
    made = MagicMock()
    monkeypatch.setattr(sampling, "LocalNeighborSampler", made)
    monkeypatch.setattr(sampling, "_kernels", MagicMock())
    graph = sampling.SeededGraph(*(np.zeros((3, 3), dtype=np.int64),) * 3)
    for every in (0, 16):
        sampling.our_sampler(graph, replace(OTHER, replace=True), 1, every)(0)
        told = {"num_threads": 1, "replace": True, "seed": OTHER.seed, "every": every}
        assert made.call_args.kwargs == told
        assert made.return_value.sample.call_args.args[1] == OTHER.fanout


def test_layers_of_peers_are_those_of_the_record(tmp_path, monkeypatch):
    dgl = MagicMock()
    dgl.nn.pytorch.SAGEConv = MagicMock(side_effect=_Layer)
    monkeypatch.setitem(sys.modules, "dgl", dgl)
    (network, _) = aggregation.NETWORKS
    model = aggregation.SAGE([3, 5, 4], network.dropout)
    aggregation.write_for_dgl(tmp_path, network, model, [])
    assert Hyperparameters.read(tmp_path) == network
    minibatch_sides.SIDES["dgl-layers"](tmp_path)
    given = [call.args for call in dgl.nn.pytorch.SAGEConv.call_args_list]
    assert given == [(3, 5, network.aggregation), (5, 4, network.aggregation)]


@pytest.mark.parametrize("counts", [(3010, 3031), (14, 14), (15, 0), (100, 90), (1, 1)], ids=str)
def test_seeds_are_cut_as_ours_are(counts):
    ours = SeedSchedule.of_rank(np.arange(counts[0]), np.array(counts), 0, batch_size=7)
    assert ours.max_batch_size == OTHER.even_batch_size(counts[0], sum(counts), 2)
    for num_seeds in counts:
        size = OTHER.even_batch_size(num_seeds, sum(counts), 2)
        assert -(-num_seeds // size) <= ours.num_steps
    # One process that stands for both ranks has their minibatches as one.
    joined = OTHER.even_batch_size(sum(counts), sum(counts), 2)
    assert -(-sum(counts) // joined) <= ours.num_steps
    assert joined <= 2 * OTHER.batch_size


def scripts() -> list[str]:
    """Scripts that import a framework: they run in a peer's environment."""
    found = []
    for path in SCRIPTS.glob("*.py"):
        if imported(ast.parse(path.read_text())) - OWN and path.stem not in NO_CONTENDERS:
            found.append(path.stem)
    return found


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def faults(source: str) -> list[str]:
    """What keeps a peer's script from training with the record and nothing else."""
    tree = ast.parse(source)
    takes = {"read_job", "Hyperparameters"} & {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmarks.")
        for alias in node.names
    }
    found = [] if takes else ["does not take the record"]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in NAMES and _is_constant(node.value):
            found.append(f"line {node.value.lineno}: {node.arg} is {ast.unparse(node.value)}")
        if isinstance(node, ast.arguments):
            named = [*node.posonlyargs, *node.args][-len(node.defaults) or len(node.args) :]
            pairs = [
                *zip(named, node.defaults, strict=True),
                *zip(node.kwonlyargs, node.kw_defaults, strict=True),
            ]
            wrong = [name.arg for name, value in pairs if value and name.arg in NAMES]
            found += [f"{name} has a default" for name in wrong]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument"):
            if any(keyword.arg == "default" for keyword in node.keywords):
                found.append(f"line {node.lineno}: an option has a default")
        if isinstance(node, ast.Attribute) and node.attr in ("Adam", "AdamW", "SGD", "RMSprop"):
            if "OPTIMIZERS" not in source.splitlines()[node.lineno - 1]:
                found.append(f"line {node.lineno}: an optimizer of its own")
    return found


def _is_constant(value: ast.expr) -> bool:
    return all(
        isinstance(part, ast.Constant | ast.List | ast.Tuple | ast.UnaryOp | ast.expr_context)
        or isinstance(part, ast.unaryop)
        for part in ast.walk(value)
    )


def test_scripts_of_peers_have_no_hyperparameters_of_their_own():
    found = scripts()
    assert {"distdgl_trainer", "pyg_trainer", "minibatch_sides", "graphsage_training"} <= {*found}
    for name in found:
        assert faults((SCRIPTS / f"{name}.py").read_text()) == [], name


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("loader = Loader(batch_size=512)", "batch_size is 512"),
        ("loader = Loader(num_neighbors=[10, 5])", "num_neighbors is [10, 5]"),
        ("optimizer = torch.optim.Adam(p, job.lr)", "an optimizer of its own"),
        ("def train(job, lr=0.003): pass", "lr has a default"),
        ("def train(job, *, dropout=0.5): pass", "dropout has a default"),
        ("parser.add_argument('--lr', default=0.003)", "an option has a default"),
    ],
)
def test_a_script_with_hyperparameters_of_its_own_is_found(line, fault):
    fair = "import torch\nfrom benchmarks.peers.graphsage_training import read_job\n"
    assert faults(fair) == []
    assert any(fault in each for each in faults(f"{fair}{line}\n"))
    assert "does not take the record" in faults("import torch\n")
