"""Starting ranks, telling how one died, and what a launcher says of itself."""

from gnnflow.launch.environment import Launch, detect_launch
from gnnflow.launch.mpiexec import launch

__all__ = ["Launch", "detect_launch", "launch"]
