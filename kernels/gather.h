// Copies rows of bytes from several arrays into one, in any order, in one pass.
#pragma once

#include <cstdint>
#include <vector>

#include "owners.h"

namespace gnnflow {

struct RowSource {
  const char* data;
  int64_t num_rows;
};

// Copies row row_of[i] of sources[source_of[i]] to row i of `out`; source_of may be null, which
// means the first source. Throws before a row out of range is read; `out` is then partly written.
void gather_rows(char* out, int64_t row_bytes, const std::vector<RowSource>& sources,
                 const uint8_t* source_of, const int64_t* row_of, int64_t num_rows,
                 int num_threads);

// The same by global id, where each part's rows are at hand: copies the row of ids[i] from
// sources[source_of_part[its part]] to row i of `out`. Returns how many rows each source gave.
// Throws if an id is not of the graph or its part has no source.
std::vector<int64_t> gather_by_id(char* out, int64_t row_bytes,
                                  const std::vector<RowSource>& sources, const Owners& owners,
                                  const uint8_t* source_of_part, const int64_t* ids,
                                  int64_t num_rows, int num_threads);

}  // namespace gnnflow
