"""Builds gnnflow: the library, the partitioner beside it and the C++ kernels."""

import os
import sys
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import find_packages, setup

# GNNFLOW_SANITIZE=address|undefined|thread builds instrumented kernels (see `make sanitize`).
sanitizer = os.environ.get("GNNFLOW_SANITIZE", "")
# GNNFLOW_NATIVE=0 builds kernels that run on any processor of this architecture.
native = os.environ.get("GNNFLOW_NATIVE", "1") == "1" and sys.platform == "linux"

compile_args = ["-O3", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"]
link_args = ["-pthread"]
if native:
    compile_args.append("-march=native")
if sanitizer:
    flags = [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer", "-g"]
    compile_args = ["-O1", "-pthread", "-Wall", "-Wextra", *flags]
    link_args += flags

ParallelCompile("GNNFLOW_BUILD_JOBS", default=os.cpu_count() or 1).install()

setup(
    packages=find_packages(include=["gnnflow", "gnnflow.*"], exclude=["gnnflow.partition*"])
    + ["gnnflow.partition"],
    package_dir={"": "."},
    include_package_data=False,
    package_data={
        "gnnflow": ["py.typed", "_kernels.pyi"],
        "gnnflow.datasets": ["data/*"],
        "gnnflow.policies.classifier": ["pretrained/*/*"],
        "gnnflow.policies.llm": ["*.jsonl", "*.jinja", "smollm2-135m-tuned/*"],
        "gnnflow.report": ["templates/*", "uplot/*"],
    },
    ext_modules=[
        Pybind11Extension(
            "gnnflow._kernels",
            sorted(glob("kernels/*.cpp")),
            include_dirs=["kernels"],
            depends=sorted(glob("kernels/*.h")),
            cxx_std=17,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ],
)
