// Declares the functions that add each group of kernels to the Python module.
#pragma once

#include <pybind11/pybind11.h>

namespace gnnflow {

void bind_aggregation(pybind11::module_& module);
void bind_cache_books(pybind11::module_& module);
void bind_cache_index(pybind11::module_& module);
void bind_ldg(pybind11::module_& module);
void bind_neighbor_lists(pybind11::module_& module);
void bind_rows(pybind11::module_& module);
void bind_sampling(pybind11::module_& module);
void bind_topology(pybind11::module_& module);
void bind_wire(pybind11::module_& module);

}  // namespace gnnflow
