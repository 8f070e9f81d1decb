"""What `wrap` takes, and that it trains as one process does: buffers, batch norm, odd models."""

import copy
import warnings

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, power_law
from torch import nn
from torch.nn import functional
from torch_geometric.nn import BatchNorm as PyGBatchNorm
from torch_geometric.nn import Linear as PyGLinear
from torch_geometric.nn import SAGEConv

import gnnflow
from gnnflow.errors import ConfigError
from gnnflow.loader import DistNeighborLoader
from gnnflow.training import (
    Position,
    SyncBatchNorm,
    TrainingState,
    evaluate,
    load_checkpoint,
    save_checkpoint,
    sync_buffers,
    unwrap,
    wrap,
)

pytestmark = pytest.mark.mpi(1, 2, 4)

WIDTH = 4


def rows_of_ranks(num_ranks, dtype=torch.float32, seed=3):
    """Rows of every rank: many, one, none, some."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [5, 1, 0, 3][:num_ranks]
    return [
        torch.randn(size, WIDTH, generator=generator, dtype=dtype) + rank
        for rank, size in enumerate(sizes)
    ]


def set_share(ctx, sizes):
    ctx.loss_weight = sizes[ctx.rank] / sum(sizes)


def assert_same_gradients(model, reference, **tolerance):
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None or not ours.grad.abs().sum(), name
            continue
        ours, theirs = (
            grad.to_dense() if grad.is_sparse else grad for grad in (ours.grad, theirs.grad)
        )
        torch.testing.assert_close(ours, theirs, **tolerance)


class Odd(nn.Module):
    """One linear layer, and something that is seen less often."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(1)
        self.kind = kind
        self.last = nn.Linear(WIDTH, WIDTH)
        if kind == "sparse":
            self.table = nn.Embedding(8, WIDTH, sparse=True)
        elif kind == "complex":
            self.table = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=torch.complex64))
        elif kind == "dtypes":
            self.low, self.high = (
                nn.Linear(WIDTH, WIDTH, dtype=d) for d in (torch.bfloat16, torch.float64)
            )
        elif kind == "list":
            self.table = nn.ParameterList(torch.randn(WIDTH) for _ in range(3))
        elif kind == "tied":
            self.tied = nn.Linear(WIDTH, WIDTH)
            self.tied.weight = self.last.weight
        elif kind == "frozen":
            self.table = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        elif kind == "unused":
            self.table = nn.Linear(WIDTH, WIDTH)
        elif kind == "buffers":
            self.register_buffer("kept", torch.randn(WIDTH))
            self.register_buffer("passing", torch.arange(WIDTH), persistent=False)

    def forward(self, x):
        if self.kind == "sparse":
            x = x + self.table(torch.arange(len(x)) % 8)
        elif self.kind == "complex":
            x = (x.to(torch.complex64) @ self.table).abs()
        elif self.kind == "dtypes":
            x = self.high(self.low(x.bfloat16()).double()).float()
        elif self.kind == "list":
            x = x + sum(self.table)
        elif self.kind in ("tied", "frozen"):
            x = (self.tied if self.kind == "tied" else self.table)(x)
        elif self.kind == "buffers":
            x = x * self.kept + self.passing
        return self.last(x)


