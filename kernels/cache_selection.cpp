#include "cache_selection.h"

#include <algorithm>
#include <utility>

namespace gnnflow {
namespace {

constexpr size_t kBlock = 64;
constexpr size_t kSamples = 512;
constexpr size_t kSampleFrom = size_t{1} << 15;
constexpr uint64_t kCachedBit = uint64_t{1} << 31;

size_t count_at_most(const RankedRows& rows, uint32_t threshold) {
  size_t count = 0;
  for (size_t begin = 0; begin < rows.size; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, rows.size);
    uint32_t in_block = 0;
    for (size_t i = begin; i < end; ++i) in_block += rows.priorities[i] <= threshold;
    count += in_block;
  }
  return count;
}

// Appends priority, kind and index of all rows at or below the threshold, each in one number.
void collect(const RankedRows& rows, uint32_t threshold, uint64_t kind,
             std::vector<uint64_t>* packed) {
  for (size_t begin = 0; begin < rows.size; begin += kBlock) {
    const size_t end = std::min(begin + kBlock, rows.size);
    uint32_t in_block = 0;
    for (size_t i = begin; i < end; ++i) in_block += rows.priorities[i] <= threshold;
    if (in_block == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      if (rows.priorities[i] <= threshold) {
        packed->push_back(uint64_t{rows.priorities[i]} << 32 | kind | i);
      }
    }
  }
}

}  // namespace

uint32_t WorstFinder::guess(const RankedRows& cached, size_t num_drops) const {
  if (cached.size < kSampleFrom) return last_threshold_;
  std::vector<uint32_t> sample;
  const size_t stride = cached.size / kSamples;
  for (size_t i = 0; i < kSamples; ++i) sample.push_back(cached.priorities[i * stride]);
  // A little past the quantile, so that the guess is seldom too low.
  const size_t quantile = num_drops * kSamples / cached.size;
  const size_t rank = std::min(quantile + 4 + quantile / 8, kSamples - 1);
  std::nth_element(sample.begin(), sample.begin() + static_cast<std::ptrdiff_t>(rank),
                   sample.end());
  return sample[rank];
}

// A threshold with at least `num_drops` rows at or below it, and not many more.
uint32_t WorstFinder::find_threshold(const RankedRows& cached, const RankedRows& arrived,
                                     size_t num_drops) {
  const size_t enough = 2 * num_drops + 1024 + cached.size / 64;
  uint64_t low = 0;
  uint64_t high = UINT32_MAX;
  bool found_too_low = false;
  bool found_high_enough = false;
  uint64_t step = 1;
  for (uint64_t at = guess(cached, num_drops);; step *= 8) {
    const auto threshold = static_cast<uint32_t>(at);
    const size_t count = count_at_most(cached, threshold) + count_at_most(arrived, threshold);
    if (count < num_drops) {
      low = at + 1;
      found_too_low = true;
      if (low == high && found_high_enough) return static_cast<uint32_t>(high);
    } else {
      if (count <= enough || at == low) return threshold;
      high = at;
      found_high_enough = true;
    }
    // Gallop away from the guess while one side is unknown, then halve.
    if (found_too_low && found_high_enough) {
      at = low + (high - low) / 2;
    } else if (found_too_low) {
      at = std::min(high, low + step);
    } else {
      at = high > step ? high - step : 0;
    }
  }
}

Drops WorstFinder::find(const RankedRows& cached, const RankedRows& arrived, size_t num_drops) {
  Drops drops;
  if (num_drops == 0) return drops;
  last_threshold_ = find_threshold(cached, arrived, num_drops);
  packed_.clear();
  collect(arrived, last_threshold_, 0, &packed_);
  collect(cached, last_threshold_, kCachedBit, &packed_);
  std::nth_element(packed_.begin(), packed_.begin() + static_cast<std::ptrdiff_t>(num_drops - 1),
                   packed_.end());

  const uint64_t boundary = packed_[num_drops - 1] >> 31;  // priority and kind
  const auto drop = [&drops](uint64_t packed) {
    auto& list = (packed & kCachedBit) ? drops.slots : drops.arrived;
    list.push_back(static_cast<int32_t>(packed & (kCachedBit - 1)));
  };
  std::vector<std::pair<int64_t, uint64_t>> ties;
  size_t num_dropped = 0;
  for (const uint64_t packed : packed_) {
    if (packed >> 31 < boundary) {
      drop(packed);
      ++num_dropped;
    } else if (packed >> 31 == boundary) {
      ties.emplace_back(0, packed);
    }
  }
  const size_t num_tied_drops = num_drops - num_dropped;
  if (num_tied_drops < ties.size()) {
    const RankedRows& rows = (boundary & 1) ? cached : arrived;
    for (auto& [id, packed] : ties) {
      id = -rows.id_of(static_cast<int32_t>(packed & (kCachedBit - 1)));
    }
    std::nth_element(ties.begin(), ties.begin() + static_cast<std::ptrdiff_t>(num_tied_drops - 1),
                     ties.end());
  }
  for (size_t i = 0; i < num_tied_drops; ++i) drop(ties[i].second);
  std::sort(drops.slots.begin(), drops.slots.end());
  std::sort(drops.arrived.begin(), drops.arrived.end());
  return drops;
}

}  // namespace gnnflow
