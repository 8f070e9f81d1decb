// Checks numpy arguments and hands C++ buffers to numpy without a copy.
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
