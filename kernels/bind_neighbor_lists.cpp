// Python bindings of neighbour lists from edge lists; see neighbor_lists.h.
#include <pybind11/stl.h>

#include <optional>

#include "bind_all.h"
#include "bind_ids.h"
#include "neighbor_lists.h"

namespace gnnflow {
namespace {

void throw_changed() {
  throw py::value_error("the lists are full: the edges are not those that were counted");
}

void py_count_ids(const py::array& ids, const std::optional<py::array>& new_id, py::array& counts) {
  int64_t* out = borrow_out<int64_t>(counts, "counts");
  check_ids(ids, new_id ? new_id->size() : counts.size(), "ids");
  if (new_id) check_ids(*new_id, counts.size(), "new_id");
  dispatch_ids(ids, "ids", [&](auto* edge_type) {
    using Edge = std::remove_pointer_t<decltype(edge_type)>;
    const Edge* data = borrow<Edge>(ids, "ids");
    if (!new_id) {
      py::gil_scoped_release nogil;
      return count_ids<Edge, int64_t>(data, ids.size(), nullptr, out);
    }
    return dispatch_ids(*new_id, "new_id", [&](auto* id_type) {
      using Id = std::remove_pointer_t<decltype(id_type)>;
      const Id* map = borrow<Id>(*new_id, "new_id");
      py::gil_scoped_release nogil;
      count_ids(data, ids.size(), map, out);
    });
  });
}

void py_scatter_edges(const py::array& keys, const py::array& values,
                      const std::optional<py::array>& new_id, py::array& cursor, py::array& entries,
                      std::optional<py::array> edge_ids, int64_t first_edge) {
  check_size(values, keys.size(), "values");
  if (edge_ids) check_size(*edge_ids, entries.size(), "edge_ids");
  const int64_t num_ids = new_id ? new_id->size() : cursor.size();
  if (new_id) check_ids(*new_id, cursor.size(), "new_id");
  check_ids(keys, num_ids, "keys");
  check_ids(values, num_ids, "values");
  int64_t* ends = borrow_out<int64_t>(cursor, "cursor");
  int64_t* numbers = borrow_out<int64_t>(edge_ids, "edge_ids");
  bool fits = true;
  dispatch_ids(keys, "keys", [&](auto* edge_type) {
    using Edge = std::remove_pointer_t<decltype(edge_type)>;
    dispatch_ids(entries, "entries", [&](auto* id_type) {
      using Id = std::remove_pointer_t<decltype(id_type)>;
      const Edge* from = borrow<Edge>(keys, "keys");
      const Edge* to = borrow<Edge>(values, "values");
      const Id* map = new_id ? borrow<Id>(*new_id, "new_id") : nullptr;
      Id* out = borrow_out<Id>(entries, "entries");
      py::gil_scoped_release nogil;
      fits =
          scatter_edges(from, to, keys.size(), map, ends, entries.size(), out, numbers, first_edge);
    });
  });
  if (!fits) throw_changed();
}

void py_count_both_ends(const py::array& sources, const py::array& destinations,
                        py::array& counts) {
  check_size(destinations, sources.size(), "destinations");
  check_ids(sources, counts.size(), "sources");
  check_ids(destinations, counts.size(), "destinations");
  int64_t* out = borrow_out<int64_t>(counts, "counts");
  dispatch_ids(sources, "sources", [&](auto* type) {
    using Edge = std::remove_pointer_t<decltype(type)>;
    const Edge* from = borrow<Edge>(sources, "sources");
    const Edge* to = borrow<Edge>(destinations, "destinations");
    py::gil_scoped_release nogil;
    count_both_ends(from, to, sources.size(), out);
  });
}

void py_scatter_both_ends(const py::array& sources, const py::array& destinations,
                          py::array& cursor, py::array& entries) {
  check_size(destinations, sources.size(), "destinations");
  check_ids(sources, cursor.size(), "sources");
  check_ids(destinations, cursor.size(), "destinations");
  int64_t* ends = borrow_out<int64_t>(cursor, "cursor");
  bool fits = true;
  dispatch_ids(sources, "sources", [&](auto* edge_type) {
    using Edge = std::remove_pointer_t<decltype(edge_type)>;
    dispatch_ids(entries, "entries", [&](auto* id_type) {
      using Id = std::remove_pointer_t<decltype(id_type)>;
      const Edge* from = borrow<Edge>(sources, "sources");
      const Edge* to = borrow<Edge>(destinations, "destinations");
      Id* out = borrow_out<Id>(entries, "entries");
      py::gil_scoped_release nogil;
      fits = scatter_both_ends(from, to, sources.size(), ends, entries.size(), out);
    });
  });
  if (!fits) throw_changed();
}

py::array_t<int64_t> py_sort_lists(const py::array& indptr, py::array& entries,
                                   std::optional<py::array> edge_ids, int num_threads) {
  const int64_t* lists = borrow_indptr(indptr, entries.size(), "indptr");
  if (edge_ids) check_size(*edge_ids, entries.size(), "edge_ids");
  int64_t* numbers = borrow_out<int64_t>(edge_ids, "edge_ids");
  const int64_t num_vertices = indptr.size() - 1;
  py::array_t<int64_t> counts(num_vertices);
  int64_t* out = counts.mutable_data();
  dispatch_ids(entries, "entries", [&](auto* type) {
    using Id = std::remove_pointer_t<decltype(type)>;
    Id* data = borrow_out<Id>(entries, "entries");
    py::gil_scoped_release nogil;
    sort_lists(lists, num_vertices, data, numbers, out, num_threads);
  });
  return counts;
}

void py_pack_lists(const py::array& indptr, const py::array& entries, const py::array& out_indptr,
                   py::array& out, int num_threads) {
  const int64_t* lists = borrow_indptr(indptr, entries.size(), "indptr");
  const int64_t* packed = borrow_indptr(out_indptr, out.size(), "out_indptr");
  check_size(out_indptr, indptr.size(), "out_indptr");
  dispatch_ids(entries, "entries", [&](auto* type) {
    using Id = std::remove_pointer_t<decltype(type)>;
    const Id* from = borrow<Id>(entries, "entries");
    Id* to = borrow_out<Id>(out, "out");
    py::gil_scoped_release nogil;
    pack_lists(lists, indptr.size() - 1, from, packed, to, num_threads);
  });
}

py::tuple py_induce_lists(const py::array& indptr, const py::array& entries,
                          const py::array& vertices, const py::array& new_id) {
  const int64_t* lists = borrow_indptr(indptr, entries.size(), "indptr");
  const int64_t num_vertices = indptr.size() - 1;
  check_ids(vertices, num_vertices, "vertices");
  check_ids(entries, num_vertices, "entries");
  check_size(new_id, num_vertices, "new_id");
  return dispatch_ids(entries, "entries", [&](auto* type) -> py::tuple {
    using Id = std::remove_pointer_t<decltype(type)>;
    const Id* from = borrow<Id>(entries, "entries");
    const Id* chosen = borrow<Id>(vertices, "vertices");
    const Id* map = borrow<Id>(new_id, "new_id");
    const int64_t num_chosen = vertices.size();
    py::array_t<int64_t> out_indptr(num_chosen + 1);
    int64_t* ends = out_indptr.mutable_data();
    {
      py::gil_scoped_release nogil;
      induce_indptr(lists, from, chosen, num_chosen, map, ends);
    }
    py::array_t<Id> out(ends[num_chosen]);
    Id* to = out.mutable_data();
    {
      py::gil_scoped_release nogil;
      induce_lists(lists, from, chosen, num_chosen, map, to);
    }
    return py::make_tuple(out_indptr, out);
  });
}

py::bytes py_metis_lines(const py::array& indptr, const py::array& neighbors,
                         const py::array& weights, int64_t first, int64_t last) {
  const int64_t num_vertices = indptr.size() - 1;
  check_size(weights, num_vertices, "weights");
  if (first < 0 || last < first || last > num_vertices) {
    throw py::value_error("vertices must be in [0, " + std::to_string(num_vertices) + "), got " +
                          std::to_string(first) + " to " + std::to_string(last));
  }
  const int64_t* lists = borrow_indptr(indptr, neighbors.size(), "indptr");
  const int64_t* weight = borrow<int64_t>(weights, "weights");
  std::string text = dispatch_ids(neighbors, "neighbors", [&](auto* type) {
    using Id = std::remove_pointer_t<decltype(type)>;
    const Id* ids = borrow<Id>(neighbors, "neighbors");
    py::gil_scoped_release nogil;
    return metis_lines(lists, ids, weight, first, last);
  });
  return py::bytes(text);
}

}  // namespace

void bind_neighbor_lists(py::module_& module) {
  module.def("count_ids", &py_count_ids, py::arg("ids"), py::arg("new_id").none(true),
             py::arg("counts"));
  module.def("scatter_edges", &py_scatter_edges, py::arg("keys"), py::arg("values"),
             py::arg("new_id").none(true), py::arg("cursor"), py::arg("entries"),
             py::arg("edge_ids").none(true), py::arg("first_edge"));
  module.def("count_both_ends", &py_count_both_ends, py::arg("sources"), py::arg("destinations"),
             py::arg("counts"));
  module.def("scatter_both_ends", &py_scatter_both_ends, py::arg("sources"),
             py::arg("destinations"), py::arg("cursor"), py::arg("entries"));
  module.def("sort_lists", &py_sort_lists, py::arg("indptr"), py::arg("entries"),
             py::arg("edge_ids").none(true), py::arg("num_threads") = 1);
  module.def("pack_lists", &py_pack_lists, py::arg("indptr"), py::arg("entries"),
             py::arg("out_indptr"), py::arg("out"), py::arg("num_threads") = 1);
  module.def("induce_lists", &py_induce_lists, py::arg("indptr"), py::arg("entries"),
             py::arg("vertices"), py::arg("new_id"));
  module.def("metis_lines", &py_metis_lines, py::arg("indptr"), py::arg("neighbors"),
             py::arg("weights"), py::arg("first"), py::arg("last"));
}

}  // namespace gnnflow
