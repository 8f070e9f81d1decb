// Python bindings of the topology and the samplers.
#include <pybind11/stl.h>

#include "bindings.h"
#include "numpy_arrays.h"
#include "sampler.h"
#include "topology.h"

namespace gnnflow {
namespace {

// A topology with the Python arrays that its pointers borrow from.
struct PyTopology {
  std::shared_ptr<Topology> core;
  std::vector<py::object> parts;
  std::vector<py::object> halo;
};

Adjacency borrow_adjacency(const py::array& indptr, const py::array& indices,
                           const std::optional<py::array>& original_id,
                           const std::optional<py::array>& edge_id) {
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
  return adjacency;
}

struct SampledArrays {
  py::array_t<int64_t> vertices, indptr, src;
  py::object edge_ids;
  std::vector<int64_t> num_sampled_vertices, num_sampled_edges;
  int64_t num_seeds;
};

SampledArrays to_arrays(Sample&& sample) {
  SampledArrays arrays;
  arrays.vertices = to_numpy(std::move(sample.vertices));
  arrays.indptr = to_numpy(std::move(sample.indptr));
  arrays.src = to_numpy(std::move(sample.src));
  arrays.edge_ids = py::none();
  if (sample.with_edge_ids) arrays.edge_ids = to_numpy(std::move(sample.edge_ids));
  arrays.num_seeds = sample.num_sampled_vertices.front();
  arrays.num_sampled_vertices = std::move(sample.num_sampled_vertices);
  arrays.num_sampled_edges = std::move(sample.num_sampled_edges);
  return arrays;
}

py::object optional_array(std::vector<int64_t>&& values, bool present) {
  if (!present) return py::none();
  return to_numpy(std::move(values));
}

std::vector<int64_t> to_vector(const py::array& array, const char* name) {
  const py::array_t<int64_t> values = int64_array(array, name);
  return std::vector<int64_t>(values.data(), values.data() + values.size());
}

// A sampler that keeps its topology's arrays alive.
struct PySampler {
  std::shared_ptr<PyTopology> topology;
  NeighborSampler core;

