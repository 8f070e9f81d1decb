// Bookkeeping of the halo cache, for Python.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "bind_all.h"
#include "bind_numpy.h"
#include "bind_rows.h"
#include "cache_index.h"
#include "cache_selection.h"

namespace gnnflow {
namespace {

using Int32Array = py::array_t<int32_t>;
using UInt32Array = py::array_t<uint32_t>;

const int32_t* borrow_keys(const py::array& keys) { return borrow<int32_t>(keys, "keys"); }

void check_length(const py::array& array, const py::array& other, const char* name,
                  const char* other_name) {
  if (array.size() != other.size()) {
    throw py::value_error(std::string(name) + " and " + other_name +
                          " must have the same length, got " + std::to_string(array.size()) +
                          " and " + std::to_string(other.size()));
  }
}

void check_rows(const int32_t* rows, size_t num, int64_t num_rows, const char* name) {
  for (size_t i = 0; i < num; ++i) {
    if (rows[i] < 0 || rows[i] >= num_rows) {
      throw py::value_error(std::string(name) + " must be in [0, " + std::to_string(num_rows) +
                            "), got " + std::to_string(rows[i]));
    }
  }
}

void copy_rows(py::array out, const py::array& out_rows, py::array source,
               const py::array& source_rows) {
  const Rows to = as_target(out);
  const Rows from = as_rows(source, "source");
  check_row_bytes(from, to, "source");
  check_length(out_rows, source_rows, "out_rows", "source_rows");
  const int32_t* to_row = borrow<int32_t>(out_rows, "out_rows");
  const int32_t* from_row = borrow<int32_t>(source_rows, "source_rows");
  const auto num = static_cast<size_t>(out_rows.size());
  check_rows(to_row, num, to.num_rows, "out_rows");
  check_rows(from_row, num, from.num_rows, "source_rows");
  const auto bytes = static_cast<size_t>(to.row_bytes);
  py::gil_scoped_release nogil;
  for (size_t i = 0; i < num; ++i) {
    std::memcpy(to.data + static_cast<size_t>(to_row[i]) * bytes,
                from.data + static_cast<size_t>(from_row[i]) * bytes, bytes);
  }
}

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

// Applies `value_of` to every slot in use.
template <typename T, typename Function>
py::array_t<T> by_slot(const CacheIndex& index, const Function& value_of) {
  py::array_t<T> values(index.num_cached());
  T* value = values.mutable_data();
  for (int32_t slot = 0; slot < index.num_cached(); ++slot) {
    value[slot] = value_of(index.key_of_slot()[static_cast<size_t>(slot)]);
  }
  return values;
}

Int32Array slots_of(const CacheIndex& index, const py::array& keys) {
  const int32_t* key = borrow_keys(keys);
  Int32Array slots(keys.size());
  int32_t* slot = slots.mutable_data();
  const auto num_keys = static_cast<int32_t>(index.vertices().num_keys());
  for (py::ssize_t i = 0; i < keys.size(); ++i) {
    if (key[i] < 0 || key[i] >= num_keys) {
      throw py::value_error("keys must be in [0, " + std::to_string(num_keys) + "), got " +
                            std::to_string(key[i]));
    }
    slot[i] = index.slot_of(key[i]);
  }
  return slots;
}

py::array_t<int64_t> ids_of(const CacheIndex& index, const py::array& keys) {
  const int32_t* key = borrow_keys(keys);
  py::array_t<int64_t> ids(keys.size());
  int64_t* id = ids.mutable_data();
  const auto num_keys = static_cast<int32_t>(index.vertices().num_keys());
  for (py::ssize_t i = 0; i < keys.size(); ++i) {
    if (key[i] < 0 || key[i] >= num_keys) {
      throw py::value_error("keys must be in [0, " + std::to_string(num_keys) + "), got " +
                            std::to_string(key[i]));
    }
    id[i] = index.vertices().id_of(key[i]);
  }
  return ids;
}

void bind_index(py::module_& module) {
  py::class_<CacheIndex>(module, "CacheIndex")
      .def(py::init([](int64_t capacity, int64_t num_vertices) {
             if (capacity < 0 || capacity > INT32_MAX) {
               throw py::value_error("capacity must be in [0, 2147483647] rows, got " +
                                     std::to_string(capacity));
             }
             return std::make_unique<CacheIndex>(static_cast<int32_t>(capacity), num_vertices);
           }),
           py::arg("capacity"), py::arg("num_vertices") = 0)
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
      .def("cached_keys",
           [](const CacheIndex& index) {
             return by_slot<int32_t>(index, [](int32_t key) { return key; });
           })
      .def("cached_ids",
           [](const CacheIndex& index) {
             return by_slot<int64_t>(index,
                                     [&index](int32_t key) { return index.vertices().id_of(key); });
           })
      .def("last_uses",
           [](const CacheIndex& index) {
             return by_slot<int32_t>(index,
                                     [&index](int32_t key) { return index.last_use_of(key); });
           })
      .def("uncached_keys", [](const CacheIndex& index) { return to_numpy(index.uncached_keys()); })
      .def(
          "forget",
          [](CacheIndex& index, const py::array& keys) {
            index.forget(borrow_keys(keys), static_cast<size_t>(keys.size()));
          },
          py::arg("keys"))
      .def("__deepcopy__",
           [](const CacheIndex& index, const py::dict&) { return CacheIndex(index); });
}

}  // namespace

void bind_cache(py::module_& module) {
  bind_index(module);
  bind_cache_books(module);
  module.def("pick_worst", &pick_worst, py::arg("cached"), py::arg("arrived"),
             py::arg("num_drops"));
  module.def("copy_rows", &copy_rows, py::arg("out"), py::arg("out_rows"), py::arg("source"),
             py::arg("source_rows"));
}

}  // namespace gnnflow
