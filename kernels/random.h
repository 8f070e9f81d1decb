// Counter-based random numbers and Floyd's draw: pure functions of their arguments.
#pragma once

#include <cstdint>

#include "hash.h"

namespace gnnflow {

// The part of a vertex's stream that a whole hop of a minibatch shares.
inline uint64_t hop_key(uint64_t seed, uint64_t epoch, uint64_t minibatch, uint64_t hop) {
  return chain(chain(chain(chain(0, seed), epoch), minibatch), hop);
}

// A number in [0, bound) from 64 random bits; the bias is below bound / 2^64.
inline uint64_t bounded(uint64_t bits, uint64_t bound) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * bound) >> 64);
}

// Where the stream of a vertex begins, within a hop of a minibatch.
inline uint64_t vertex_state(uint64_t hop_key, int64_t original_id) {
  return chain(hop_key, static_cast<uint64_t>(original_id));
}

// A number in (0, 1), a multiple of 2^-53, so that 1 minus it is one as well.
inline double unit(uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52; }

// The number in (0, 1) of an entry of a vertex' list.
inline double unit_of(uint64_t vertex_state, uint64_t position) {
  return unit(mix(vertex_state + (position + 1) * kGolden));
}

// The numbers of one vertex: splitmix64 from the vertex's own state.
class VertexStream {
 public:
  explicit VertexStream(uint64_t state) : state_(state) {}
  uint64_t below(uint64_t bound) { return bounded(mix(state_ += kGolden), bound); }
  double unit() { return gnnflow::unit(mix(state_ += kGolden)); }

 private:
  uint64_t state_;
};

}  // namespace gnnflow
