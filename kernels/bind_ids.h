// Checks arrays of ids, int32 or int64, and the lists that they make up with an indptr.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "bind_numpy.h"
#include "check_index.h"
#include "csr.h"

namespace gnnflow {

template <typename T>
T* borrow_out(py::array& array, const char* name) {
  if (!array.writeable()) throw py::value_error(std::string(name) + " must be writeable");
  return const_cast<T*>(borrow<T>(array, name));
}

template <typename T>
T* borrow_out(std::optional<py::array>& array, const char* name) {
  return array ? borrow_out<T>(*array, name) : nullptr;
}

inline void check_size(const py::array& array, int64_t expected, const char* name) {
  if (array.size() != expected) {
    throw py::value_error(std::string(name) + " must have " + std::to_string(expected) +
                          " entries, got " + std::to_string(array.size()));
  }
}

// Calls body with a null pointer of the array's type: int32_t or int64_t.
template <typename Body>
auto dispatch_ids(const py::array& array, const char* name, const Body& body) {
  if (array.dtype().is(py::dtype::of<int32_t>())) return body(static_cast<int32_t*>(nullptr));
  if (array.dtype().is(py::dtype::of<int64_t>())) return body(static_cast<int64_t*>(nullptr));
  throw py::value_error(std::string(name) + " must be int32 or int64, got " +
                        py::str(array.dtype()).cast<std::string>());
}

inline void check_ids(const py::array& ids, int64_t limit, const char* name) {
  dispatch_ids(ids, name, [&](auto* type) {
    using Id = std::remove_pointer_t<decltype(type)>;
    const Id* data = borrow<Id>(ids, name);
    const int64_t size = ids.size();
    int64_t num_outside;
    {
      py::gil_scoped_release nogil;
      num_outside = count_outside(data, size, limit);
    }
    if (num_outside != 0) {
      throw py::value_error(std::string(name) + " must be in [0, " + std::to_string(limit) +
                            "), got " + std::to_string(num_outside) + " outside");
    }
  });
}

// The lists that an indptr describes: checked to start at 0, never fall and end at num_entries.
inline const int64_t* borrow_indptr(const py::array& indptr, int64_t num_entries,
                                    const char* name) {
  const int64_t* data = borrow<int64_t>(indptr, name);
  if (!is_indptr(data, indptr.size(), num_entries)) {
    throw py::value_error(std::string(name) + " must rise from 0 to " +
                          std::to_string(num_entries));
  }
  return data;
}

}  // namespace gnnflow
