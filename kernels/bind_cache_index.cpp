// Python bindings of the halo cache's bookkeeping; see cache_index.h and cache_selection.h.
#include <string>
#include <vector>

#include "bind_all.h"
#include "bind_numpy.h"
#include "cache_index.h"
#include "cache_selection.h"

namespace gnnflow {
namespace {

using Int32Array = py::array_t<int32_t>;

const int32_t* borrow_keys(const py::array& keys) { return borrow<int32_t>(keys, "keys"); }

py::tuple known(CacheIndex& index, const py::array& ids) {
  const int64_t* id = borrow<int64_t>(ids, "ids");
  Int32Array keys(ids.size());
  std::vector<int32_t> fresh;
  {
    int32_t* key = keys.mutable_data();
    const auto num = static_cast<size_t>(ids.size());
    py::gil_scoped_release nogil;
    index.known(id, num, key, &fresh);
  }
  return py::make_tuple(keys, to_numpy(std::move(fresh)));
}

py::tuple look_up(CacheIndex& index, const py::array& ids, int32_t minibatch) {
  const int64_t* id = borrow<int64_t>(ids, "ids");
  Int32Array keys(ids.size());
  Int32Array slots(ids.size());
  std::vector<int32_t> fresh;
  {
    int32_t* key = keys.mutable_data();
    int32_t* slot = slots.mutable_data();
    const auto num = static_cast<size_t>(ids.size());
    py::gil_scoped_release nogil;
    index.look_up(id, num, minibatch, key, slot, &fresh);
  }
  return py::make_tuple(keys, slots, to_numpy(std::move(fresh)));
}

Int32Array find_slots(const CacheIndex& index, const py::array& ids) {
  const int64_t* id = borrow<int64_t>(ids, "ids");
  Int32Array slots(ids.size());
  int32_t* slot = slots.mutable_data();
  const auto num = static_cast<size_t>(ids.size());
  py::gil_scoped_release nogil;
  index.find_slots(id, num, slot);
  return slots;
}

// The selection by itself, for tests.
py::tuple pick_worst(const py::array& cached, const py::array& arrived, size_t num_drops) {
  const Priorities of_cached{borrow<uint32_t>(cached, "cached"),
                             static_cast<size_t>(cached.size())};
  const Priorities of_arrived{borrow<uint32_t>(arrived, "arrived"),
                              static_cast<size_t>(arrived.size())};
  if (num_drops > of_cached.size + of_arrived.size) {
    throw py::value_error("num_drops must be at most the number of rows, got " +
                          std::to_string(num_drops));
  }
  WorstFinder finder;
  Drops drops = finder.find(of_cached, of_arrived, num_drops);
  return py::make_tuple(to_numpy(std::move(drops.slots)), to_numpy(std::move(drops.kept)));
}

int64_t assign(CacheIndex& index, const py::array& slots, const py::array& keys,
               const py::array& priorities) {
  check_length(keys, slots, "keys", "slots");
  check_length(keys, priorities, "keys", "priorities");
  const int32_t* slot = borrow<int32_t>(slots, "slots");
  const int32_t* key = borrow_keys(keys);
  const uint32_t* priority = borrow<uint32_t>(priorities, "priorities");
  const auto num = static_cast<size_t>(keys.size());
  py::gil_scoped_release nogil;
  return index.assign(slot, key, priority, num);
}

Int32Array slots_of(const CacheIndex& index, const py::array& keys) {
  const int32_t* key = borrow_keys(keys);
  Int32Array slots(keys.size());
  index.slots_of(key, static_cast<size_t>(keys.size()), slots.mutable_data());
  return slots;
}

py::array_t<int64_t> ids_of(const CacheIndex& index, const py::array& keys) {
  const int32_t* key = borrow_keys(keys);
  py::array_t<int64_t> ids(keys.size());
  index.ids_of(key, static_cast<size_t>(keys.size()), ids.mutable_data());
  return ids;
}

}  // namespace

void bind_cache_index(py::module_& module) {
  py::class_<CacheIndex>(module, "CacheIndex")
      .def(py::init<int64_t, int64_t>(), py::arg("capacity"), py::arg("num_vertices") = 0)
      .def_property_readonly("capacity", &CacheIndex::capacity)
      .def_property_readonly("num_cached", &CacheIndex::num_cached)
      .def_property_readonly("num_keys",
                             [](const CacheIndex& i) { return i.vertices().num_keys(); })
      .def_property_readonly("num_known",
                             [](const CacheIndex& i) { return i.vertices().num_known(); })
      .def_property_readonly("memory_bytes", &CacheIndex::memory_bytes)
      .def("known", &known, py::arg("ids"))
      .def("look_up", &look_up, py::arg("ids"), py::arg("minibatch"))
      .def("find_slots", &find_slots, py::arg("ids"))
      .def("assign", &assign, py::arg("slots"), py::arg("keys"), py::arg("priorities"))
      .def("slots_of", &slots_of, py::arg("keys"))
      .def("ids_of", &ids_of, py::arg("keys"))
      .def("cached_keys", [](const CacheIndex& index) { return to_numpy(index.cached_keys()); })
      .def("cached_ids", [](const CacheIndex& index) { return to_numpy(index.cached_ids()); })
      .def("last_uses", [](const CacheIndex& index) { return to_numpy(index.last_uses()); })
      .def("uncached_keys", [](const CacheIndex& index) { return to_numpy(index.uncached_keys()); })
      .def(
          "forget",
          [](CacheIndex& index, const py::array& keys) {
            index.forget(borrow_keys(keys), static_cast<size_t>(keys.size()));
          },
          py::arg("keys"))
      .def("__deepcopy__",
           [](const CacheIndex& index, const py::dict&) { return CacheIndex(index); });
  module.def("pick_worst", &pick_worst, py::arg("cached"), py::arg("arrived"),
             py::arg("num_drops"));
}

}  // namespace gnnflow