KINDS = ["sparse", "complex", "dtypes", "list", "tied", "frozen", "unused", "buffers"]
WAYS = ["plain", "clipped", "accumulated", "called twice", "compiled before", "compiled after"]


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_odd_models(ctx, way):
    rows = rows_of_ranks(ctx.num_ranks)
    own, sizes = rows[ctx.rank], [len(x) for x in rows]
    for kind in KINDS if way == "plain" else KINDS[-1:]:
        reference = Odd(kind)
        model = Odd(kind)
        if way == "compiled before":
            wrapped = wrap(torch.compile(model, backend="aot_eager"), ctx)
        else:
            wrapped = wrap(model, ctx, find_unused_parameters=kind == "unused")
        if way == "compiled after":
            wrapped = torch.compile(wrapped, backend="eager")
        assert unwrap(wrapped) is model
        for _ in range(3):
            wrapped.zero_grad()
            reference.zero_grad()
            set_share(ctx, sizes)
            if way == "accumulated" and ctx.num_ranks > 1:
                # As docs/training.md says.
                scale = ctx.loss_weight * ctx.num_ranks
                ctx.loss_weight = None
                with wrapped.no_sync():
                    loss_of(wrapped, own, scale).backward()
                loss_of(wrapped, own + 1, scale).backward()
            elif way in ("called twice", "accumulated"):
                (loss_of(wrapped, own) + loss_of(wrapped, own + 1)).backward()
            else:
                loss_of(wrapped, own).backward()
            twice = way in ("called twice", "accumulated")
            for shift in (0, 1) if twice else (0,):
                parts = [reference(x + shift).square().mean(dim=1).sum() for x in rows]
                (sum(parts) / sum(sizes)).backward()
            if way == "clipped":
                for each in (wrapped, reference):
                    nn.utils.clip_grad_norm_(each.parameters(), 0.1)
            tolerance = (
                {"rtol": 2e-2, "atol": 2e-2} if kind == "dtypes" else {"rtol": 1e-4, "atol": 1e-5}
            )
            assert_same_gradients(model, reference, **tolerance)


def loss_of(model, rows, scale=1.0):
    out = model(rows)
    # The mean over nothing is NaN, which counts as nothing.
    return out.sum() * 0.0 if scale == 0.0 else out.square().mean() * scale


def test_autocast(ctx):
    rows = rows_of_ranks(ctx.num_ranks)
    wrapped = wrap(SyncBatchNorm.convert_sync_batchnorm(batch_norm_net(), ctx), ctx)
    set_share(ctx, [len(x) for x in rows])
    with torch.autocast("cpu", torch.bfloat16):
        out = wrapped(rows[ctx.rank])
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert all(
        p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in wrapped.parameters()
    )


def test_wrapping_leaves_everything_alone(ctx):
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH))
    model[1].running_mean += 3
    parameter, heard = model[0].weight, []
    parameter.grad = torch.full_like(parameter, 7.0)
    parameter.register_hook(lambda grad: heard.append("gradient"))
    parameter.register_post_accumulate_grad_hook(lambda p: heard.append("accumulated"))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.no_grad():
        wrapped = wrap(model, ctx)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert torch.equal(parameter.grad, torch.full_like(parameter, 7.0)) and not heard
    assert model[0].bias.grad is None and wrapped.training
    wrapped(torch.ones(2, WIDTH)).sum().backward()
    assert heard == ["gradient", "accumulated"]


def test_nothing_to_train(ctx):
    torch.manual_seed(ctx.rank)
    frozen = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)).requires_grad_(False)
    frozen[1].running_mean += ctx.rank
    assert wrap(frozen, ctx) is frozen
    for tensor in frozen.state_dict().values():
        gathered = ctx.allgather_array(tensor.numpy())
        assert all(np.array_equal(other, gathered[0]) for other in gathered)
    without = nn.ReLU()
    assert wrap(without, ctx) is without


def test_models_that_are_refused(ctx):
    cases = [
        (nn.Sequential(PyGLinear(-1, WIDTH)), r"'0.weight' has no shape before the model's first"),
        (nn.Sequential(nn.Linear(WIDTH, 2), nn.SyncBatchNorm(2)), "'1' is torch's SyncBatchNorm"),
        (
            nn.Embedding(5 + (ctx.rank == ctx.num_ranks - 1), 2),
            rf"rank 0 has weight float32\[5, 2\] where rank {ctx.num_ranks - 1} has weight "
            r"float32\[6, 2\]",
        ),
        (
            nn.Sequential(nn.Linear(2, 2), *[nn.BatchNorm1d(2)] * (ctx.rank == 0)),
            r"rank 0 has 1.weight float32\[2\] where rank 1 has nothing more|0.weight",
        ),
    ]
    for model, message in cases:
        if ctx.num_ranks == 1:
            assert wrap(model, ctx) is model
            continue
        with pytest.raises(ConfigError, match=message):
            wrap(model, ctx)
    lazy = nn.Sequential(PyGLinear(-1, WIDTH), nn.LazyBatchNorm1d())
    with pytest.raises(ConfigError, match="'?1'? has no size yet"):
        SyncBatchNorm.convert_sync_batchnorm(lazy, ctx)
    with torch.no_grad():
        lazy(rows_of_ranks(4)[2])  # no vertices are enough
    wrapped = wrap(SyncBatchNorm.convert_sync_batchnorm(lazy, ctx), ctx)
    wrapped(rows_of_ranks(ctx.num_ranks)[ctx.rank]).sum().backward()
    if ctx.num_ranks > 1:
        with pytest.raises(ConfigError, match="needs the model before wrap"):
            SyncBatchNorm.convert_sync_batchnorm(wrapped, ctx)


