// Plans where the rows of a minibatch come from, and copies those that are at hand into place.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>

#include "bind_all.h"
#include "bind_numpy.h"
#include "bind_rows.h"
#include "buffer.h"
#include "owners.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr uint8_t kElsewhere = 255;  // source of a row that another rank will send
constexpr int64_t kRowsPerChunk = 2048;
constexpr int64_t kPrefetchRows = 12;
constexpr int64_t kPrefetchBytes = 1024;
constexpr int64_t kCacheLine = 64;

void check_row(int64_t row, const Rows& rows, const char* name) {
  if (row >= 0 && row < rows.num_rows) return;
  throw std::invalid_argument("rows of " + std::string(name) + " must be in [0, " +
                              std::to_string(rows.num_rows) + "), got " + std::to_string(row));
}

// Long rows are streams for the hardware after their first lines.
void prefetch_row(const char* row, int64_t row_bytes) {
  const int64_t bytes = std::min(row_bytes, kPrefetchBytes);
  for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(row + at);
}

struct Plan {
  Buffer<uint8_t> source_of;
  Buffer<int64_t> row_of, positions, rows;
  std::vector<int64_t> counts;
};

Plan make_plan(const int64_t* ids, int64_t num_rows, const Owners& owners,
               const uint8_t* source_of_part) {
  const size_t num_parts = static_cast<size_t>(owners.num_parts);
  Plan plan;
  plan.source_of.resize(num_rows);
  plan.row_of.resize(num_rows);
  plan.counts.resize(num_parts);
  Buffer<int32_t> owner_of(num_rows);
  for (int64_t i = 0; i < num_rows; ++i) {
    owners.check(ids[i]);
    const int64_t owner = owners.of(ids[i]);
    owner_of[i] = static_cast<int32_t>(owner);
    plan.source_of[i] = source_of_part[owner];
    plan.row_of[i] = ids[i] - owners.offsets[owner];
    ++plan.counts[static_cast<size_t>(owner)];
  }
  std::vector<int64_t> next(num_parts);
  int64_t num_remote = 0;
  for (size_t part = 0; part < num_parts; ++part) {
    if (source_of_part[part] != kElsewhere) plan.counts[part] = 0;
    next[part] = num_remote;
    num_remote += plan.counts[part];
  }
  plan.positions.resize(num_remote);
  plan.rows.resize(num_remote);
  if (num_remote == 0) return plan;
  for (int64_t i = 0; i < num_rows; ++i) {
    if (plan.source_of[i] != kElsewhere) continue;
    const int64_t at = next[static_cast<size_t>(owner_of[i])]++;
    plan.positions[at] = i;
    plan.rows[at] = plan.row_of[i];
  }
  return plan;
}

py::tuple plan_rows(const py::array& ids_array, const py::array& offsets_array,
                    const py::array& source_of_part_array) {
  const py::array_t<int64_t> ids = int64_array(ids_array, "ids");
  const int64_t* offsets = borrow<int64_t>(offsets_array, "offsets");
  const uint8_t* source_of_part = borrow<uint8_t>(source_of_part_array, "source_of_part");
  const int64_t num_parts = source_of_part_array.size();
  if (offsets_array.size() != num_parts + 1) {
    throw py::value_error("offsets must have one entry more than source_of_part, got " +
                          std::to_string(offsets_array.size()) + " and " +
                          std::to_string(num_parts));
  }
  Plan plan;
  {
    py::gil_scoped_release nogil;
    plan = make_plan(ids.data(), ids.size(), {offsets, num_parts}, source_of_part);
  }
  py::array_t<int64_t> counts(num_parts);
  std::copy(plan.counts.begin(), plan.counts.end(), counts.mutable_data());
  return py::make_tuple(to_numpy(std::move(plan.source_of)), to_numpy(std::move(plan.row_of)),
                        to_numpy(std::move(plan.positions)), to_numpy(std::move(plan.rows)),
                        counts);
}

