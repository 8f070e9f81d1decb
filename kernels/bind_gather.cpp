// Gathers rows of one or several arrays into one output, for Python.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>

#include "bindings.h"
#include "numpy_arrays.h"

namespace gnnflow {
namespace {

struct Rows {
  const char* data;
  int64_t num_rows;
  int64_t row_bytes;
};

Rows as_rows(const py::array& array, const std::string& name) {
  if (array.ndim() < 1 || !(array.flags() & py::array::c_style)) {
    throw py::value_error(name +
                          " must be contiguous with rows first; use numpy.ascontiguousarray");
  }
  int64_t row_bytes = array.itemsize();
  for (py::ssize_t i = 1; i < array.ndim(); ++i) row_bytes *= array.shape(i);
  return {static_cast<const char*>(array.data()), array.shape(0), row_bytes};
}

void gather_rows(py::array& out, const std::vector<py::array>& sources, const uint8_t* source_of,
                 const int64_t* row_of, int64_t num_rows, int num_threads) {
  (void)num_threads;
  const Rows target = as_rows(out, "out");
  if (!out.writeable()) throw py::value_error("out must be writeable");
  if (target.num_rows != num_rows) {
    throw py::value_error("out must have one row per row asked for: expected " +
                          std::to_string(num_rows) + ", got " + std::to_string(target.num_rows));
  }
  std::vector<Rows> from;
  for (size_t i = 0; i < sources.size(); ++i) {
    from.push_back(as_rows(sources[i], "source " + std::to_string(i)));
    if (from.back().row_bytes != target.row_bytes) {
      throw py::value_error("source " + std::to_string(i) + " must have rows of " +
                            std::to_string(target.row_bytes) + " bytes like out, got " +
                            std::to_string(from.back().row_bytes));
    }
  }
  char* to = static_cast<char*>(out.mutable_data());
  py::gil_scoped_release nogil;
  for (int64_t i = 0; i < num_rows; ++i) {
    const size_t source = source_of ? source_of[i] : 0;
    if (source >= from.size()) {
      throw std::invalid_argument("source_of must be below the number of sources " +
                                  std::to_string(from.size()) + ", got " + std::to_string(source));
    }
    if (row_of[i] < 0 || row_of[i] >= from[source].num_rows) {
      throw std::invalid_argument("rows of source " + std::to_string(source) + " must be in [0, " +
                                  std::to_string(from[source].num_rows) + "), got " +
                                  std::to_string(row_of[i]));
    }
    std::memcpy(to + i * target.row_bytes, from[source].data + row_of[i] * target.row_bytes,
                target.row_bytes);
  }
}

}  // namespace

void bind_gather(py::module_& module) {
  module.def(
      "gather",
      [](py::array out, const py::array& source, const py::array& rows, int num_threads) {
        const py::array_t<int64_t> row_of = int64_array(rows, "rows");
        gather_rows(out, {source}, nullptr, row_of.data(), row_of.size(), num_threads);
      },
      py::arg("out"), py::arg("source"), py::arg("rows"), py::arg("num_threads") = 1);
  module.def(
      "gather_rows",
      [](py::array out, const std::vector<py::array>& sources, const py::array& source_of,
         const py::array& rows, int num_threads) {
        const py::array_t<int64_t> row_of = int64_array(rows, "row_of");
        const uint8_t* which = borrow<uint8_t>(source_of, "source_of");
        if (source_of.size() != row_of.size()) {
          throw py::value_error("source_of and row_of must have the same length, got " +
                                std::to_string(source_of.size()) + " and " +
                                std::to_string(row_of.size()));
        }
        gather_rows(out, sources, which, row_of.data(), row_of.size(), num_threads);
      },
      py::arg("out"), py::arg("sources"), py::arg("source_of"), py::arg("row_of"),
      py::arg("num_threads") = 1);
}

}  // namespace gnnflow
