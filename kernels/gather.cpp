// Row copies with the rows to come asked for ahead, and writes past the caches for large outputs.
#include "gather.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kChunkBytes = 1 << 18;
constexpr int64_t kMaxChunkRows = 1 << 14;
constexpr int64_t kBytesAhead = 8192;
constexpr int64_t kMaxRowsAhead = 64;
// Of a long row the processor itself fetches what follows the first lines.
constexpr int64_t kMaxLinesAhead = 16;
// Outputs from this size on do not stay in the caches until they are read, so they need not pass
// through them: the old contents of a line are then not read only to be overwritten.
constexpr int64_t kStreamBytes = int64_t{8} << 20;

struct Request {
  char* out;
  int64_t row_bytes;
  const std::vector<RowSource>& sources;
  const uint8_t* source_of;
  const int64_t* row_of;

  const char* row(int64_t i) const {
    return sources[source_of == nullptr ? 0 : source_of[i]].data + row_of[i] * row_bytes;
  }
};

void check_rows(const Request& request, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const size_t source = request.source_of == nullptr ? 0 : request.source_of[i];
    if (source >= request.sources.size()) {
      throw std::invalid_argument("source_of must be below the number of sources " +
                                  std::to_string(request.sources.size()) + ", got " +
                                  std::to_string(source));
    }
    const int64_t num_rows = request.sources[source].num_rows;
    if (static_cast<uint64_t>(request.row_of[i]) >= static_cast<uint64_t>(num_rows)) {
      throw std::invalid_argument("rows of source " + std::to_string(source) + " must be in [0, " +
                                  std::to_string(num_rows) + "), got " +
                                  std::to_string(request.row_of[i]));
    }
  }
}

// Rows of a size known to the compiler: one or two moves each.
template <int64_t kBytes>
void copy_fixed(const Request& request, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    __builtin_prefetch(request.row(std::min(i + kMaxRowsAhead, end - 1)));
    std::memcpy(request.out + i * kBytes, request.row(i), kBytes);
  }
}

inline void stream_row(char* to, const char* from, int64_t bytes) {
#if defined(__SSE2__)
  for (int64_t at = 0; at < bytes; at += 16) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + at),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at)));
  }
#else
  std::memcpy(to, from, bytes);
#endif
}

template <bool kStream>
void copy_any(const Request& request, int64_t begin, int64_t end) {
  const int64_t bytes = request.row_bytes;
  const int64_t ahead = std::clamp<int64_t>(kBytesAhead / bytes, 2, kMaxRowsAhead);
  const int64_t bytes_ahead = std::min(bytes, kMaxLinesAhead * kLine);
  for (int64_t i = begin; i < end; ++i) {
    const char* const next = request.row(std::min(i + ahead, end - 1));
    for (int64_t at = 0; at < bytes_ahead; at += kLine) __builtin_prefetch(next + at);
    char* const to = request.out + i * bytes;
    if (kStream) {
      stream_row(to, request.row(i), bytes);
    } else {
      std::memcpy(to, request.row(i), bytes);
    }
  }
#if defined(__SSE2__)
  if (kStream) _mm_sfence();  // the other threads may read the rows as soon as this one is done
#endif
}

}  // namespace

void gather_rows(char* out, int64_t row_bytes, const std::vector<RowSource>& sources,
                 const uint8_t* source_of, const int64_t* row_of, int64_t num_rows,
                 int num_threads) {
  check_num_threads(num_threads);
  const Request request{out, row_bytes, sources, source_of, row_of};
  const bool stream = row_bytes % kLine == 0 && reinterpret_cast<uintptr_t>(out) % kLine == 0 &&
                      num_rows * row_bytes >= kStreamBytes;
  const int64_t chunk_rows =
      std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(row_bytes, 1), 16, kMaxChunkRows);
  const int64_t num_chunks = (num_rows + chunk_rows - 1) / chunk_rows;
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    const Range range = chunk_range(num_rows, num_chunks, chunk);
    check_rows(request, range.begin, range.end);
    switch (row_bytes) {
      case 0:
        return;
      case 1:
        return copy_fixed<1>(request, range.begin, range.end);
      case 2:
        return copy_fixed<2>(request, range.begin, range.end);
      case 4:
        return copy_fixed<4>(request, range.begin, range.end);
      case 8:
        return copy_fixed<8>(request, range.begin, range.end);
      case 16:
        return copy_fixed<16>(request, range.begin, range.end);
      default:
        return stream ? copy_any<true>(request, range.begin, range.end)
                      : copy_any<false>(request, range.begin, range.end);
    }
  });
}

}  // namespace gnnflow
