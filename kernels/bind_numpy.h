// Checks numpy arguments, borrows their values and rows, and hands C++ buffers to numpy without a
// copy.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rows.h"

namespace gnnflow {

namespace py = pybind11;

// A one-dimensional contiguous int64 array; other integer types are converted, floats refused.
inline py::array_t<int64_t> int64_array(const py::array& array, const char* name) {
  if (array.ndim() != 1) {
    throw py::value_error(std::string(name) + " must have one dimension, got " +
                          std::to_string(array.ndim()));
  }
  const char kind = array.dtype().kind();
  if (kind != 'i' && kind != 'u') {
    throw py::value_error(std::string(name) + " must hold integers, got " +
                          py::str(array.dtype()).cast<std::string>() + "; use int64");
  }
  return py::array_t<int64_t, py::array::c_style | py::array::forcecast>::ensure(array);
}

inline std::vector<int64_t> to_vector(const py::array& array, const char* name) {
  const py::array_t<int64_t> values = int64_array(array, name);
  return std::vector<int64_t>(values.data(), values.data() + values.size());
}

// A one-dimensional contiguous array of exactly this type: it is borrowed, never converted.
template <typename T>
const T* borrow(const py::array& array, const char* name) {
  if (array.ndim() != 1 || !array.dtype().is(py::dtype::of<T>()) ||
      !(array.flags() & py::array::c_style)) {
    throw py::value_error(std::string(name) + " must be a contiguous one-dimensional array of " +
                          py::str(py::dtype::of<T>()).cast<std::string>() + ", got " +
                          py::str(array.dtype()).cast<std::string>() + " with " +
                          std::to_string(array.ndim()) + " dimensions");
  }
  return static_cast<const T*>(array.data());
}

inline void check_length(const py::array& array, const py::array& other, const char* name,
                         const char* other_name) {
  if (array.size() == other.size()) return;
  throw py::value_error(std::string(name) + " and " + other_name +
                        " must have the same length, got " + std::to_string(array.size()) +
                        " and " + std::to_string(other.size()));
}

// A contiguous array as rows of bytes, whatever its type and width.
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

// Rows to copy into `target`.
inline Rows as_source(const py::array& array, const Rows& target, const std::string& name) {
  const Rows source = as_rows(array, name);
  if (source.row_bytes == target.row_bytes) return source;
  throw py::value_error(name + " must have rows of " + std::to_string(target.row_bytes) +
                        " bytes like out, got " + std::to_string(source.row_bytes));
}

inline std::vector<Rows> as_sources(const std::vector<py::array>& arrays, const Rows& target) {
  std::vector<Rows> sources;
  for (const py::array& array : arrays) {
    sources.push_back(as_source(array, target, "source " + std::to_string(sources.size())));
  }
  return sources;
}

// Moves a vector or Buffer of values into a numpy array of [first, size) that owns it.
template <typename Values>
auto to_numpy(Values&& values, int64_t first = 0) {
  static_assert(!std::is_reference_v<Values>, "the array takes the values over: std::move them");
  using T = std::remove_const_t<std::remove_pointer_t<decltype(values.data())>>;
  auto owned = std::make_unique<Values>(std::move(values));
  Values* const held = owned.get();
  py::capsule capsule(held, [](void* pointer) { delete static_cast<Values*>(pointer); });
  owned.release();
  return py::array_t<T>({static_cast<py::ssize_t>(held->size()) - first}, {sizeof(T)},
                        held->data() + first, capsule);
}

}  // namespace gnnflow
