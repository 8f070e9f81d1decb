// Python bindings of the formats in which rows travel; see wire.h.
#include "bind_all.h"
#include "bind_numpy.h"
#include "wire.h"

namespace gnnflow {
namespace {

WireFormat as_format(int code) {
  if (code == 1 || code == 2) return static_cast<WireFormat>(code);
  throw py::value_error("format must be 1 (bfloat16) or 2 (int8), got " + std::to_string(code));
}

Rows as_matrix(const py::array& array, const char* name, bool writeable) {
  if (array.ndim() != 2 || !(array.flags() & py::array::c_style)) {
    throw py::value_error(std::string(name) + " must be contiguous with two dimensions");
  }
  if (writeable && !array.writeable()) {
    throw py::value_error(std::string(name) + " must be writeable");
  }
  return as_rows(array, name);
}

Rows as_floats(const py::array& array, const char* name, bool writeable) {
  if (!array.dtype().is(py::dtype::of<float>())) {
    throw py::value_error(std::string(name) + " must be float32, got " +
                          py::str(array.dtype()).cast<std::string>());
  }
  return as_matrix(array, name, writeable);
}

void check_wire(WireFormat format, const Rows& floats, const Rows& wire, int64_t num_rows) {
  const int64_t width = floats.row_bytes / static_cast<int64_t>(sizeof(float));
  const int64_t expected = wire_row_bytes(format, width);
  if (wire.num_rows == num_rows && wire.row_bytes == expected) return;
  throw py::value_error("the wire must have " + std::to_string(num_rows) + " rows of " +
                        std::to_string(expected) + " bytes, got " + std::to_string(wire.num_rows) +
                        " rows of " + std::to_string(wire.row_bytes));
}

void py_encode_rows(const py::array& out, const py::array& source, const py::array& rows, int code,
                    int num_threads) {
  const WireFormat format = as_format(code);
  const Rows wire = as_matrix(out, "out", true);
  const Rows floats = as_floats(source, "source", false);
  const int64_t* row_of = borrow<int64_t>(rows, "rows");
  check_wire(format, floats, wire, rows.size());
  py::gil_scoped_release nogil;
  encode_rows(format, floats, row_of, wire, num_threads);
}

void py_decode_rows(const py::array& out, const py::array& positions, const py::array& source,
                    int code, int num_threads) {
  const WireFormat format = as_format(code);
  const Rows wire = as_matrix(source, "source", false);
  const Rows floats = as_floats(out, "out", true);
  const int64_t* row_of = borrow<int64_t>(positions, "positions");
  check_wire(format, floats, wire, positions.size());
  py::gil_scoped_release nogil;
  decode_rows(format, floats, row_of, wire, num_threads);
}

}  // namespace

void bind_wire(py::module_& module) {
  module.def("encode_rows", &py_encode_rows, py::arg("out"), py::arg("source"), py::arg("rows"),
             py::arg("format"), py::arg("num_threads") = 1);
  module.def("decode_rows", &py_decode_rows, py::arg("out"), py::arg("positions"),
             py::arg("source"), py::arg("format"), py::arg("num_threads") = 1);
}

}  // namespace gnnflow
