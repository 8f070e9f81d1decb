// Python bindings of the topology; see topology.h.
#include "bind_topology.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "bind_all.h"
#include "keyed_draw.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

Adjacency borrow_adjacency(const py::array& indptr, const py::array& indices,
                           const std::optional<py::array>& original_id,
                           const std::optional<py::array>& edge_id,
                           const std::optional<py::array>& weight) {
  Adjacency adjacency;
  adjacency.indptr = borrow<int64_t>(indptr, "indptr");
  if (indptr.size() < 1) throw py::value_error("indptr must have at least one entry, got 0");
  adjacency.num_vertices = indptr.size() - 1;
  adjacency.num_edges = indices.size();
  adjacency.wide = !indices.dtype().is(py::dtype::of<int32_t>());
  adjacency.indices = adjacency.wide
                          ? static_cast<const void*>(borrow<int64_t>(indices, "indices"))
                          : static_cast<const void*>(borrow<int32_t>(indices, "indices"));
  if (original_id) {
    adjacency.original_id = borrow<int64_t>(*original_id, "original_id");
    if (original_id->size() != adjacency.num_vertices) {
      throw py::value_error("original_id must have one entry per vertex: expected " +
                            std::to_string(adjacency.num_vertices) + ", got " +
                            std::to_string(original_id->size()));
    }
  }
  if (edge_id) {
    adjacency.edge_id = borrow<int64_t>(*edge_id, "edge_id");
    if (edge_id->size() != adjacency.num_edges) {
      throw py::value_error("edge_id must have one entry per edge: expected " +
                            std::to_string(adjacency.num_edges) + ", got " +
                            std::to_string(edge_id->size()));
    }
  }
  if (weight) {
    adjacency.weight = borrow<float>(*weight, "weight");
    if (weight->size() != adjacency.num_edges) {
      throw py::value_error("weight must have one entry per edge: expected " +
                            std::to_string(adjacency.num_edges) + ", got " +
                            std::to_string(weight->size()));
    }
  }
  return adjacency;
}

// Changes the topology while no sampler reads it.
template <typename Change>
void change(PyTopology& topology, const Change& body) {
  py::gil_scoped_release nogil;
  const std::unique_lock<std::shared_mutex> writing(topology.mutex);
  body(*topology.core);
}

void set_part(PyTopology& self, int64_t part, const py::array& indptr, const py::array& indices,
              const std::optional<py::array>& original_id, const std::optional<py::array>& edge_id,
              int64_t first_edge, const std::optional<py::array>& weight) {
  Adjacency adjacency = borrow_adjacency(indptr, indices, original_id, edge_id, weight);
  adjacency.first_edge = first_edge;
  change(self, [&](Topology& topology) { topology.set_part(part, adjacency); });
  self.parts[part] = py::make_tuple(indptr, indices, original_id, edge_id, weight);
}

void change_halo(PyTopology& self, bool clear, const py::array& vertex_ids, const py::array& indptr,
                 const py::array& indices, const py::array& original_id,
                 const std::optional<py::array>& edge_id, const std::optional<py::array>& weight) {
  const int64_t* const vertices = borrow<int64_t>(vertex_ids, "vertex_ids");
  const Adjacency adjacency = borrow_adjacency(indptr, indices, original_id, edge_id, weight);
  if (vertex_ids.size() != adjacency.num_vertices) {
    throw py::value_error("indptr must have one entry more than vertex_ids: expected " +
                          std::to_string(vertex_ids.size() + 1) + ", got " +
                          std::to_string(indptr.size()));
  }
  change(self, [&](Topology& topology) {
    if (clear) topology.clear_halo();
    topology.add_halo(vertices, adjacency);
  });
  if (clear) {
    self.halo.clear();
    self.source_keys.resize(std::min(self.source_keys.size(), self.parts.size()));
  }
  self.halo.push_back(py::make_tuple(vertex_ids, indptr, indices, original_id, edge_id, weight));
}

void set_halo(PyTopology& self, const py::array& vertex_ids, const py::array& indptr,
              const py::array& indices, const py::array& original_id,
              const std::optional<py::array>& edge_id, const std::optional<py::array>& weight) {
  change_halo(self, true, vertex_ids, indptr, indices, original_id, edge_id, weight);
}

void add_halo(PyTopology& self, const py::array& vertex_ids, const py::array& indptr,
              const py::array& indices, const py::array& original_id,
              const std::optional<py::array>& edge_id, const std::optional<py::array>& weight) {
  change_halo(self, false, vertex_ids, indptr, indices, original_id, edge_id, weight);
}

