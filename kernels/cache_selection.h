// Finds the worst of cached and arrived rows together, without sorting or scoring all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace gnnflow {

struct Drops {
  std::vector<int32_t> slots;    // cached rows to let go, ascending
  std::vector<int32_t> arrived;  // positions of arrived rows that are not worth keeping, ascending
};

// Rows with their priorities; `id_of` breaks ties and is asked about few rows.
struct RankedRows {
  const uint32_t* priorities;
  size_t size;
  std::function<int64_t(int32_t)> id_of;
};

// The order, worst first: the lower priority; the arrived row (on a tie nothing is copied); the
// larger id. It is total, so the outcome depends on nothing else.
class WorstFinder {
 public:
  // Picks the `num_drops` worst rows of both; there must be that many.
  Drops find(const RankedRows& cached, const RankedRows& arrived, size_t num_drops);

 private:
  uint32_t guess(const RankedRows& cached, size_t num_drops) const;
  uint32_t find_threshold(const RankedRows& cached, const RankedRows& arrived, size_t num_drops);

  uint32_t last_threshold_ = 0;  // where the next search starts; it only saves time
  std::vector<uint64_t> packed_;
};

}  // namespace gnnflow
