// Copies rows of bytes from several arrays into one, in any order, in one pass.
#pragma once

#include <cstdint>
#include <vector>

#include "owners.h"
#include "rows.h"

namespace gnnflow {

// Copies row row_of[i] of sources[source_of[i]] to row i of `out`; source_of may be null, which
// means the first source. All rows have the same size. Throws before a row out of range is read;
// `out` is then partly written.
void gather_rows(const Rows& out, const std::vector<Rows>& sources, const uint8_t* source_of,
                 const int64_t* row_of, int num_threads);

// The same by global id, where each part's rows are at hand: copies the row of ids[i] from
// sources[source_of_part[its part]] to row i of `out`. Returns how many rows each source gave.
// Throws if an id is not of the graph or its part has no source.
std::vector<int64_t> gather_by_id(const Rows& out, const std::vector<Rows>& sources,
                                  const Owners& owners, const uint8_t* source_of_part,
                                  const int64_t* ids, int num_threads);

}  // namespace gnnflow
