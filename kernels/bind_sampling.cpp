// Python bindings of the topology and the samplers.
#include <pybind11/stl.h>

#include <algorithm>
#include <mutex>
#include <shared_mutex>

#include "bind_all.h"
#include "bind_numpy.h"
#include "keyed_draw.h"
#include "sampler.h"
#include "thread_pool.h"
#include "topology.h"

namespace gnnflow {
namespace {

// A topology with the Python arrays that its pointers borrow from. The mutex is taken without the
// GIL; the lists of arrays are changed under both.
struct PyTopology {
  std::shared_mutex mutex;
  std::shared_ptr<Topology> core;
  std::vector<py::object> parts;
  std::vector<py::object> halo;
  std::vector<py::object> source_keys;  // by adjacency; none where not set
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
  arrays.src = to_numpy(std::move(sample.ids_by_position), sample.first_edge);
  arrays.edge_ids = py::none();
  if (sample.with_edge_ids) arrays.edge_ids = to_numpy(std::move(sample.edge_ids));
  arrays.num_seeds = sample.num_sampled_vertices.front();
  arrays.num_sampled_vertices = std::move(sample.num_sampled_vertices);
  arrays.num_sampled_edges = std::move(sample.num_sampled_edges);
  return arrays;
}

std::vector<int64_t> to_vector(const py::array& array, const char* name) {
  const py::array_t<int64_t> values = int64_array(array, name);
  return std::vector<int64_t>(values.data(), values.data() + values.size());
}

// A sampler that keeps its topology's arrays alive and lets in one call at a time.
class PySampler {
 public:
  PySampler(std::shared_ptr<PyTopology> topology, int num_threads)
      : topology_(std::move(topology)), core_(make_sampler(topology_->core, num_threads)) {}

  // Calls body(sampler) without the GIL; the topology cannot be changed meanwhile.
  template <typename Body>
  auto run(const Body& body) {
    py::gil_scoped_release nogil;
    const std::unique_lock<std::mutex> only(mutex_, std::try_to_lock);
    if (!only) {
      throw std::runtime_error(
          "this sampler is in use by another thread; give every thread a sampler of its own");
    }
    const std::shared_lock<std::shared_mutex> reading(topology_->mutex);
    return body(*core_);
  }

