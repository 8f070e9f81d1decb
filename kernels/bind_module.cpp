// Defines the Python module gnnflow._kernels out of the groups declared in bind_all.h.
#include "bind_all.h"

PYBIND11_MODULE(_kernels, module) {
  module.doc() = "Compiled kernels of gnnflow: sampling, relabelling, gathering and aggregation.";
  gnnflow::bind_aggregation(module);
  gnnflow::bind_cache(module);
  gnnflow::bind_gather(module);
  gnnflow::bind_partition(module);
  gnnflow::bind_row_plan(module);
  gnnflow::bind_sampling(module);
  gnnflow::bind_wire(module);
}
