// Plans where the rows of a minibatch come from, and copies those at hand and those that arrived
// into place.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "owners.h"
#include "rows.h"

namespace gnnflow {

constexpr uint8_t kElsewhere = 255;  // source of a row that another rank will send

struct RowPlan {
  Buffer<uint8_t> source_of;    // of each row
  Buffer<int64_t> row_of;       // its number among its owner's rows
  Buffer<int64_t> positions;    // of the rows elsewhere, by owner, then ascending
  Buffer<int64_t> rows;         // their numbers
  std::vector<int64_t> counts;  // of rows elsewhere, by owner
};

// Throws if an id is not of the graph.
RowPlan plan_rows(const int64_t* ids, int64_t num_rows, Owners owners,
                  const uint8_t* source_of_part);

// Copies row row_of[i] of sources[source_of[i]] to row i of `out` where it is not elsewhere. Throws
// before a row out of range is read; `out` is then partly written.
void copy_planned_rows(const Rows& out, const std::vector<Rows>& sources, const uint8_t* source_of,
                       const int64_t* row_of, int num_threads);

// Copies row i of `source`, which came from elsewhere, to row positions[i] of `out`.
void place_rows(const Rows& out, const int64_t* positions, const Rows& source, int num_threads);

}  // namespace gnnflow
