// Python bindings of the halo cache's decisions, one call for each step of a minibatch; see
// cache_books.h.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "bind_all.h"
#include "bind_numpy.h"
#include "cache_books.h"

namespace gnnflow {
namespace {

// Borrows two arrays for as long as somebody needs their values.
IdValues as_values(const py::array& ids, const py::array& values) {
  const int64_t* id = borrow<int64_t>(ids, "ids");
  const float* value = borrow<float>(values, "values");
  check_length(ids, values, "ids", "values");
  const auto size = static_cast<size_t>(ids.size());
  if (size && (id[0] < 0 || !std::is_sorted(id, id + size))) {
    throw py::value_error("ids must be ascending and not negative");
  }
  std::shared_ptr<const void> owner(
      new std::pair<py::array, py::array>(ids, values), [](const void* pair) {
        const py::gil_scoped_acquire gil;
        delete static_cast<const std::pair<py::array, py::array>*>(pair);
      });
  return IdValues(id, value, size, std::move(owner));
}

std::unique_ptr<CacheBooks> make_books(int64_t capacity, int64_t num_vertices, bool looks_ahead,
                                       OrderKind kind, IdValues values, double factor) {
  return std::make_unique<CacheBooks>(capacity, num_vertices,
                                      RowOrder(kind, std::move(values), factor), looks_ahead);
}

bool same_ids(const py::array& ids, const py::array& others) {
  const int64_t* one = borrow<int64_t>(ids, "ids");
  const int64_t* other = borrow<int64_t>(others, "announced");
  const auto num_bytes = static_cast<size_t>(ids.nbytes());
  return ids.size() == others.size() &&
         (one == other || num_bytes == 0 || std::memcmp(one, other, num_bytes) == 0);
}

py::object plan(CacheBooks& books, const py::array& ids, const py::object& announced,
                int32_t minibatch, double fraction) {
  if (!(fraction >= 0 && fraction <= 1)) {
    throw py::value_error("fraction must be in [0, 1], got " + std::to_string(fraction));
  }
  if (!announced.is_none() && !same_ids(ids, announced.cast<py::array>())) return py::none();
  const int64_t* id = borrow<int64_t>(ids, "ids");
  py::array_t<int32_t> slots(ids.size());
  const CacheBooks::Plan* result;
  {
    int32_t* slot = slots.mutable_data();
    const auto num = static_cast<size_t>(ids.size());
    py::gil_scoped_release nogil;
    result = &books.plan(id, num, minibatch, fraction, slot);
  }
  const auto array_of = [](const auto& values) {
    using Value = typename std::decay_t<decltype(values)>::value_type;
    return py::array_t<Value>(static_cast<py::ssize_t>(values.size()), values.data());
  };
  return py::make_tuple(std::move(slots), array_of(result->fetch_ids),
                        array_of(result->replacement.arrived), array_of(result->replacement.slots),
                        result->replacement.num_evicted);
}

template <typename Method>
auto over_ids(Method method) {
  return [method](CacheBooks& books, const py::array& ids) {
    const int64_t* id = borrow<int64_t>(ids, "ids");
    const auto num = static_cast<size_t>(ids.size());
    py::gil_scoped_release nogil;
    (books.*method)(id, num);
  };
}

py::array_t<uint32_t> priorities(const CacheBooks& books, const py::array& keys) {
  const int32_t* key = borrow<int32_t>(keys, "keys");
  py::array_t<uint32_t> result(keys.size());
  books.priorities_of(key, static_cast<size_t>(keys.size()), result.mutable_data());
  return result;
}

}  // namespace

void bind_cache_books(py::module_& module) {
  py::class_<CacheBooks, CacheIndex>(module, "CacheBooks")
      .def_static(
          "by_last_use",
          [](int64_t capacity, int64_t num_vertices, bool looks_ahead) {
            return make_books(capacity, num_vertices, looks_ahead, OrderKind::kLastUse, {}, 1);
          },
          py::arg("capacity"), py::arg("num_vertices"), py::arg("looks_ahead"))
      .def_static(
          "by_value",
          [](int64_t capacity, int64_t num_vertices, bool looks_ahead, const py::array& ids,
             const py::array& values) {
            return make_books(capacity, num_vertices, looks_ahead, OrderKind::kValue,
                              as_values(ids, values), 1);
          },
          py::arg("capacity"), py::arg("num_vertices"), py::arg("looks_ahead"), py::arg("ids"),
          py::arg("values"))
      .def_static(
          "by_count",
          [](int64_t capacity, int64_t num_vertices, bool looks_ahead, double factor,
             const py::array& ids, const py::array& probabilities) {
            return make_books(capacity, num_vertices, looks_ahead, OrderKind::kCount,
                              as_values(ids, probabilities), factor);
          },
          py::arg("capacity"), py::arg("num_vertices"), py::arg("looks_ahead"), py::arg("factor"),
          py::arg("ids"), py::arg("probabilities"))
      .def("fill", over_ids(&CacheBooks::fill), py::arg("ids"))
      .def("announce", over_ids(&CacheBooks::announce), py::arg("ids"))
      .def("retract", &CacheBooks::retract)
      .def("plan", &plan, py::arg("ids"), py::arg("announced"), py::arg("minibatch"),
           py::arg("fraction"))
      .def("priorities", &priorities, py::arg("keys"))
      .def("forget_idle", &CacheBooks::forget_idle)
      .def("num_known_to_return", &CacheBooks::num_known_to_return)
      .def_property_readonly("looks_ahead", &CacheBooks::looks_ahead)
      .def_property_readonly("num_announced",
                             [](const CacheBooks& b) { return b.window().num_minibatches(); })
      .def_property_readonly("num_announced_rows",
                             [](const CacheBooks& b) { return b.window().num_rows(); })
      .def_property_readonly("num_distinct_announced_rows",
                             [](const CacheBooks& b) { return b.window().num_distinct_rows(); })
      .def_property_readonly("num_front_rows",
                             [](const CacheBooks& b) { return b.window().num_front_rows(); })
      .def_property_readonly("memory_bytes", &CacheBooks::memory_bytes)
      .def("__deepcopy__",
           [](const CacheBooks& books, const py::dict&) { return CacheBooks(books); });
}

}  // namespace gnnflow