def test_errors_that_name_a_remedy(ctx):
    if ctx.num_ranks == 1:
        return
    wrapped = wrap(Odd("unused"), ctx)
    wrapped(torch.ones(2, WIDTH)).sum().backward()
    with pytest.raises(ConfigError, match="'table.weight'; give wrap.*find_unused_parameters=True"):
        wrapped(torch.ones(2, WIDTH))
    wrapped = wrap(nn.BatchNorm1d(WIDTH), ctx)
    with pytest.raises(ConfigError, match=f"rank {ctx.rank} has one row.*convert_sync_batchnorm"):
        wrapped(torch.ones(1, WIDTH))
    wrapped = wrap(nn.InstanceNorm1d(WIDTH, affine=True), ctx)
    with pytest.raises(ConfigError, match="one vertex, of which instance normalization makes"):
        wrapped(torch.ones(WIDTH, 1))
    wrapped = wrap(nn.Linear(2, 2), ctx)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        wrapped(torch.ones(1, 3))


def batch_norm_net(dtype=torch.float32, **options):
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Linear(WIDTH, 6),
        nn.BatchNorm1d(6, **options),
        nn.Tanh(),
        nn.Linear(6, WIDTH),
        PyGBatchNorm(WIDTH, **options),
        nn.Tanh(),
        nn.Linear(WIDTH, 3),
    ).to(dtype)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net


@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_norm_over_all_ranks_is_that_of_one_process(ctx, dtype, options):
    """Seeds are some of the rows, as in minibatches; shares follow seeds, statistics rows."""
    reference = batch_norm_net(dtype, **options)
    model = SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(reference), ctx)
    assert list(model.state_dict()) == list(reference.state_dict())
    wrapped = wrap(model, ctx)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, reference)]
    for step in range(3):
        rows = rows_of_ranks(ctx.num_ranks, dtype, seed=step)
        seeds = [[2, 1, 0, 3], [4, 0, 0, 1], [1, 1, 0, 0]][step][: ctx.num_ranks]
        ends = np.cumsum([0] + [len(x) for x in rows])
        set_share(ctx, seeds)
        own = wrapped(rows[ctx.rank])
        together = reference(torch.cat(rows))
        close = (
            {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-4}
        )
        torch.testing.assert_close(own, together[ends[ctx.rank] : ends[ctx.rank + 1]], **close)
        # The mean over no seeds is NaN where a rank has rows of other ranks' seeds alone.
        loss = own[: seeds[ctx.rank]].square().sum() / torch.tensor(seeds[ctx.rank])
        chosen = [together[a : a + n] for a, n in zip(ends, seeds, strict=False)]
        expected = torch.cat(chosen).square().sum() / sum(seeds)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        expected.backward()
        assert_same_gradients(model, reference, **close)
        for optimizer in optimizers:
            optimizer.step()
        for ours, theirs in zip(model.buffers(), reference.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, **close)
    for each in (wrapped, reference):
        each.eval()
    own = torch.full((ctx.rank + 2, WIDTH), 0.5, dtype=dtype)  # no rank waits for another now
    if options.get("track_running_stats", True):
        torch.testing.assert_close(wrapped(own), reference(own), **close)
    else:
        wrapped(own)


