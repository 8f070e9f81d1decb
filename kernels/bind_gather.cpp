// Python bindings of the row gather.
#include <pybind11/stl.h>

#include "bind_all.h"
#include "bind_numpy.h"
#include "bind_rows.h"
#include "gather.h"

namespace gnnflow {
namespace {

// Checks what every gather is given: returns the bytes of a row and fills `from`.
int64_t check_arrays(const py::array& out, const std::vector<py::array>& sources, int64_t num_rows,
                     std::vector<RowSource>& from) {
  const Rows target = as_target(out);
  if (out.shape(0) != num_rows) {
    throw py::value_error("out must have one row per row asked for: expected " +
                          std::to_string(num_rows) + ", got " + std::to_string(out.shape(0)));
  }
  for (size_t i = 0; i < sources.size(); ++i) {
    const std::string name = "source " + std::to_string(i);
    const Rows source = as_rows(sources[i], name);
    check_row_bytes(source, target, name);
    from.push_back({source.data, source.num_rows});
  }
  return target.row_bytes;
}

void gather(py::array& out, const std::vector<py::array>& sources, const uint8_t* source_of,
            const py::array_t<int64_t>& row_of, int num_threads) {
  std::vector<RowSource> from;
  const int64_t num_rows = row_of.size();
  const int64_t bytes = check_arrays(out, sources, num_rows, from);
  char* const to = static_cast<char*>(out.mutable_data());
  const int64_t* const rows = row_of.data();
  py::gil_scoped_release nogil;
  gather_rows(to, bytes, from, source_of, rows, num_rows, num_threads);
}

std::vector<int64_t> gather_ids(py::array out, const std::vector<py::array>& sources,
                                const py::array& source_of_part_array,
                                const py::array& offsets_array, const py::array& ids_array,
                                int num_threads) {
  const py::array_t<int64_t> ids = int64_array(ids_array, "ids");
  const uint8_t* const source_of_part = borrow<uint8_t>(source_of_part_array, "source_of_part");
  const Owners owners{borrow<int64_t>(offsets_array, "offsets"), source_of_part_array.size()};
  if (offsets_array.size() != owners.num_parts + 1) {
    throw py::value_error("offsets must have one entry more than source_of_part, got " +
                          std::to_string(offsets_array.size()) + " and " +
                          std::to_string(owners.num_parts));
  }
  std::vector<RowSource> from;
  const int64_t bytes = check_arrays(out, sources, ids.size(), from);
  char* const to = static_cast<char*>(out.mutable_data());
  const int64_t* const first_id = ids.data();
  const int64_t num_rows = ids.size();
  py::gil_scoped_release nogil;
  return gather_by_id(to, bytes, from, owners, source_of_part, first_id, num_rows, num_threads);
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
  module.def("gather_ids", &gather_ids, py::arg("out"), py::arg("sources"),
             py::arg("source_of_part"), py::arg("offsets"), py::arg("ids"),
             py::arg("num_threads") = 1);
}

}  // namespace gnnflow
