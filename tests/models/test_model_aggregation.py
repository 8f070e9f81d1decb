"""The kernels' sums and means against plain indexing, and their gradients."""

import pytest
import torch
from model_graphs import Graph

from gnnflow.models import aggregate, layer_adjacencies
from gnnflow.models.aggregation import runs_on_kernels, sage_layer


def plain(x, adjacency, reduce):
    src, dst = adjacency.edge_index()
    out = x.new_zeros(adjacency.num_dst, x.shape[1]).index_add(0, dst, x[src])
    if reduce == "mean":
        out = out / adjacency.indptr.diff().clamp(min=1)[:, None]
    return out


def adjacencies(fanout, seeds=(3, 7, 40, 59, 0)):
    sample = Graph.random().sample(list(seeds), fanout)
    return layer_adjacencies(sample.edge_index, sample.num_sampled_nodes)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [1, 7, 16, 100])
@pytest.mark.parametrize("fanout", [[-1, -1], [2, 3, 2], [1]])
def test_value_and_gradient(reduce, dtype, dim, fanout):
    for adjacency in adjacencies(fanout):
        x = torch.randn(adjacency.num_src, dim, dtype=dtype, requires_grad=True)
        upstream = torch.randn(adjacency.num_dst, dim, dtype=dtype)
        ours, theirs = aggregate(x, adjacency, reduce), plain(x, adjacency, reduce)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        [our_gradient] = torch.autograd.grad(ours, x, upstream)
        [their_gradient] = torch.autograd.grad(theirs, x, upstream)
        torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_gradient_against_differences(reduce):
    adjacency = adjacencies([2, 3])[0]
    x = torch.randn(adjacency.num_src, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: aggregate(rows, adjacency, reduce), x)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_rows_that_are_not_contiguous(reduce):
    adjacency = adjacencies([2, 3])[1]
    x = torch.randn(4, adjacency.num_src, requires_grad=True)
    ours, theirs = aggregate(x.T, adjacency, reduce), plain(x.T, adjacency, reduce)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(4, adjacency.num_dst).T
    [our_gradient] = torch.autograd.grad(ours, x, upstream)
    [their_gradient] = torch.autograd.grad(theirs, x, upstream)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=1e-5)


def sage_arguments(num_src, dim_in=3, dim_out=4):
    shapes = [(num_src, dim_in), (dim_out, dim_in), (dim_out,), (dim_out, dim_in)]
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, dtype=torch.float64, generator=draw, requires_grad=True)
        for shape in shapes
    ]


def test_sage_layer_and_its_gradient_against_differences():
    adjacency = adjacencies([2, 3])[0]
    x, neighbor, bias, own = arguments = sage_arguments(adjacency.num_src)
    mean = plain(x, adjacency, "mean")
    expected = mean @ neighbor.T + bias + x[: adjacency.num_dst] @ own.T
    torch.testing.assert_close(sage_layer(x, adjacency, neighbor, bias, own), expected)
    assert torch.autograd.gradcheck(
        lambda x, *weights: sage_layer(x, adjacency, *weights), arguments
    )


def test_nothing_to_aggregate():
    for adjacency in adjacencies([2, 3], seeds=[]):
        x = torch.randn(0, 5, requires_grad=True)
        out = aggregate(x, adjacency, "mean")
        assert out.shape == (0, 5)
        assert torch.autograd.grad(out.sum(), x)[0].shape == (0, 5)


def test_no_gradient_is_computed_for_features():
    """The first layer's transpose is never made."""
    adjacency = adjacencies([2, 3])[0]
    assert adjacency.by_source is None
    scale = torch.ones(1, requires_grad=True)
    (aggregate(torch.randn(adjacency.num_src, 3), adjacency, "sum") * scale).sum().backward()
    assert adjacency.by_source is None and scale.grad is not None


def test_which_rows_the_kernels_take():
    assert runs_on_kernels(torch.zeros(1)) and runs_on_kernels(torch.zeros(1).double())
    assert not runs_on_kernels(torch.zeros(1).half())
    assert not runs_on_kernels(torch.zeros(1, device="meta"))