def test_batch_norm_of_one_row_and_of_none(ctx):
    model = SyncBatchNorm.convert_sync_batchnorm(batch_norm_net(), ctx)
    wrapped = wrap(model, ctx)
    evaluated = copy.deepcopy(model).eval()
    for own in (torch.ones(0, WIDTH), torch.ones(int(ctx.rank == 0), WIDTH)):
        ctx.loss_weight = float(ctx.rank == 0)
        out = wrapped(own)
        torch.testing.assert_close(out, evaluated(own))
        out.sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    untracked = SyncBatchNorm(WIDTH, ctx, track_running_stats=False)
    assert untracked(torch.ones(0, WIDTH)).shape == (0, WIDTH)
    with pytest.raises(ConfigError, match="needs more than one row in all minibatches"):
        untracked(torch.ones(int(ctx.rank == 0), WIDTH))
    image = SyncBatchNorm(3, ctx)(torch.randn(2, 3, 5, 5) + ctx.rank)
    total = ctx.allreduce_sum(image.detach().sum(dim=(0, 2, 3)).numpy())
    np.testing.assert_allclose(total, np.zeros(3), atol=1e-3)
    with pytest.raises(ValueError, match="at least 2D input"):
        untracked(torch.ones(3))


def test_copies_and_files_of_converted_models(ctx):
    model = SyncBatchNorm.convert_sync_batchnorm(batch_norm_net(), ctx)
    again = SyncBatchNorm.convert_sync_batchnorm(model, ctx)
    assert again is model
    assert isinstance(SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(2), ctx), SyncBatchNorm)
    own = rows_of_ranks(ctx.num_ranks)[ctx.rank]
    expected = copy.deepcopy(model)(own)
    torch.testing.assert_close(model(own), expected)
    loaded = copy.deepcopy(model)
    for module in loaded.modules():
        if isinstance(module, SyncBatchNorm):
            make, arguments = module._job.__reduce__()  # as a file has it
            module._job = make(*arguments)
    torch.testing.assert_close(loaded.eval()(own), model.eval()(own))
    with pytest.raises(ConfigError, match="belongs to no job; give the model to"):
        loaded.train()(own)
    compiled = torch.compile(model.train(), backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler looks at gradients of what has none
        assert compiled(own).shape == (len(own), 3)


class WithBuffers(nn.Module):
    """Buffers of every kind, which ranks have changed in their own ways."""

    def __init__(self, rank):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.instances = nn.InstanceNorm1d(2, track_running_stats=True)
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("seen", torch.zeros(3, dtype=torch.bool), persistent=False)
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64))
        self.register_buffer("low", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("third", torch.full((2,), 1 / 3))
        self.register_buffer("own", torch.zeros(rank + 1))
        self._ddp_params_and_buffers_to_ignore = ["own"]

    def change(self, rank):
        self.norm.running_mean.fill_(rank + 1.0)
        self.norm.running_var.fill_(rank + 2.0)
        self.instances.running_mean.fill_(rank + 1.0)
        self.instances.running_var.fill_(rank + 2.0)
        self.steps.fill_(10 + rank)
        self.seen[min(rank, 2)] = True
        self.phase.mul_(1 + 1j * rank)
        self.low.add_(rank)
        self.own.fill_(rank)

    def forward(self, x):
        return x * self.weight


def test_buffers_become_one_state(ctx):
    model = WithBuffers(ctx.rank)
    wrapped = wrap(model, ctx)
    model.change(ctx.rank)
    sizes = [1, 3, 0, 4][: ctx.num_ranks]
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for step_sizes in ([1] * ctx.num_ranks, sizes):
        # Two steps after each of which buffers are brought together: the second finds the first.
        set_share(ctx, step_sizes)
        if step_sizes is sizes:
            model.change(ctx.rank)
            model.phase.copy_(before["phase"])
            model.low.copy_(before["low"])
            if not sizes[ctx.rank]:
                model.norm.running_mean.fill_(torch.nan)
        wrapped(torch.ones(2))
        sync_buffers(wrapped, ctx)
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    if ctx.num_ranks == 1:
        assert all(torch.equal(state[name], before[name]) for name in state)
        return
    ranks, share = np.arange(ctx.num_ranks), np.array(sizes) / sum(sizes)
    mean = share @ (ranks + 1)
    inside = share @ (ranks + 2)
    expected = {
        "norm.running_mean": mean,
        "norm.running_var": inside + share @ (ranks + 1 - mean) ** 2,
        "instances.running_mean": mean,
        "instances.running_var": inside,
        "steps": 10,
        "phase": 1 + 1j * (share @ ranks),
        "low": 1 + share @ ranks,
        "third": np.float32(1 / 3),
        "norm.num_batches_tracked": 0,
    }
    for name, value in expected.items():
        tolerance = 1e-2 if name == "low" else 1e-6
        actual = state[name].to(torch.complex128).numpy()
        np.testing.assert_allclose(actual, np.full(actual.shape, value), rtol=tolerance)
    assert state["seen"].tolist() == [True, False, False]
    assert state["own"].tolist() == [ctx.rank] * (ctx.rank + 1)
    del state["own"]
    plain = b"".join(
        buffer.reshape(-1).view(torch.uint8).numpy().tobytes() for buffer in state.values()
    )
    assert len(set(ctx.allgather_json(plain.hex()))) == 1
    # Nothing was trained: rank 0's.
    model.norm.running_mean.fill_(ctx.rank)
    sync_buffers(model, ctx)
    assert model.norm.running_mean.tolist() == [0, 0]
    del model._ddp_params_and_buffers_to_ignore
    with pytest.raises(
        ConfigError, match=r"rank 0 has own float32\[1\] where rank 1 has own float32\[2\]"
    ):
        sync_buffers(model, ctx)


class BatchNormSAGE(nn.Module):
    num_layers = 2

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([SAGEConv(7, 8), SAGEConv(8, NUM_CLASSES)])
        self.norm = PyGBatchNorm(8)

    def layer(self, index, x, edge_index):
        x = self.convs[index](x, edge_index)
        return self.norm(x).relu() if index == 0 else x

    def forward(self, x, edge_index):
        return self.layer(1, self.layer(0, x, edge_index), edge_index)


def test_evaluation_and_checkpoints_have_one_state(ctx, parts, tmp_path):
    """A run that goes on from a checkpoint ends as one that was never interrupted, bit by bit."""
    graph = gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks), ctx)
    loader = DistNeighborLoader(graph, "train", fanout=[3, 2], batch_size=20)
    folder = ctx.broadcast_json(str(tmp_path))

    def begin():
        torch.manual_seed(0)
        wrapped = wrap(BatchNormSAGE(), ctx)
        optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
        state = TrainingState(graph=graph, model=wrapped, loader=loader, shared={"adam": optimizer})
        return wrapped, optimizer, state

    def train(wrapped, optimizer, epoch):
        loader.set_epoch(epoch)
        for batch in loader:
            out = wrapped(batch.x, batch.edge_index)[: batch.batch_size]
            optimizer.zero_grad()
            functional.cross_entropy(out, batch.y).backward()
            optimizer.step()

    def state_of_ranks(model):
        flat = torch.cat([tensor.reshape(-1).double() for tensor in model.state_dict().values()])
        return ctx.allgather_array(flat.numpy())

    wrapped, optimizer, state = begin()
    train(wrapped, optimizer, 0)
    gathered = state_of_ranks(unwrap(wrapped))
    assert ctx.num_ranks == 1 or not np.array_equal(gathered[0], gathered[1])
    save_checkpoint(f"{folder}/saved", state, Position(epoch=1))
    saved = state_of_ranks(unwrap(wrapped))
    assert all(np.array_equal(other, saved[0]) for other in saved)
    train(wrapped, optimizer, 1)
    scores = evaluate(wrapped, graph)
    final = state_of_ranks(unwrap(wrapped))
    assert all(np.array_equal(other, final[0]) for other in final)

    wrapped, optimizer, state = begin()
    assert load_checkpoint(f"{folder}/saved", state).position.epoch == 1
    assert np.array_equal(state_of_ranks(unwrap(wrapped))[0], saved[0])
    train(wrapped, optimizer, 1)
    assert evaluate(wrapped, graph) == scores
    assert np.array_equal(state_of_ranks(unwrap(wrapped))[0], final[0])


