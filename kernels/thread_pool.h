// Runs the chunks of a loop on threads that live as long as the process and serve all kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace gnnflow {

// A reference to a callable; it must not outlive what it refers to.
class ChunkBody {
 public:
  template <typename Body>
  ChunkBody(const Body& body)  // NOLINT: implicit, so that lambdas can be passed
      : object_(&body), call_([](const void* object, int64_t chunk) {
          (*static_cast<const Body*>(object))(chunk);
        }) {}
  void operator()(int64_t chunk) const { call_(object_, chunk); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t);
};

// Calls body(chunk) for every chunk in [0, num_chunks) on at most num_threads threads, of which the
// caller is one, and returns when all are done. Chunks are handed out in ascending order. Of
// several exceptions the one of the lowest chunk is thrown again. May be called from many threads.
void parallel_for(int64_t num_chunks, int num_threads, ChunkBody body);

// Throws unless num_threads is in [1, 1024].
void check_num_threads(int64_t num_threads);

// The chunk's share of [0, size) when it is cut into num_chunks equal pieces.
struct Range {
  int64_t begin, end;
};
inline Range chunk_range(int64_t size, int64_t num_chunks, int64_t chunk) {
  const int64_t each = size / num_chunks, rest = size % num_chunks;
  const int64_t begin = chunk * each + (chunk < rest ? chunk : rest);
  return {begin, begin + each + (chunk < rest ? 1 : 0)};
}

// Calls body(begin, end) for every piece of [0, size) of piece_size entries, the last one shorter.
template <typename Body>
void parallel_pieces(int64_t size, int64_t piece_size, int num_threads, const Body& body) {
  parallel_for((size + piece_size - 1) / piece_size, num_threads, [&](int64_t piece) {
    const int64_t begin = piece * piece_size;
    body(begin, std::min(begin + piece_size, size));
  });
}

}  // namespace gnnflow