void set_source_keys(PyTopology& self, int64_t index, const py::array& keys) {
  const uint32_t* const entries = borrow<uint32_t>(keys, "source_keys");
  const int64_t size = keys.size();
  change(self, [&](Topology& topology) { topology.set_source_keys(index, entries, size); });
  if (self.source_keys.size() <= static_cast<size_t>(index)) self.source_keys.resize(index + 1);
  self.source_keys[index] = keys;
}

// The source keys of neighbour lists: what stands for the source of each entry in draws by key.
void source_keys(const py::array& indptr, const py::array& indices, int64_t first_id,
                 const py::array& original_id, const py::array& outer_ids,
                 const py::array& outer_original_id, py::array& keys, int num_threads) {
  check_num_threads(num_threads);
  const Adjacency lists =
      borrow_adjacency(indptr, indices, std::nullopt, std::nullopt, std::nullopt);
  SourceIds ids;
  ids.first_id = first_id;
  ids.num_inner = original_id.size();
  ids.original_id = borrow<int64_t>(original_id, "original_id");
  ids.outer_ids = borrow<int64_t>(outer_ids, "outer_ids");
  ids.outer_original_id = borrow<int64_t>(outer_original_id, "outer_original_id");
  ids.num_outer = outer_ids.size();
  if (outer_original_id.size() != ids.num_outer) {
    throw py::value_error("outer_original_id must have one entry per outer id: expected " +
                          std::to_string(ids.num_outer) + ", got " +
                          std::to_string(outer_original_id.size()));
  }
  borrow<uint32_t>(keys, "keys");
  if (keys.size() != lists.num_edges) {
    throw py::value_error("keys must have one entry per edge: expected " +
                          std::to_string(lists.num_edges) + ", got " + std::to_string(keys.size()));
  }
  uint32_t* const out = static_cast<uint32_t*>(keys.mutable_data());
  py::gil_scoped_release nogil;
  if (lists.wide) {
    write_source_keys(lists.indptr, static_cast<const int64_t*>(lists.indices), lists.num_vertices,
                      ids, num_threads, out);
  } else {
    write_source_keys(lists.indptr, static_cast<const int32_t*>(lists.indices), lists.num_vertices,
                      ids, num_threads, out);
  }
}

py::array_t<bool> is_local(PyTopology& topology, const py::array& ids) {
  const py::array_t<int64_t> vertices = int64_array(ids, "ids");
  py::array_t<bool> result(vertices.size());
  bool* out = result.mutable_data();
  const int64_t* id = vertices.data();
  const py::ssize_t size = vertices.size();
  {
    py::gil_scoped_release nogil;
    const std::shared_lock<std::shared_mutex> reading(topology.mutex);
    topology.core->find_local(id, size, out);
  }
  return result;
}

}  // namespace

void bind_topology(py::module_& module) {
  py::class_<PyTopology, std::shared_ptr<PyTopology>>(module, "Topology")
      .def(py::init([](const py::array& offsets) {
             auto core = std::make_shared<Topology>(to_vector(offsets, "offsets"));
             auto topology = std::make_shared<PyTopology>();
             topology->parts.resize(core->num_parts());
             topology->core = std::move(core);
             return topology;
           }),
           py::arg("offsets"))
      .def_property_readonly("num_parts", [](const PyTopology& t) { return t.core->num_parts(); })
      .def_property_readonly("num_vertices",
                             [](const PyTopology& t) { return t.core->num_vertices(); })
      .def("set_part", &set_part, py::arg("part"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id") = py::none(), py::arg("edge_id") = py::none(),
           py::arg("first_edge") = -1, py::arg("weight") = py::none())
      .def("set_halo", &set_halo, py::arg("vertex_ids"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id"), py::arg("edge_id") = py::none(), py::arg("weight") = py::none())
      .def("add_halo", &add_halo, py::arg("vertex_ids"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id"), py::arg("edge_id") = py::none(), py::arg("weight") = py::none())
      .def("set_source_keys", &set_source_keys, py::arg("index"), py::arg("source_keys"))
      .def("is_local", &is_local, py::arg("ids"));

  module.def("source_keys", &source_keys, py::arg("indptr"), py::arg("indices"),
             py::arg("first_id"), py::arg("original_id"), py::arg("outer_ids"),
             py::arg("outer_original_id"), py::arg("keys"), py::arg("num_threads") = 1);
}

}  // namespace gnnflow
