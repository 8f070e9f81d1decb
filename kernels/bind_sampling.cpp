// Python bindings of the samplers; see sampler.h.
#include <pybind11/stl.h>

#include <mutex>
#include <shared_mutex>

#include "bind_all.h"
#include "bind_numpy.h"
#include "bind_topology.h"
#include "sampler.h"

namespace gnnflow {
namespace {

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
                         uint64_t minibatch, bool replace, bool with_edge_ids, uint64_t every,
                         bool weighted) {
  const py::array_t<int64_t> ids = int64_array(seeds, "seeds");
  return to_arrays(self.run([&](NeighborSampler& sampler) {
    return sample_hops(sampler, ids.data(), ids.size(), fanouts, {0, replace, every, weighted},
                       seed, epoch, minibatch, with_edge_ids);
  }));
}

py::tuple expand(PySampler& self, int64_t fanout, bool replace, bool with_edge_ids, uint64_t every,
                 bool weighted) {
  RemoteFrontier remote = self.run([&](NeighborSampler& sampler) {
    return sampler.expand({fanout, replace, every, weighted}, with_edge_ids);
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
                       bool replace, bool with_edge_ids, int num_threads, uint64_t every,
                       bool weighted) {
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
    out =
        sample_neighbors(*topology.core, vertices.data(), vertices.size(), segments,
                         {fanout, replace, every, weighted}, hop, seed, with_edge_ids, num_threads);
  }
  py::object edge_ids = py::none();
  if (with_edge_ids) edge_ids = to_numpy(std::move(out.edge_ids));
  return py::make_tuple(to_numpy(std::move(out.counts)), to_numpy(std::move(out.neighbors)),
                        edge_ids);
}

}  // namespace

void bind_sampling(py::module_& module) {
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
           py::arg("with_edge_ids") = false, py::arg("every") = 0, py::arg("weighted") = false)
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
           py::arg("with_edge_ids") = false, py::arg("every") = 0, py::arg("weighted") = false)
      .def("merge", &merge, py::arg("counts"), py::arg("neighbors"),
           py::arg("edge_ids") = py::none())
      .def("finish", [](PySampler& self) {
        return to_arrays(self.run([](NeighborSampler& sampler) { return sampler.finish(); }));
      });

  module.def("sample_neighbors", &sample_owned, py::arg("topology"), py::arg("ids"),
             py::arg("minibatch_numbers"), py::arg("segment_sizes"), py::arg("fanout"),
             py::arg("hop"), py::arg("seed"), py::arg("epochs"), py::arg("replace") = false,
             py::arg("with_edge_ids") = false, py::arg("num_threads") = 1, py::arg("every") = 0,
             py::arg("weighted") = false);
}

}  // namespace gnnflow
