// Checks numpy arguments and hands C++ buffers to numpy without a copy.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
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

// Moves a vector into a numpy array that owns it.
template <typename T>
py::array_t<T> to_numpy(std::vector<T>&& values) {
  auto* owned = new std::vector<T>(std::move(values));
  py::capsule capsule(owned, [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>({static_cast<py::ssize_t>(owned->size())}, {sizeof(T)}, owned->data(),
                        capsule);
}

}  // namespace gnnflow
