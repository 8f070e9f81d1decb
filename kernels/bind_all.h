// Declares the functions that add each group of kernels to the Python module.
#pragma once

#include <pybind11/pybind11.h>

namespace gnnflow {

void bind_aggregation(pybind11::module_& module);
void bind_cache(pybind11::module_& module);
void bind_cache_books(pybind11::module_& module);
void bind_gather(pybind11::module_& module);
void bind_partition(pybind11::module_& module);
void bind_row_plan(pybind11::module_& module);
void bind_sampling(pybind11::module_& module);
void bind_wire(pybind11::module_& module);

}  // namespace gnnflow
