#include "row_plan.h"

#include <algorithm>
#include <cstring>

#include "check_index.h"
#include "prefetch.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kRowsPerChunk = 2048;
constexpr int64_t kRowsAhead = 12;

}  // namespace

RowPlan plan_rows(const int64_t* ids, int64_t num_rows, Owners owners,
                  const uint8_t* source_of_part) {
  const size_t num_parts = static_cast<size_t>(owners.num_parts);
  RowPlan plan;
  plan.source_of.resize(num_rows);
  plan.row_of.resize(num_rows);
  plan.counts.resize(num_parts);
  Buffer<int32_t> owner_of(num_rows);
  // Pointers of their own: a stored byte could else be part of a Buffer, for all the compiler
  // knows.
  int32_t* const owner_at = owner_of.data();
  uint8_t* const source_at = plan.source_of.data();
  int64_t* const row_at = plan.row_of.data();
  int64_t* const counts = plan.counts.data();
  for (int64_t i = 0; i < num_rows; ++i) {
    owners.check(ids[i]);
    const int64_t owner = owners.of(ids[i]);
    owner_at[i] = static_cast<int32_t>(owner);
    source_at[i] = source_of_part[owner];
    row_at[i] = ids[i] - owners.offsets[owner];
    ++counts[owner];
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

void copy_planned_rows(const Rows& out, const std::vector<Rows>& sources, const uint8_t* source_of,
                       const int64_t* row_of, int num_threads) {
  const int64_t bytes = out.row_bytes;
  const auto address = [&](int64_t i) -> const char* {
    return source_of[i] < sources.size() ? sources[source_of[i]].data + row_of[i] * bytes : nullptr;
  };
  parallel_pieces(out.num_rows, kRowsPerChunk, num_threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (source_of[i] == kElsewhere) continue;
      check_source(source_of[i], sources.size());
      check_index(row_of[i], sources[source_of[i]].num_rows, "rows of a source");
    }
    for (int64_t i = begin; i < std::min(begin + kRowsAhead, end); ++i) {
      if (const char* row = address(i)) prefetch_row(row, bytes);
    }
    for (int64_t i = begin; i < end; ++i) {
      if (i + kRowsAhead < end) {
        if (const char* row = address(i + kRowsAhead)) prefetch_row(row, bytes);
      }
      if (const char* row = address(i)) {
        std::memcpy(out.data + i * bytes, row, static_cast<size_t>(bytes));
      }
    }
  });
}

void place_rows(const Rows& out, const int64_t* positions, const Rows& source, int num_threads) {
  const int64_t bytes = out.row_bytes;
  parallel_pieces(source.num_rows, kRowsPerChunk, num_threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      check_index(positions[i], out.num_rows, "rows of out");
      std::memcpy(out.data + positions[i] * bytes, source.data + i * bytes,
                  static_cast<size_t>(bytes));
    }
  });
}

}  // namespace gnnflow