@pytest.mark.parametrize("size", [0, 1, 3, 1000])
def test_gradients_in_half_the_bytes_are_rounded_twice(ctx, size):
    """Whatever the ranks: to bfloat16 on the way out, and as the sum on the way back."""
    generator = torch.Generator().manual_seed(size)
    of_ranks = torch.randn(ctx.num_ranks, size + 1, generator=generator)
    model = nn.Linear(size + 1, 1, bias=False)
    wrapped = wrap(model, ctx, gradient_dtype="bfloat16")
    ctx.loss_weight = 1.0
    wrapped(of_ranks[ctx.rank : ctx.rank + 1]).sum().backward()
    found = model.weight.grad[0]
    if ctx.num_ranks == 1:
        assert torch.equal(found, of_ranks[0])
        return
    expected = of_ranks.bfloat16().float().sum(dim=0).bfloat16().float()
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-6)
    assert torch.equal(found, found.bfloat16().float())
    alike = ctx.allgather_json(found.tolist())
    assert all(other == alike[0] for other in alike)


def test_gradients_in_half_the_bytes_of_other_types_travel_as_they_are(ctx):
    torch.manual_seed(0)
    odd = nn.Embedding(5, 3, sparse=True)
    model = nn.ModuleDict({"odd": odd, "wide": nn.Linear(3, 3).double(), "plain": nn.Linear(3, 2)})

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = copy.deepcopy(model)

        def forward(self, ids):
            rows = self.parts["odd"](ids)
            return self.parts["plain"](self.parts["wide"](rows.double()).float())

    ids = torch.tensor([[0, 1], [1, 2], [3, 3], [4, 0]])[: ctx.num_ranks]
    exact, halves = Net(), Net()
    wrapped = wrap(exact, ctx), wrap(halves, ctx, gradient_dtype="bfloat16")
    for each in wrapped:
        ctx.loss_weight = 1 / ctx.num_ranks
        each(ids[ctx.rank]).square().mean().backward()
    assert_same_gradients(halves.parts["odd"], exact.parts["odd"], rtol=0, atol=0)
    assert_same_gradients(halves.parts["wide"], exact.parts["wide"], rtol=0, atol=0)
    assert_same_gradients(halves.parts["plain"], exact.parts["plain"], rtol=2**-6, atol=1e-5)