  PySampler(std::shared_ptr<PyTopology> topology_, int num_threads)
      : topology(std::move(topology_)), core(topology->core, num_threads) {}
};

SampledArrays sample_all(PySampler& self, const py::array& seeds,
                         const std::vector<int64_t>& fanouts, uint64_t seed, uint64_t epoch,
                         uint64_t minibatch, bool replace, bool with_edge_ids) {
  const py::array_t<int64_t> ids = int64_array(seeds, "seeds");
  Sample sample;
  {
    py::gil_scoped_release nogil;
    self.core.start(ids.data(), ids.size(), seed, epoch, minibatch);
    for (int64_t fanout : fanouts) {
      const RemoteFrontier remote = self.core.expand(fanout, replace, with_edge_ids);
      if (!remote.ids.empty()) {
        throw std::invalid_argument("vertex " + std::to_string(remote.ids.front()) +
                                    " is not in this topology; sample step by step with "
                                    "start, expand and merge");
      }
    }
    sample = self.core.finish();
  }
  return to_arrays(std::move(sample));
}

py::tuple expand(PySampler& self, int64_t fanout, bool replace, bool with_edge_ids) {
  RemoteFrontier remote;
  {
    py::gil_scoped_release nogil;
    remote = self.core.expand(fanout, replace, with_edge_ids);
  }
  return py::make_tuple(to_numpy(std::move(remote.ids)), to_numpy(std::move(remote.per_owner)));
}

void merge(PySampler& self, const py::array& counts, const py::array& neighbors,
           const std::optional<py::array>& edge_ids) {
  const py::array_t<int64_t> count = int64_array(counts, "counts");
  const py::array_t<int64_t> neighbor = int64_array(neighbors, "neighbors");
  py::array_t<int64_t> edges;
  if (edge_ids) {
    edges = int64_array(*edge_ids, "edge_ids");
    if (edges.size() != neighbor.size()) {
      throw py::value_error("edge_ids must have one entry per neighbour: expected " +
                            std::to_string(neighbor.size()) + ", got " +
                            std::to_string(edges.size()));
    }
  }
  py::gil_scoped_release nogil;
  self.core.merge(count.data(), count.size(), neighbor.data(), neighbor.size(),
                  edge_ids ? edges.data() : nullptr);
}

py::tuple sample_owned(const PyTopology& topology, const py::array& ids,
                       const py::array& minibatch_numbers, const py::array& segment_sizes,
                       int64_t fanout, uint64_t hop, uint64_t seed, const py::object& epochs,
                       bool replace, bool with_edge_ids, int num_threads) {
  const py::array_t<int64_t> vertices = int64_array(ids, "ids");
  const std::vector<int64_t> minibatches = to_vector(minibatch_numbers, "minibatch_numbers");
  const std::vector<int64_t> sizes = to_vector(segment_sizes, "segment_sizes");
  std::vector<int64_t> epoch_numbers;
  if (py::isinstance<py::array>(epochs)) {
    epoch_numbers = to_vector(epochs.cast<py::array>(), "epochs");
  } else {
    epoch_numbers.assign(sizes.size(), epochs.cast<int64_t>());
  }
  Neighbors out;
  {
    py::gil_scoped_release nogil;
    out = sample_neighbors(*topology.core, vertices.data(), vertices.size(), minibatches, sizes,
                           epoch_numbers, fanout, hop, seed, replace, with_edge_ids, num_threads);
  }
  return py::make_tuple(to_numpy(std::move(out.counts)), to_numpy(std::move(out.neighbors)),
                        optional_array(std::move(out.edge_ids), with_edge_ids));
}

void add_halo(PyTopology& self, const py::array& vertex_ids, const py::array& indptr,
              const py::array& indices, const py::array& original_id,
              const std::optional<py::array>& edge_id) {
  HaloBlock block;
  block.vertex_ids = borrow<int64_t>(vertex_ids, "vertex_ids");
  block.adjacency = borrow_adjacency(indptr, indices, original_id, edge_id);
  if (vertex_ids.size() != block.adjacency.num_vertices) {
    throw py::value_error("indptr must have one entry more than vertex_ids: expected " +
                          std::to_string(vertex_ids.size() + 1) + ", got " +
                          std::to_string(indptr.size()));
  }
  self.core->add_halo(block);
  self.halo.push_back(py::make_tuple(vertex_ids, indptr, indices, original_id, edge_id));
}

void set_halo(PyTopology& self, const py::array& vertex_ids, const py::array& indptr,
              const py::array& indices, const py::array& original_id,
              const std::optional<py::array>& edge_id) {
  self.core->clear_halo();
  self.halo.clear();
  add_halo(self, vertex_ids, indptr, indices, original_id, edge_id);
}

py::array_t<bool> is_local(const PyTopology& topology, const py::array& ids) {
  const py::array_t<int64_t> vertices = int64_array(ids, "ids");
  py::array_t<bool> result(vertices.size());
  bool* out = result.mutable_data();
  const int64_t* id = vertices.data();
  for (py::ssize_t i = 0; i < vertices.size(); ++i) {
    out[i] = id[i] >= 0 && id[i] < topology.core->num_vertices() &&
             topology.core->locate(id[i]).adjacency != nullptr;
  }
  return result;
}

}  // namespace

void bind_sampling(py::module_& module) {
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
      .def(
          "set_part",
          [](PyTopology& self, int64_t part, const py::array& indptr, const py::array& indices,
             const std::optional<py::array>& original_id, const std::optional<py::array>& edge_id) {
            self.core->set_part(part, borrow_adjacency(indptr, indices, original_id, edge_id));
            self.parts[part] = py::make_tuple(indptr, indices, original_id, edge_id);
          },
          py::arg("part"), py::arg("indptr"), py::arg("indices"),
          py::arg("original_id") = py::none(), py::arg("edge_id") = py::none())
      .def("set_halo", &set_halo, py::arg("vertex_ids"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id"), py::arg("edge_id") = py::none())
      .def("add_halo", &add_halo, py::arg("vertex_ids"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id"), py::arg("edge_id") = py::none())
      .def("is_local", &is_local, py::arg("ids"));

  py::class_<SampledArrays>(module, "SampledArrays")
      .def_readonly("vertices", &SampledArrays::vertices)
      .def_readonly("indptr", &SampledArrays::indptr)
      .def_readonly("src", &SampledArrays::src)
      .def_readonly("edge_ids", &SampledArrays::edge_ids)
      .def_readonly("num_sampled_vertices", &SampledArrays::num_sampled_vertices)
      .def_readonly("num_sampled_edges", &SampledArrays::num_sampled_edges)
      .def_readonly("num_seeds", &SampledArrays::num_seeds);

  py::class_<PySampler>(module, "NeighborSampler")
      .def(py::init<std::shared_ptr<PyTopology>, int>(), py::arg("topology"),
           py::arg("num_threads") = 1)
      .def_property_readonly("num_threads", [](const PySampler& s) { return s.core.num_threads(); })
      .def("sample", &sample_all, py::arg("seeds"), py::arg("fanouts"), py::arg("seed"),
           py::arg("epoch"), py::arg("minibatch"), py::arg("replace") = false,
           py::arg("with_edge_ids") = false)
      .def(
          "start",
          [](PySampler& self, const py::array& seeds, uint64_t seed, uint64_t epoch,
             uint64_t minibatch) {
            const py::array_t<int64_t> ids = int64_array(seeds, "seeds");
            py::gil_scoped_release nogil;
            self.core.start(ids.data(), ids.size(), seed, epoch, minibatch);
          },
          py::arg("seeds"), py::arg("seed"), py::arg("epoch"), py::arg("minibatch"))
      .def("expand", &expand, py::arg("fanout"), py::arg("replace") = false,
           py::arg("with_edge_ids") = false)
      .def("merge", &merge, py::arg("counts"), py::arg("neighbors"),
           py::arg("edge_ids") = py::none())
      .def("finish", [](PySampler& self) { return to_arrays(self.core.finish()); });

  module.def("sample_neighbors", &sample_owned, py::arg("topology"), py::arg("ids"),
             py::arg("minibatch_numbers"), py::arg("segment_sizes"), py::arg("fanout"),
             py::arg("hop"), py::arg("seed"), py::arg("epochs"), py::arg("replace") = false,
             py::arg("with_edge_ids") = false, py::arg("num_threads") = 1);
}

}  // namespace gnnflow
