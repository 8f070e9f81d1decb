// Python bindings of all that copies rows: gather.h, row_plan.h and rows.h.
#include <pybind11/stl.h>

#include "bind_all.h"
#include "bind_numpy.h"
#include "gather.h"
#include "row_plan.h"
#include "rows.h"

namespace gnnflow {
namespace {

Owners borrow_owners(const py::array& offsets, const py::array& source_of_part) {
  const Owners owners{borrow<int64_t>(offsets, "offsets"), source_of_part.size()};
  if (offsets.size() != owners.num_parts + 1) {
    throw py::value_error("offsets must have one entry more than source_of_part, got " +
                          std::to_string(offsets.size()) + " and " +
                          std::to_string(owners.num_parts));
  }
  return owners;
}

Rows as_gather_target(const py::array& out, int64_t num_rows) {
  const Rows target = as_target(out);
  if (target.num_rows != num_rows) {
    throw py::value_error("out must have one row per row asked for: expected " +
                          std::to_string(num_rows) + ", got " + std::to_string(target.num_rows));
  }
  return target;
}

void py_gather(const py::array& out, const py::array& source, const py::array& rows,
               int num_threads) {
  const py::array_t<int64_t> row_of = int64_array(rows, "rows");
  const Rows target = as_gather_target(out, row_of.size());
  const std::vector<Rows> from = as_sources({source}, target);
  const int64_t* const row = row_of.data();
  py::gil_scoped_release nogil;
  gather_rows(target, from, nullptr, row, num_threads);
}

void py_gather_rows(const py::array& out, const std::vector<py::array>& sources,
                    const py::array& source_of, const py::array& rows, int num_threads) {
  const uint8_t* const which = borrow<uint8_t>(source_of, "source_of");
  if (source_of.size() != rows.size()) {
    throw py::value_error("source_of and row_of must have the same length, got " +
                          std::to_string(source_of.size()) + " and " + std::to_string(rows.size()));
  }
  const py::array_t<int64_t> row_of = int64_array(rows, "row_of");
  const Rows target = as_gather_target(out, row_of.size());
  const std::vector<Rows> from = as_sources(sources, target);
  const int64_t* const row = row_of.data();
  py::gil_scoped_release nogil;
  gather_rows(target, from, which, row, num_threads);
}

std::vector<int64_t> py_gather_ids(const py::array& out, const std::vector<py::array>& sources,
                                   const py::array& source_of_part, const py::array& offsets,
                                   const py::array& ids, int num_threads) {
  const py::array_t<int64_t> asked = int64_array(ids, "ids");
  const uint8_t* const source = borrow<uint8_t>(source_of_part, "source_of_part");
  const Owners owners = borrow_owners(offsets, source_of_part);
  const Rows target = as_gather_target(out, asked.size());
  const std::vector<Rows> from = as_sources(sources, target);
  const int64_t* const id = asked.data();
  py::gil_scoped_release nogil;
  return gather_by_id(target, from, owners, source, id, num_threads);
}

py::tuple py_plan_rows(const py::array& ids, const py::array& offsets,
                       const py::array& source_of_part) {
  const py::array_t<int64_t> asked = int64_array(ids, "ids");
  const uint8_t* const source = borrow<uint8_t>(source_of_part, "source_of_part");
  const Owners owners = borrow_owners(offsets, source_of_part);
  RowPlan plan;
  {
    py::gil_scoped_release nogil;
    plan = plan_rows(asked.data(), asked.size(), owners, source);
  }
  return py::make_tuple(to_numpy(std::move(plan.source_of)), to_numpy(std::move(plan.row_of)),
                        to_numpy(std::move(plan.positions)), to_numpy(std::move(plan.rows)),
                        to_numpy(std::move(plan.counts)));
}

void py_copy_planned_rows(const py::array& out, const std::vector<py::array>& sources,
                          const py::array& source_of, const py::array& rows, int num_threads) {
  const uint8_t* const which = borrow<uint8_t>(source_of, "source_of");
  const int64_t* const row_of = borrow<int64_t>(rows, "row_of");
  const Rows target = as_target(out);
  if (source_of.size() != rows.size() || target.num_rows != rows.size()) {
    throw py::value_error("out, source_of and row_of must have the same length, got " +
                          std::to_string(target.num_rows) + ", " +
                          std::to_string(source_of.size()) + " and " + std::to_string(rows.size()));
  }
  const std::vector<Rows> from = as_sources(sources, target);
  py::gil_scoped_release nogil;
  copy_planned_rows(target, from, which, row_of, num_threads);
}

void py_place_rows(const py::array& out, const py::array& positions, const py::array& source,
                   int num_threads) {
  const int64_t* const position = borrow<int64_t>(positions, "positions");
  const Rows target = as_target(out);
  const Rows from = as_source(source, target, "source");
  if (from.num_rows != positions.size()) {
    throw py::value_error("source must have one row per position, got " +
                          std::to_string(from.num_rows) + " rows and " +
                          std::to_string(positions.size()) + " positions");
  }
  py::gil_scoped_release nogil;
  place_rows(target, position, from, num_threads);
}

void py_copy_rows(const py::array& out, const py::array& out_rows, const py::array& source,
                  const py::array& source_rows) {
  const Rows target = as_target(out);
  const Rows from = as_source(source, target, "source");
  check_length(out_rows, source_rows, "out_rows", "source_rows");
  const int32_t* const to_row = borrow<int32_t>(out_rows, "out_rows");
  const int32_t* const from_row = borrow<int32_t>(source_rows, "source_rows");
  const int64_t num_copies = out_rows.size();
  py::gil_scoped_release nogil;
  copy_rows(target, to_row, from, from_row, num_copies);
}

}  // namespace

void bind_rows(py::module_& module) {
  module.def("gather", &py_gather, py::arg("out"), py::arg("source"), py::arg("rows"),
             py::arg("num_threads") = 1);
  module.def("gather_rows", &py_gather_rows, py::arg("out"), py::arg("sources"),
             py::arg("source_of"), py::arg("row_of"), py::arg("num_threads") = 1);
  module.def("gather_ids", &py_gather_ids, py::arg("out"), py::arg("sources"),
             py::arg("source_of_part"), py::arg("offsets"), py::arg("ids"),
             py::arg("num_threads") = 1);
  module.def("plan_rows", &py_plan_rows, py::arg("ids"), py::arg("offsets"),
             py::arg("source_of_part"));
  module.def("copy_planned_rows", &py_copy_planned_rows, py::arg("out"), py::arg("sources"),
             py::arg("source_of"), py::arg("row_of"), py::arg("num_threads") = 1);
  module.def("place_rows", &py_place_rows, py::arg("out"), py::arg("positions"), py::arg("source"),
             py::arg("num_threads") = 1);
  module.def("copy_rows", &py_copy_rows, py::arg("out"), py::arg("out_rows"), py::arg("source"),
             py::arg("source_rows"));
}

}  // namespace gnnflow
