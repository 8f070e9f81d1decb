// Rows of numpy arrays of any type and width, checked once for all that copy them.
#pragma once

#include <cstdint>
#include <string>

#include "bind_numpy.h"

namespace gnnflow {

struct Rows {
  char* data;
  int64_t num_rows;
  int64_t row_bytes;
};

inline Rows as_rows(const py::array& array, const std::string& name) {
  if (array.ndim() < 1 || !(array.flags() & py::array::c_style)) {
    throw py::value_error(name +
                          " must be contiguous with rows first; use numpy.ascontiguousarray");
  }
  int64_t row_bytes = array.itemsize();
  for (py::ssize_t i = 1; i < array.ndim(); ++i) row_bytes *= array.shape(i);
  return {static_cast<char*>(const_cast<void*>(array.data())), array.shape(0), row_bytes};
}

inline Rows as_target(const py::array& array) {
  if (!array.writeable()) throw py::value_error("out must be writeable");
  return as_rows(array, "out");
}

inline void check_row_bytes(const Rows& source, const Rows& target, const std::string& name) {
  if (source.row_bytes == target.row_bytes) return;
  throw py::value_error(name + " must have rows of " + std::to_string(target.row_bytes) +
                        " bytes like out, got " + std::to_string(source.row_bytes));
}

}  // namespace gnnflow
