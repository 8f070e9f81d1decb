// Finds the worst of cached and arrived rows together, without sorting all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gnnflow {

struct Drops {
  std::vector<int32_t> slots;  // cached rows to let go, ascending
  std::vector<int32_t> kept;   // positions of arrived rows that are worth keeping, ascending
};

struct Priorities {
  const uint32_t* data;
  size_t size;
};

// The order, worst first: the lower priority; the arrived row (on a tie nothing is copied); the
// later position of arrived rows, the lower slot of cached ones. It is total, so that the outcome
// depends on nothing else.
class WorstFinder {
 public:
  // Picks the `num_drops` worst rows of both; there must be that many. The result is good until the
  // next call.
  const Drops& find(Priorities cached, Priorities arrived, size_t num_drops);

 private:
  uint32_t boundary(Priorities cached, Priorities arrived, size_t num_drops);

  std::vector<uint32_t> left_[2];  // kept between calls for its memory
  Drops drops_;
};

}  // namespace gnnflow
