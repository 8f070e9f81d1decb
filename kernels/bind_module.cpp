// Defines the Python module gnnflow._kernels out of the groups declared in bind_all.h.
#include "bind_all.h"

PYBIND11_MODULE(_kernels, module) {
  module.doc() = "Compiled kernels of gnnflow: sampling, relabelling, gathering and aggregation.";
  gnnflow::bind_aggregation(module);
  gnnflow::bind_cache_index(module);
  gnnflow::bind_cache_books(module);  // after its base
  gnnflow::bind_ldg(module);
  gnnflow::bind_neighbor_lists(module);
  gnnflow::bind_rows(module);
  gnnflow::bind_topology(module);
  gnnflow::bind_sampling(module);  // after its topology
  gnnflow::bind_wire(module);
}
