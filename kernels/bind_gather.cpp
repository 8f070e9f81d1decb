// Python bindings of the row gather.
#include <pybind11/stl.h>

#include "bindings.h"
#include "gather.h"
#include "numpy_arrays.h"

namespace gnnflow {
namespace {

int64_t row_bytes(const py::array& array, const std::string& name) {
  if (array.ndim() < 1 || !(array.flags() & py::array::c_style)) {
    throw py::value_error(name +
                          " must be contiguous with rows first; use numpy.ascontiguousarray");
  }
  int64_t bytes = array.itemsize();
  for (py::ssize_t i = 1; i < array.ndim(); ++i) bytes *= array.shape(i);
  return bytes;
}

void gather(py::array& out, const std::vector<py::array>& sources, const uint8_t* source_of,
            const py::array_t<int64_t>& row_of, int num_threads) {
  const int64_t bytes = row_bytes(out, "out");
  if (!out.writeable()) throw py::value_error("out must be writeable");
  if (out.shape(0) != row_of.size()) {
    throw py::value_error("out must have one row per row asked for: expected " +
                          std::to_string(row_of.size()) + ", got " + std::to_string(out.shape(0)));
  }
  std::vector<RowSource> from;
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string name = "source " + std::to_string(i);
    if (row_bytes(sources[i], name) != bytes) {
      throw py::value_error(name + " must have rows of " + std::to_string(bytes) +
                            " bytes like out, got " + std::to_string(row_bytes(sources[i], name)));
    }
    from.push_back({static_cast<const char*>(sources[i].data()), sources[i].shape(0)});
  }
  char* const to = static_cast<char*>(out.mutable_data());
  const int64_t* const rows = row_of.data();
  const int64_t num_rows = row_of.size();
  py::gil_scoped_release nogil;
  gather_rows(to, bytes, from, source_of, rows, num_rows, num_threads);
}

}  // namespace

void bind_gather(py::module_& module) {
  module.def(
      "gather",
      [](py::array out, const py::array& source, const py::array& rows, int num_threads) {
        gather(out, {source}, nullptr, int64_array(rows, "rows"), num_threads);
      },
      py::arg("out"), py::arg("source"), py::arg("rows"), py::arg("num_threads") = 1);
  module.def(
      "gather_rows",
      [](py::array out, const std::vector<py::array>& sources, const py::array& source_of,
         const py::array& row_of, int num_threads) {
        const uint8_t* const which = borrow<uint8_t>(source_of, "source_of");
        if (source_of.size() != row_of.size()) {
          throw py::value_error("source_of and row_of must have the same length, got " +
                                std::to_string(source_of.size()) + " and " +
                                std::to_string(row_of.size()));
        }
        gather(out, sources, which, int64_array(row_of, "row_of"), num_threads);
      },
      py::arg("out"), py::arg("sources"), py::arg("source_of"), py::arg("row_of"),
      py::arg("num_threads") = 1);
}

}  // namespace gnnflow