 private:
  const std::shared_ptr<PyTopology> topology_;
  const std::unique_ptr<NeighborSampler> core_;
  std::mutex mutex_;
};

SampledArrays sample_all(PySampler& self, const py::array& seeds,
                         const std::vector<int64_t>& fanouts, uint64_t seed, uint64_t epoch,
                         uint64_t minibatch, bool replace, bool with_edge_ids, uint64_t every) {
  const py::array_t<int64_t> ids = int64_array(seeds, "seeds");
  return to_arrays(self.run([&](NeighborSampler& sampler) {
    sampler.start(ids.data(), ids.size(), seed, epoch, minibatch);
    for (int64_t fanout : fanouts) {
      const RemoteFrontier remote = sampler.expand({fanout, replace, every}, with_edge_ids);
      if (!remote.ids.empty()) {
        throw std::invalid_argument("vertex " + std::to_string(remote.ids[0]) +
                                    " is not in this topology; sample step by step with "
                                    "start, expand and merge");
      }
    }
    Sample sample = sampler.finish();
    sample.with_edge_ids = with_edge_ids;  // also if there was no hop
    return sample;
  }));
}

py::tuple expand(PySampler& self, int64_t fanout, bool replace, bool with_edge_ids,
                 uint64_t every) {
  RemoteFrontier remote = self.run([&](NeighborSampler& sampler) {
    return sampler.expand({fanout, replace, every}, with_edge_ids);
  });
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
  self.run([&](NeighborSampler& sampler) {
    sampler.merge(count.data(), count.size(), neighbor.data(), neighbor.size(),
                  edge_ids ? edges.data() : nullptr);
  });
}

py::tuple sample_owned(PyTopology& topology, const py::array& ids,
                       const py::array& minibatch_numbers, const py::array& segment_sizes,
                       int64_t fanout, uint64_t hop, uint64_t seed, const py::object& epochs,
                       bool replace, bool with_edge_ids, int num_threads, uint64_t every) {
  const py::array_t<int64_t> vertices = int64_array(ids, "ids");
  Segments segments;
  segments.minibatches = to_vector(minibatch_numbers, "minibatch_numbers");
  segments.sizes = to_vector(segment_sizes, "segment_sizes");
  if (py::isinstance<py::array>(epochs)) {
    segments.epochs = to_vector(epochs.cast<py::array>(), "epochs");
  } else {
    segments.epochs.assign(segments.sizes.size(), epochs.cast<int64_t>());
  }
  Neighbors out;
  {
    py::gil_scoped_release nogil;
    const std::shared_lock<std::shared_mutex> reading(topology.mutex);
    out = sample_neighbors(*topology.core, vertices.data(), vertices.size(), segments,
                           {fanout, replace, every}, hop, seed, with_edge_ids, num_threads);
  }
  py::object edge_ids = py::none();
  if (with_edge_ids) edge_ids = to_numpy(std::move(out.edge_ids));
  return py::make_tuple(to_numpy(std::move(out.counts)), to_numpy(std::move(out.neighbors)),
                        edge_ids);
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
              int64_t first_edge) {
  Adjacency adjacency = borrow_adjacency(indptr, indices, original_id, edge_id);
  adjacency.first_edge = first_edge;
  change(self, [&](Topology& topology) { topology.set_part(part, adjacency); });
  self.parts[part] = py::make_tuple(indptr, indices, original_id, edge_id);
}

void change_halo(PyTopology& self, bool clear, const py::array& vertex_ids, const py::array& indptr,
                 const py::array& indices, const py::array& original_id,
                 const std::optional<py::array>& edge_id) {
  const int64_t* const vertices = borrow<int64_t>(vertex_ids, "vertex_ids");
  const Adjacency adjacency = borrow_adjacency(indptr, indices, original_id, edge_id);
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
  self.halo.push_back(py::make_tuple(vertex_ids, indptr, indices, original_id, edge_id));
}

void set_halo(PyTopology& self, const py::array& vertex_ids, const py::array& indptr,
              const py::array& indices, const py::array& original_id,
              const std::optional<py::array>& edge_id) {
  change_halo(self, true, vertex_ids, indptr, indices, original_id, edge_id);
}

void add_halo(PyTopology& self, const py::array& vertex_ids, const py::array& indptr,
              const py::array& indices, const py::array& original_id,
              const std::optional<py::array>& edge_id) {
  change_halo(self, false, vertex_ids, indptr, indices, original_id, edge_id);
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
  const Adjacency lists = borrow_adjacency(indptr, indices, std::nullopt, std::nullopt);
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
                          std::to_string(lists.num_edges) + ", got " +
                          std::to_string(keys.size()));
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
    for (py::ssize_t i = 0; i < size; ++i) {
      out[i] = topology.core->contains(id[i]) && topology.core->locate(id[i]).found();
    }
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
      .def("set_part", &set_part, py::arg("part"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id") = py::none(), py::arg("edge_id") = py::none(),
           py::arg("first_edge") = -1)
      .def("set_halo", &set_halo, py::arg("vertex_ids"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id"), py::arg("edge_id") = py::none())
      .def("add_halo", &add_halo, py::arg("vertex_ids"), py::arg("indptr"), py::arg("indices"),
           py::arg("original_id"), py::arg("edge_id") = py::none())
      .def("set_source_keys", &set_source_keys, py::arg("index"), py::arg("source_keys"))
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
      .def("sample", &sample_all, py::arg("seeds"), py::arg("fanouts"), py::arg("seed"),
           py::arg("epoch"), py::arg("minibatch"), py::arg("replace") = false,
           py::arg("with_edge_ids") = false, py::arg("every") = 0)
      .def(
          "start",
          [](PySampler& self, const py::array& seeds, uint64_t seed, uint64_t epoch,
             uint64_t minibatch) {
            const py::array_t<int64_t> ids = int64_array(seeds, "seeds");
            self.run([&](NeighborSampler& sampler) {
              sampler.start(ids.data(), ids.size(), seed, epoch, minibatch);
            });
          },
          py::arg("seeds"), py::arg("seed"), py::arg("epoch"), py::arg("minibatch"))
      .def("expand", &expand, py::arg("fanout"), py::arg("replace") = false,
           py::arg("with_edge_ids") = false, py::arg("every") = 0)
      .def("merge", &merge, py::arg("counts"), py::arg("neighbors"),
           py::arg("edge_ids") = py::none())
      .def("finish", [](PySampler& self) {
        return to_arrays(self.run([](NeighborSampler& sampler) { return sampler.finish(); }));
      });

  module.def("sample_neighbors", &sample_owned, py::arg("topology"), py::arg("ids"),
             py::arg("minibatch_numbers"), py::arg("segment_sizes"), py::arg("fanout"),
             py::arg("hop"), py::arg("seed"), py::arg("epochs"), py::arg("replace") = false,
             py::arg("with_edge_ids") = false, py::arg("num_threads") = 1, py::arg("every") = 0);
  module.def("source_keys", &source_keys, py::arg("indptr"), py::arg("indices"),
             py::arg("first_id"), py::arg("original_id"), py::arg("outer_ids"),
             py::arg("outer_original_id"), py::arg("keys"), py::arg("num_threads") = 1);
}

}  // namespace gnnflow
