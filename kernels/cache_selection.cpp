#include "cache_selection.h"

#include <algorithm>
#include <iterator>

namespace gnnflow {
namespace {

constexpr size_t kBlock = 64;
constexpr size_t kSamples = 512;

// How many priorities are below `low`, and how many at or below `high`.
struct Counts {
  size_t below_low = 0;
  size_t up_to_high = 0;
};

void count(Priorities rows, uint32_t low, uint32_t high, Counts* counts) {
  for (size_t begin = 0; begin < rows.size; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, rows.size);
    uint32_t below_low = 0;
    uint32_t up_to_high = 0;
    for (size_t i = begin; i < end; ++i) {
      below_low += rows.data[i] < low;
      up_to_high += rows.data[i] <= high;
    }
    counts->below_low += below_low;
    counts->up_to_high += up_to_high;
  }
}

// Whether a block has a priority in [low, low + width].
bool any_between(const uint32_t* data, size_t size, uint32_t low, uint32_t width) {
  uint32_t found = 0;
  for (size_t i = 0; i < size; ++i) found |= data[i] - low <= width;
  return found != 0;
}

// Calls `visit(i)` for all i with a priority in [low, high]; cheap where they are few.
template <typename Visit>
void for_each_between(Priorities rows, uint32_t low, uint32_t high, const Visit& visit) {
  const uint32_t width = high - low;
  for (size_t begin = 0; begin < rows.size; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, rows.size);
    if (!any_between(rows.data + begin, end - begin, low, width)) continue;
    for (size_t i = begin; i < end; ++i) {
      if (rows.data[i] - low <= width) visit(i);
    }
  }
}

void sample(Priorities rows, size_t num, std::vector<uint32_t>* out) {
  for (size_t i = 0; i < num; ++i) out->push_back(rows.data[i * rows.size / num]);
}

}  // namespace

// The priority of the `num_drops`-th worst row.
uint32_t WorstFinder::boundary(Priorities cached, Priorities arrived, size_t num_drops) {
  const size_t size = cached.size + arrived.size;
  uint32_t low = 0;
  uint32_t high = UINT32_MAX;
  if (size > 4 * kSamples) {
    // A sample brackets the boundary, mostly; a bracket that fails is widened to the end.
    between_.clear();
    const size_t from_cached = kSamples * cached.size / size;
    sample(cached, from_cached, &between_);
    sample(arrived, kSamples - from_cached, &between_);
    std::sort(between_.begin(), between_.end());
    const size_t rank = num_drops * kSamples / size;
    const size_t margin = 8 + std::min(rank, kSamples - rank) / 8;
    if (rank > margin) low = between_[rank - margin];
    if (rank + margin < kSamples) high = between_[rank + margin];
  }
  Counts counts;
  count(cached, low, high, &counts);
  count(arrived, low, high, &counts);
  size_t below = counts.below_low;
  if (below >= num_drops) {
    high = low - 1;
    low = 0;
    below = 0;
  } else if (counts.up_to_high < num_drops) {
    low = high + 1;
    high = UINT32_MAX;
    below = counts.up_to_high;
  }
  between_.clear();
  const auto keep = [this](Priorities rows) {
    return [this, rows](size_t i) { between_.push_back(rows.data[i]); };
  };
  for_each_between(cached, low, high, keep(cached));
  for_each_between(arrived, low, high, keep(arrived));
  const auto nth = between_.begin() + static_cast<std::ptrdiff_t>(num_drops - 1 - below);
  std::nth_element(between_.begin(), nth, between_.end());
  return *nth;
}

Drops WorstFinder::find(Priorities cached, Priorities arrived, size_t num_drops) {
  Drops drops;
  if (num_drops == 0) {
    for (size_t i = 0; i < arrived.size; ++i) drops.kept.push_back(static_cast<int32_t>(i));
    return drops;
  }
  const uint32_t last = boundary(cached, arrived, num_drops);
  Counts below;
  count(cached, last, last, &below);
  const size_t cached_ties = below.up_to_high - below.below_low;
  const size_t cached_below = below.below_low;
  count(arrived, last, last, &below);
  const size_t arrived_ties = below.up_to_high - below.below_low - cached_ties;
  const size_t tied_drops = num_drops - below.below_low;
  const size_t dropped_arrived_ties = std::min(tied_drops, arrived_ties);
  const size_t kept_arrived_ties = arrived_ties - dropped_arrived_ties;
  size_t dropped_cached_ties = tied_drops - dropped_arrived_ties;

  drops.slots.reserve(cached_below + dropped_cached_ties);
  for_each_between(cached, 0, last, [&](size_t slot) {
    if (cached.data[slot] == last) {
      if (dropped_cached_ties == 0) return;
      --dropped_cached_ties;
    }
    drops.slots.push_back(static_cast<int32_t>(slot));
  });
  drops.kept.reserve(arrived.size);
  size_t ties = 0;
  for (size_t i = 0; i < arrived.size; ++i) {
    const uint32_t priority = arrived.data[i];
    if (priority > last || (priority == last && ties++ < kept_arrived_ties)) {
      drops.kept.push_back(static_cast<int32_t>(i));
    }
  }
  return drops;
}

}  // namespace gnnflow
