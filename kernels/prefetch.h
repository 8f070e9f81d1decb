// Asks for rows ahead of their use.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gnnflow {

constexpr int64_t kCacheLine = 64;
// Of a long row the processor itself fetches what follows the first lines.
constexpr int64_t kMaxBytesAhead = 1024;

// kLocality is that of __builtin_prefetch: 3 asks for the row into all caches, 2 leaves the first
// one out.
template <int kLocality = 3>
inline void prefetch_row(const void* row, int64_t row_bytes) {
  const char* const begin = static_cast<const char*>(row);
  const int64_t bytes = std::min(row_bytes, kMaxBytesAhead);
  for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(begin + at, 0, kLocality);
}

}  // namespace gnnflow
