"""Names for arrays, by what they hold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
"""Ids of vertices or edges."""
IntArray = NDArray[np.int64]
"""Whole numbers: counts, offsets, positions."""
FloatArray = NDArray[np.float64]
"""Numbers that are computed with."""
Rows = NDArray[Any]
"""Rows of features or of anything else, of any type."""
ByteArray = NDArray[np.uint8]
"""Bytes of a message."""
Mask = NDArray[np.bool_]
"""Which of several things are meant."""
Keys = NDArray[np.int32]
"""Numbers that the halo cache has for vertices."""
Slots = NDArray[np.int32]
"""Places of rows in the halo cache."""
PartNumbers = NDArray[np.int32]
"""The part of each vertex."""