void copy_planned_rows(py::array& out, const std::vector<py::array>& source_arrays,
                       const py::array& source_of, const py::array& rows, int num_threads) {
  const uint8_t* which = borrow<uint8_t>(source_of, "source_of");
  const int64_t* row_of = borrow<int64_t>(rows, "row_of");
  const int64_t num_rows = rows.size();
  const Rows target = as_target(out);
  if (source_of.size() != num_rows || target.num_rows != num_rows) {
    throw py::value_error("out, source_of and row_of must have the same length, got " +
                          std::to_string(target.num_rows) + ", " +
                          std::to_string(source_of.size()) + " and " + std::to_string(num_rows));
  }
  std::vector<Rows> sources;
  for (const py::array& array : source_arrays) {
    sources.push_back(as_rows(array, "source " + std::to_string(sources.size())));
    check_row_bytes(sources.back(), target, "source " + std::to_string(sources.size() - 1));
  }
  const int64_t bytes = target.row_bytes;
  const auto address = [&](int64_t i) -> const char* {
    return which[i] < sources.size() ? sources[which[i]].data + row_of[i] * bytes : nullptr;
  };
  py::gil_scoped_release nogil;
  const int64_t num_chunks = (num_rows + kRowsPerChunk - 1) / kRowsPerChunk;
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    const int64_t begin = chunk * kRowsPerChunk, end = std::min(begin + kRowsPerChunk, num_rows);
    for (int64_t i = begin; i < end; ++i) {
      if (which[i] == kElsewhere) continue;
      if (which[i] >= sources.size()) {
        throw std::invalid_argument("source_of must be below the number of sources " +
                                    std::to_string(sources.size()) + ", got " +
                                    std::to_string(which[i]));
      }
      check_row(row_of[i], sources[which[i]], "a source");
    }
    for (int64_t i = begin; i < std::min(begin + kPrefetchRows, end); ++i) {
      if (const char* row = address(i)) prefetch_row(row, bytes);
    }
    for (int64_t i = begin; i < end; ++i) {
      if (i + kPrefetchRows < end) {
        if (const char* row = address(i + kPrefetchRows)) prefetch_row(row, bytes);
      }
      if (const char* row = address(i)) {
        std::memcpy(target.data + i * bytes, row, static_cast<size_t>(bytes));
      }
    }
  });
}

void place_rows(py::array& out, const py::array& positions, const py::array& source_array,
                int num_threads) {
  const int64_t* position = borrow<int64_t>(positions, "positions");
  const Rows target = as_target(out);
  const Rows source = as_rows(source_array, "source");
  check_row_bytes(source, target, "source");
  if (source.num_rows != positions.size()) {
    throw py::value_error("source must have one row per position, got " +
                          std::to_string(source.num_rows) + " rows and " +
                          std::to_string(positions.size()) + " positions");
  }
  const int64_t bytes = target.row_bytes;
  py::gil_scoped_release nogil;
  const int64_t num_chunks = (source.num_rows + kRowsPerChunk - 1) / kRowsPerChunk;
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    const int64_t begin = chunk * kRowsPerChunk;
    const int64_t end = std::min(begin + kRowsPerChunk, source.num_rows);
    for (int64_t i = begin; i < end; ++i) {
      check_row(position[i], target, "out");
      std::memcpy(target.data + position[i] * bytes, source.data + i * bytes,
                  static_cast<size_t>(bytes));
    }
  });
}

}  // namespace

void bind_row_plan(py::module_& module) {
  module.def("plan_rows", &plan_rows, py::arg("ids"), py::arg("offsets"),
             py::arg("source_of_part"));
  module.def("copy_planned_rows", &copy_planned_rows, py::arg("out"), py::arg("sources"),
             py::arg("source_of"), py::arg("row_of"), py::arg("num_threads") = 1);
  module.def("place_rows", &place_rows, py::arg("out"), py::arg("positions"), py::arg("source"),
             py::arg("num_threads") = 1);
}

}  // namespace gnnflow
