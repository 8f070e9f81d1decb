// Selection by weight: by the leading bits of all keys, as KeyedPicker does it, or in one pass with
// a heap, where most logarithms need not be taken.
#include "weighted_draw.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace gnnflow {
namespace {

constexpr uint32_t kBlock = 64;
// Longer lists than this take the heap.
constexpr uint32_t kShort = 1024;
// More than rounding can make of a key.
constexpr double kMargin = 1 + 0x1p-45;

uint32_t leading_bits(double key) {
  uint64_t bits;
  std::memcpy(&bits, &key, sizeof bits);
  return static_cast<uint32_t>(bits >> 32);
}

}  // namespace

uint32_t count_drawable(const float* weights, uint32_t degree, int64_t limit) {
  int64_t found = 0;
  for (uint32_t first = 0; first < degree && found < limit; first += kBlock) {
    const uint32_t size = std::min(kBlock, degree - first);
    uint32_t in_block = 0;
    for (uint32_t i = 0; i < size; ++i) in_block += weights[first + i] > 0;
    found += in_block;
  }
  return static_cast<uint32_t>(std::min(found, limit));
}

template <typename Opposite>
void WeightedPicker::keep_smallest(const float* weights, uint32_t degree, uint32_t count,
                                   const Opposite& opposite, uint32_t* picks) {
  if (count == 0) return;
  if (count_drawable(weights, degree, int64_t{count} + 1) <= count) {
    for (uint32_t i = 0; i < degree; ++i) {
      if (weights[i] > 0) *picks++ = i;
    }
    return;
  }
  if (degree <= kShort) {
    keep_of_short(weights, degree, count, opposite, picks);
  } else {
    keep_of_long(weights, degree, count, opposite, picks);
  }
}

template <typename Opposite>
void WeightedPicker::keep_of_short(const float* weights, uint32_t degree, uint32_t count,
                                   const Opposite& opposite, uint32_t* picks) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  if (keys_.size() < kShort) {
    keys_.resize(kShort);
    leading_.resize(kShort);  // whole groups of keys
  }
  for (uint32_t i = 0; i < degree; ++i) keys_[i] = opposite(i);
  for (uint32_t i = 0; i < degree; ++i) {
    keys_[i] = weights[i] > 0 ? -std::log(1 - keys_[i]) / double{weights[i]} : kNever;
  }
  uint32_t smallest = UINT32_MAX, largest = 0;
  for (uint32_t i = 0; i < degree; ++i) {
    leading_[i] = leading_bits(keys_[i]);
    smallest = std::min(smallest, leading_[i]);
    largest = std::max(largest, keys_[i] < kNever ? leading_[i] : 0);
  }
  for (uint32_t i = 0; i < degree; ++i) leading_[i] -= smallest;
  const uint32_t end = (degree + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
  std::fill(leading_.begin() + degree, leading_.begin() + end, UINT32_MAX);
  const Cut cut = find_cut(leading_.data(), degree, count, largest - smallest);
  if (cut.ties == 0) {
    take_cut(leading_.data(), degree, cut, picks);
  } else {
    take_with_ties(degree, cut, picks);
  }
}

void WeightedPicker::take_with_ties(uint32_t degree, Cut cut, uint32_t* picks) {
  kept_.clear();
  for (uint32_t i = 0; i < degree; ++i) {
    if (leading_[i] == cut.sure + 1) kept_.push_back({keys_[i], i});
  }
  const auto last = kept_.begin() + cut.ties - 1;
  std::nth_element(kept_.begin(), last, kept_.end());
  const Candidate bound = *last;
  for (uint32_t i = 0; i < degree; ++i) {
    const bool is_tie = leading_[i] == cut.sure + 1 && !(bound < Candidate{keys_[i], i});
    if (leading_[i] <= cut.sure || is_tie) *picks++ = i;
  }
}

template <typename Opposite>
void WeightedPicker::keep_of_long(const float* weights, uint32_t degree, uint32_t count,
                                  const Opposite& opposite, uint32_t* picks) {
  kept_.clear();
  for (uint32_t i = 0; i < degree; ++i) {
    const double weight = weights[i];
    if (!(weight > 0)) continue;
    const double v = opposite(i);  // 1 - u, and -log(u) is at least that
    if (kept_.size() == count && v > kept_.front().key * weight * kMargin) continue;
    const Candidate candidate{-std::log(1 - v) / weight, i};
    if (kept_.size() < count) {
      kept_.push_back(candidate);
      std::push_heap(kept_.begin(), kept_.end());
    } else if (candidate < kept_.front()) {
      std::pop_heap(kept_.begin(), kept_.end());
      kept_.back() = candidate;
      std::push_heap(kept_.begin(), kept_.end());
    }
  }
  for (uint32_t i = 0; i < count; ++i) picks[i] = kept_[i].position;
  std::sort(picks, picks + count);
}

void WeightedPicker::pick(const float* weights, uint32_t degree, uint32_t count, uint64_t state,
                          uint32_t* picks) {
  keep_smallest(weights, degree, count, [&](uint32_t i) { return unit_of(state, i); }, picks);
}

void WeightedPicker::pick(const float* weights, const uint32_t* sources, uint32_t degree,
                          uint32_t count, const KeyRound& round, uint32_t* picks) {
  const auto opposite = [&](uint32_t i) { return (round.key(sources[i]) + 0.5) * 0x1p-32; };
  keep_smallest(weights, degree, count, opposite, picks);
}

void WeightedPicker::with_replacement(const float* weights, uint32_t degree, uint32_t count,
                                      VertexStream stream, uint32_t* picks) {
  if (count == 0) return;
  sums_.resize(degree);
  double sum = 0;
  uint32_t last = 0;
  for (uint32_t i = 0; i < degree; ++i) {
    if (weights[i] > 0) sum += weights[i], last = i;
    sums_[i] = sum;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const auto found = std::upper_bound(sums_.begin(), sums_.end(), stream.unit() * sum);
    picks[i] = std::min(static_cast<uint32_t>(found - sums_.begin()), last);
  }
  std::sort(picks, picks + count);
}

}  // namespace gnnflow
