// Rows of bytes, which may be numbers of any type and width, and copies of some of them by number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace gnnflow {

// Borrowed; rows that are only read are not written through it.
struct Rows {
  char* data;
  int64_t num_rows;
  int64_t row_bytes;
};

// Copies row source_rows[i] of `source` to row out_rows[i] of `out`, which has rows of the same
// size. Throws before anything is copied if a number is out of range.
void copy_rows(const Rows& out, const int32_t* out_rows, const Rows& source,
               const int32_t* source_rows, int64_t num_copies);

// Throws unless a row's source is one of those that there are.
inline void check_source(size_t source, size_t num_sources) {
  if (source < num_sources) return;
  throw std::invalid_argument("source_of must be below the number of sources " +
                              std::to_string(num_sources) + ", got " + std::to_string(source));
}

}  // namespace gnnflow
