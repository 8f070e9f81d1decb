// What the halo cache remembers of a vertex.
#pragma once

#include <cstdint>

namespace gnnflow {

constexpr uint32_t kNoNextUse = UINT32_MAX;

// Half a cache line, because each step of a minibatch looks at each of its vertices once, at places
// in memory that nothing predicts.
struct alignas(32) VertexState {
  int32_t slot = -1;               // where its row lies, -1: not cached
  int32_t last_use = -1;           // the latest minibatch planned that asks for it
  uint32_t next_use = kNoNextUse;  // the first announced minibatch that does
  uint32_t last_announced = 0;     // the last announced one that does, valid while next_use is
  uint32_t last_position = 0;      // its position there
  uint32_t value = 0;              // given for good, as the bits of a float
  double count = 0;                // uses, in the unit of all counts
};

}  // namespace gnnflow
