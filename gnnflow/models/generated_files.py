"""Takes away the files that PyG's layers write into the folder for temporary ones."""

import contextlib
import linecache
import os
import sys
import tempfile


def remove_generated_files() -> None:
    """Removes the source files of PyG's generated modules, which have been loaded from them.

    PyG writes one for each kind of layer and process and never removes it. What they say stays
    known to tracebacks and to TorchScript, which read it through `linecache`.
    """
    folder = tempfile.gettempdir()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        generated = os.path.join(folder, f"{name}_")
        if not (name.startswith("torch_geometric.") and path.startswith(generated)):
            continue
        lines = linecache.getlines(path)
        if not lines:
            continue
        # Without a time of change an entry is never looked for on the disk again.
        linecache.cache[path] = (sum(map(len, lines)), None, lines, path)
        for left in (path, getattr(module, "__cached__", None)):
            with contextlib.suppress(OSError, TypeError):
                os.unlink(left)  # type: ignore[arg-type]
