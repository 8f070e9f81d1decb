// Row copies with the rows to come asked for ahead, and writes past the caches for large outputs.
#include "gather.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>

#include "buffer.h"
#include "check_index.h"
#include "prefetch.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kChunkBytes = 1 << 18;
constexpr int64_t kMaxChunkRows = 1 << 14;
// Rows to come are asked for into the second-level cache, which has room for more requests under
// way than the first: with that, a core has enough of them to hide the latency of memory.
constexpr int64_t kBytesAhead = 16384;
constexpr int64_t kMaxRowsAhead = 64;
// Outputs from this size on do not stay in the caches until they are read, so they need not pass
// through them: the old contents of a line are then not read only to be overwritten.
constexpr int64_t kStreamBytes = int64_t{8} << 20;

struct Request {
  char* out;
  int64_t row_bytes;
  const std::vector<Rows>& sources;
  const uint8_t* source_of;
  const int64_t* row_of;

  const char* row(int64_t i) const {
    return sources[source_of == nullptr ? 0 : source_of[i]].data + row_of[i] * row_bytes;
  }
};

void check_rows(const Request& request, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const size_t source = request.source_of == nullptr ? 0 : request.source_of[i];
    check_source(source, request.sources.size());
    const int64_t num_rows = request.sources[source].num_rows;
    if (!is_index(request.row_of[i], num_rows)) {
      throw_outside("rows of source " + std::to_string(source) + " must be", request.row_of[i],
                    num_rows);
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

using CopyRow = void(char* to, const char* from, int64_t bytes);

void copy_row(char* to, const char* from, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

// Those that stream write past the caches; they and those of whole lines take multiples of
// kCacheLine.
#if defined(__SSE2__)
void stream_row(char* to, const char* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLine) {
    __m128i quarters[4];
    for (int64_t i = 0; i < 4; ++i) {
      quarters[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at) + i);
    }
    for (int64_t i = 0; i < 4; ++i) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + at) + i, quarters[i]);
    }
  }
}
void end_stream() { _mm_sfence(); }  // others may read the rows as soon as this thread is done
#else
constexpr CopyRow& stream_row = copy_row;
void end_stream() {}
#endif

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx512f"))) void copy_lines(char* to, const char* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLine) {
    _mm512_storeu_si512(to + at, _mm512_loadu_si512(from + at));
  }
}
__attribute__((target("avx512f"))) void stream_lines(char* to, const char* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLine) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + at), _mm512_loadu_si512(from + at));
  }
}
const bool kMovesLines = __builtin_cpu_supports("avx512f");
#else
constexpr CopyRow& copy_lines = copy_row;
constexpr CopyRow& stream_lines = stream_row;
constexpr bool kMovesLines = false;
#endif

template <CopyRow& kCopy>
void copy_any(const Request& request, int64_t begin, int64_t end) {
  const int64_t bytes = request.row_bytes;
  const int64_t ahead = std::clamp<int64_t>(kBytesAhead / bytes, 2, kMaxRowsAhead);
  const auto ask_for = [&](int64_t i) { prefetch_row<2>(request.row(i), bytes); };
  for (int64_t i = begin; i < std::min(begin + ahead, end); ++i) ask_for(i);
  for (int64_t i = begin; i < end; ++i) {
    if (i + ahead < end) ask_for(i + ahead);
    kCopy(request.out + i * bytes, request.row(i), bytes);
  }
}

void copy_long_rows(const Request& request, bool stream, int64_t begin, int64_t end) {
  if (stream) {
    kMovesLines ? copy_any<stream_lines>(request, begin, end)
                : copy_any<stream_row>(request, begin, end);
    end_stream();
  } else if (kMovesLines && request.row_bytes % kCacheLine == 0) {
    copy_any<copy_lines>(request, begin, end);
  } else {
    copy_any<copy_row>(request, begin, end);
  }
}

void copy_range(const Request& request, bool stream, int64_t begin, int64_t end) {
  switch (request.row_bytes) {
    case 0:
      return;
    case 1:
      return copy_fixed<1>(request, begin, end);
    case 2:
      return copy_fixed<2>(request, begin, end);
    case 4:
      return copy_fixed<4>(request, begin, end);
    case 8:
      return copy_fixed<8>(request, begin, end);
    case 16:
      return copy_fixed<16>(request, begin, end);
    default:
      return copy_long_rows(request, stream, begin, end);
  }
}

bool streams(const Rows& out) {
  return out.row_bytes % kCacheLine == 0 &&
         reinterpret_cast<uintptr_t>(out.data) % kCacheLine == 0 &&
         out.num_rows * out.row_bytes >= kStreamBytes;
}

int64_t num_chunks_of(const Rows& out) {
  const int64_t chunk_rows =
      std::clamp<int64_t>(kChunkBytes / std::max<int64_t>(out.row_bytes, 1), 16, kMaxChunkRows);
  return (out.num_rows + chunk_rows - 1) / chunk_rows;
}

}  // namespace

void gather_rows(const Rows& out, const std::vector<Rows>& sources, const uint8_t* source_of,
                 const int64_t* row_of, int num_threads) {
  check_num_threads(num_threads);
  const Request request{out.data, out.row_bytes, sources, source_of, row_of};
  const bool stream = streams(out);
  const int64_t num_chunks = num_chunks_of(out);
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    const Range range = chunk_range(out.num_rows, num_chunks, chunk);
    check_rows(request, range.begin, range.end);
    copy_range(request, stream, range.begin, range.end);
  });
}

std::vector<int64_t> gather_by_id(const Rows& out, const std::vector<Rows>& sources,
                                  const Owners& owners, const uint8_t* source_of_part,
                                  const int64_t* ids, int num_threads) {
  check_num_threads(num_threads);
  std::vector<int64_t> counts(sources.size());
  std::mutex counts_mutex;
  const bool stream = streams(out);
  const int64_t num_chunks = num_chunks_of(out);
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    const Range range = chunk_range(out.num_rows, num_chunks, chunk);
    const int64_t size = range.end - range.begin;
    // Planned for a chunk at a time: what is planned stays in the cache until it is used.
    Buffer<uint8_t> source_of(size);
    Buffer<int64_t> row_of(size);
    std::vector<int64_t> in_chunk(static_cast<size_t>(owners.num_parts));
    for (int64_t i = 0; i < size; ++i) {
      const int64_t id = ids[range.begin + i];
      owners.check(id);
      const int64_t owner = owners.of(id);
      source_of[i] = source_of_part[owner];
      row_of[i] = id - owners.offsets[owner];
      ++in_chunk[static_cast<size_t>(owner)];
    }
    const Request request{out.data + range.begin * out.row_bytes, out.row_bytes, sources,
                          source_of.data(), row_of.data()};
    check_rows(request, 0, size);
    copy_range(request, stream, 0, size);
    const std::lock_guard<std::mutex> lock(counts_mutex);
    for (size_t part = 0; part < in_chunk.size(); ++part) {
      if (in_chunk[part] > 0) counts[source_of_part[part]] += in_chunk[part];
    }
  });
  return counts;
}

}  // namespace gnnflow
