"""What a batch's loss counts with, carried by its tensors from the loader to the model."""

from torch import Tensor
from torch.utils import _pytree as pytree
from torch_geometric.data.data import BaseData

_MARK = "_gnnflow_loss_weight"


def mark_batch(batch: object, weight: float) -> None:
    """Notes on every tensor of a batch which share of its step's seeds this rank has.

    Args:
        batch: what the loader yields: a `Data`, or what a `transform` made of it, such as a tuple.
        weight: the share.
    """
    held = (
        [list(store.values()) for store in batch.stores] if isinstance(batch, BaseData) else batch
    )
    for leaf in pytree.tree_leaves(held):
        if isinstance(leaf, Tensor):
            setattr(leaf, _MARK, weight)


def marked_weight(inputs: object) -> float | None:
    """The weight of the batch that inputs of a model come from.

    Args:
        inputs: arguments of a call: tensors of a batch or views of them, the batch itself, or
            collections of these. Copies, as on another device, carry nothing.

    Returns:
        The weight, or None if no loader yielded any of them.
    """
    for leaf in pytree.tree_leaves(inputs):
        if isinstance(leaf, BaseData):
            weight = getattr(leaf, "loss_weight", None)
        elif isinstance(leaf, Tensor):
            weight = getattr(leaf, _MARK, None)
            if weight is None and leaf._base is not None:
                weight = getattr(leaf._base, _MARK, None)
        else:
            continue
        if weight is not None:
            return float(weight)
    return None
