// The topology as Python holds it, shared by the bindings of itself and of the samplers.
#pragma once

#include <memory>
#include <shared_mutex>
#include <vector>

#include "bind_numpy.h"
#include "topology.h"

namespace gnnflow {

// A topology with the Python arrays that its pointers borrow from. The mutex is taken without the
// GIL; the lists of arrays are changed under both.
struct PyTopology {
  std::shared_mutex mutex;
  std::shared_ptr<Topology> core;
  std::vector<py::object> parts;
  std::vector<py::object> halo;
  std::vector<py::object> source_keys;  // by adjacency; none where not set
};

}  // namespace gnnflow
