"""The `random` method: chance, with equal numbers of vertices and train seeds."""

import numpy as np
import numpy.typing as npt


def cut_randomly(
    is_train: npt.NDArray[np.bool_], num_parts: int, seed: int
) -> npt.NDArray[np.int32]:
    """Deals vertices out to parts in random order.

    Train seeds are dealt first and the others go on where they ended, so that both numbers
    differ by at most one between parts.

    Args:
        is_train: `[num_vertices]`.
        num_parts: Number of parts.
        seed: Seed of the order.

    Returns:
        int32 `[num_vertices]`: the part of each vertex.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(is_train))
    trains_first = shuffled[np.argsort(~is_train[shuffled], kind="stable")]
    part = np.empty(len(is_train), dtype=np.int32)
    part[trains_first] = np.arange(len(is_train), dtype=np.int64) % num_parts
    return part
