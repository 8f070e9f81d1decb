"""Files that a folder's own description names must lie in that folder."""

from pathlib import Path


def lies_inside(folder: Path, path: Path) -> bool:
    """Whether a path is in a folder once `..` and symbolic links are followed.

    The folder itself may be reached by a link. A description that came from elsewhere could
    otherwise have any file of this machine read as part of a graph.
    """
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name with a null byte
        return False
