// Python bindings of the streaming partitioner; see ldg.h.
#include "bind_all.h"
#include "bind_ids.h"
#include "ldg.h"

namespace gnnflow {
namespace {

// Checks what both passes take and calls pass(graph, order, capacity, num_parts, part, load).
template <typename Pass>
int64_t run_pass(const py::array& indptr, const py::array& neighbors, const py::array& weights,
                 const py::array& order, const py::array_t<double>& capacity, py::array& part,
                 py::array& load, const Pass& pass) {
  const int64_t* lists = borrow_indptr(indptr, neighbors.size(), "indptr");
  const int64_t num_vertices = indptr.size() - 1;
  const int64_t num_constraints = capacity.size();
  check_ids(neighbors, num_vertices, "neighbors");
  check_ids(order, num_vertices, "order");
  check_size(order, num_vertices, "order");
  check_size(weights, num_vertices * num_constraints, "weights");
  check_size(part, num_vertices, "part");
  const int32_t* weight = borrow<int32_t>(weights, "weights");
  int32_t* where = borrow_out<int32_t>(part, "part");
  int64_t* filled = borrow_out<int64_t>(load, "load");
  const int64_t num_parts = num_constraints ? load.size() / num_constraints : 0;
  if (num_parts < 1 || load.size() % num_constraints != 0) {
    throw py::value_error("load must have a row of " + std::to_string(num_constraints) +
                          " constraints per part, got " + std::to_string(load.size()) + " entries");
  }
  return dispatch_ids(neighbors, "neighbors", [&](auto* type) {
    using Id = std::remove_pointer_t<decltype(type)>;
    const StreamedGraph<Id> graph{lists, borrow<Id>(neighbors, "neighbors"), weight, num_vertices,
                                  num_constraints};
    const Id* stream = borrow<Id>(order, "order");
    const double* limits = capacity.data();
    py::gil_scoped_release nogil;
    return pass(graph, stream, limits, num_parts, where, filled);
  });
}

int64_t py_ldg_pass(const py::array& indptr, const py::array& neighbors, const py::array& weights,
                    const py::array& order, const py::array_t<double>& capacity, py::array& part,
                    py::array& load) {
  return run_pass(
      indptr, neighbors, weights, order, capacity, part, load,
      [](const auto& graph, auto* stream, auto* limits, auto num_parts, auto* where, auto* filled) {
        return ldg_pass(graph, stream, limits, num_parts, where, filled);
      });
}

int64_t py_rebalance_pass(const py::array& indptr, const py::array& neighbors,
                          const py::array& weights, const py::array& order,
                          const py::array_t<double>& capacity, int64_t max_loss, py::array& part,
                          py::array& load) {
  return run_pass(indptr, neighbors, weights, order, capacity, part, load,
                  [max_loss](const auto& graph, auto* stream, auto* limits, auto num_parts,
                             auto* where, auto* filled) {
                    return rebalance_pass(graph, stream, limits, max_loss, num_parts, where,
                                          filled);
                  });
}

}  // namespace

void bind_ldg(py::module_& module) {
  module.def("ldg_pass", &py_ldg_pass, py::arg("indptr"), py::arg("neighbors"), py::arg("weights"),
             py::arg("order"), py::arg("capacity"), py::arg("part"), py::arg("load"));
  module.def("rebalance_pass", &py_rebalance_pass, py::arg("indptr"), py::arg("neighbors"),
             py::arg("weights"), py::arg("order"), py::arg("capacity"), py::arg("max_loss"),
             py::arg("part"), py::arg("load"));
}

}  // namespace gnnflow