def test_gradients_in_half_the_bytes_that_are_no_numbers_stay_none(ctx):
    model = nn.Linear(3, 1, bias=False)
    wrapped = wrap(model, ctx, gradient_dtype="bfloat16")
    ctx.loss_weight = 1.0
    rows = torch.tensor([[1.0, float("nan"), float("inf")]])
    wrapped(rows if ctx.rank == 0 else torch.ones(1, 3)).sum().backward()
    found = model.weight.grad[0]
    assert found[0] == ctx.num_ranks and found[1].isnan() and found[2].isinf()
    with pytest.raises(ConfigError, match="gradient_dtype must be one of float32, bfloat16"):
        wrap(nn.Linear(2, 2), ctx, gradient_dtype="int8")


def test_training_with_gradients_in_half_the_bytes(ctx, parts):
    """Replicas stay alike, empty batches and accumulation work, and losses stay near."""
    graph = gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)
    losses = {}
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = wrap(nn.Linear(7, NUM_CLASSES), ctx, gradient_dtype=dtype)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loader = DistNeighborLoader(graph, "train", [2], 3, seed=1)
        losses[dtype] = []
        for batch in loader:
            optimizer.zero_grad()
            out = model(batch.x)[: batch.batch_size]
            loss = functional.cross_entropy(out, batch.y) if batch.batch_size else out.sum() * 0
            loss.backward()
            optimizer.step()
            losses[dtype].append(float(ctx.allreduce_sum(np.array([loss.item()]))[0]))
        weights = unwrap(model).weight.detach().flatten().tolist()
        assert all(other == weights for other in ctx.allgather_json(weights))
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert (losses["bfloat16"] == losses["float32"]) == (ctx.num_ranks == 1)
