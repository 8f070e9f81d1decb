#include "cache_selection.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <iterator>

namespace gnnflow {
namespace {

constexpr size_t kFewRows = 128;
constexpr size_t kSamples = 32;
constexpr size_t kLanes = 16;

// How many priorities are below a value, and how many at or below it.
struct Counts {
  size_t below = 0;
  size_t up_to = 0;
};

void count(Priorities rows, uint32_t value, Counts* counts) {
  uint32_t below = 0;
  uint32_t up_to = 0;
  for (size_t i = 0; i < rows.size; ++i) {
    below += rows.data[i] < value;
    up_to += rows.data[i] <= value;
  }
  counts->below += below;
  counts->up_to += up_to;
}

// Writes the priorities in [low, high] and returns their number; `out` has kLanes to spare. Without
// a branch on what is found, which nothing could predict.
size_t keep_between(Priorities rows, uint32_t low, uint32_t high, uint32_t* out) {
  const uint32_t width = high - low;
  size_t size = 0;
  size_t i = 0;
#if defined(__AVX512F__)
  const __m512i from = _mm512_set1_epi32(static_cast<int>(low));
  const __m512i range = _mm512_set1_epi32(static_cast<int>(width));
  for (; i + kLanes <= rows.size; i += kLanes) {
    const __m512i values = _mm512_loadu_si512(rows.data + i);
    const __mmask16 inside = _mm512_cmple_epu32_mask(_mm512_sub_epi32(values, from), range);
    _mm512_storeu_si512(out + size, _mm512_maskz_compress_epi32(inside, values));
    size += static_cast<size_t>(__builtin_popcount(inside));
  }
#endif
  for (; i < rows.size; ++i) {
    out[size] = rows.data[i];
    size += rows.data[i] - low <= width;
  }
  return size;
}

// Appends the positions in [begin, end) of priorities in [low, high]; `out` has kLanes to spare.
size_t positions_between(Priorities rows, size_t begin, size_t end, uint32_t low, uint32_t high,
                         int32_t* out) {
  const uint32_t width = high - low;
  size_t size = 0;
  size_t i = begin;
#if defined(__AVX512F__)
  const __m512i from = _mm512_set1_epi32(static_cast<int>(low));
  const __m512i range = _mm512_set1_epi32(static_cast<int>(width));
  const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (; i + kLanes <= end; i += kLanes) {
    const __m512i values = _mm512_loadu_si512(rows.data + i);
    const __mmask16 inside = _mm512_cmple_epu32_mask(_mm512_sub_epi32(values, from), range);
    const __m512i positions = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(i)), steps);
    _mm512_storeu_si512(out + size, _mm512_maskz_compress_epi32(inside, positions));
    size += static_cast<size_t>(__builtin_popcount(inside));
  }
#endif
  for (; i < end; ++i) {
    out[size] = static_cast<int32_t>(i);
    size += rows.data[i] - low <= width;
  }
  return size;
}

// How far to go until so many ties were met.
size_t end_of_ties(Priorities rows, uint32_t value, size_t num_ties) {
  size_t i = 0;
  for (; num_ties > 0; ++i) num_ties -= rows.data[i] == value;
  return i;
}

// Writes the positions of priorities below (or above) `boundary`, and of the first `num_ties` of
// `all_ties` that are equal to it, ascending.
void beyond(Priorities rows, uint32_t boundary, bool below, size_t num_ties, size_t all_ties,
            std::vector<int32_t>* out) {
  out->resize(rows.size + kLanes);
  const size_t middle = num_ties == all_ties ? rows.size : end_of_ties(rows, boundary, num_ties);
  int32_t* const to = out->data();
  size_t size = below ? positions_between(rows, 0, middle, 0, boundary, to)
                      : positions_between(rows, 0, middle, boundary, UINT32_MAX, to);
  if (below && boundary > 0) {
    size += positions_between(rows, middle, rows.size, 0, boundary - 1, to + size);
  } else if (!below && boundary < UINT32_MAX) {
    size += positions_between(rows, middle, rows.size, boundary + 1, UINT32_MAX, to + size);
  }
  out->resize(size);
}

size_t sample(Priorities rows, size_t num, uint32_t* out) {
  for (size_t i = 0; i < num; ++i) out[i] = rows.data[i * rows.size / num];
  return num;
}

}  // namespace

// The priority of the `num_drops`-th worst row: a sample brackets it, what lies outside of the
// bracket is left out, and so on. A bracket that fails is widened to the end.
uint32_t WorstFinder::boundary(Priorities cached, Priorities arrived, size_t num_drops) {
  Priorities rows[2] = {cached, arrived};
  size_t size = cached.size + arrived.size;
  size_t rank = num_drops;  // among the rows left
  int turn = 0;
  while (size > kFewRows) {
    uint32_t samples[kSamples];
    const size_t of_first = kSamples * rows[0].size / size;
    sample(rows[0], of_first, samples);
    sample(rows[1], kSamples - of_first, samples + of_first);
    std::sort(samples, samples + kSamples);
    const size_t at = rank * kSamples / size;
    const size_t margin = 2 + std::min(at, kSamples - at) / 4;
    uint32_t low = at > margin ? samples[at - margin] : 0;
    uint32_t high = at + margin < kSamples ? samples[at + margin] : UINT32_MAX;
    Counts at_low;
    Counts at_high;
    for (const Priorities& each : rows) {
      count(each, low, &at_low);
      count(each, high, &at_high);
    }
    // Many rows may have the same priority, often one of the bracket's ends.
    if (at_low.below < rank && rank <= at_low.up_to) return low;
    if (at_high.below < rank && rank <= at_high.up_to) return high;
    size_t left_out;
    if (rank <= at_low.below) {
      left_out = 0;
      high = low - 1;
      low = 0;
    } else if (rank <= at_high.below) {
      left_out = at_low.up_to;
      low += 1;
      high -= 1;
    } else {
      left_out = at_high.up_to;
      low = high + 1;
      high = UINT32_MAX;
    }
    std::vector<uint32_t>& left = left_[turn];
    left.resize(size + kLanes);
    size = keep_between(rows[0], low, high, left.data());
    size += keep_between(rows[1], low, high, left.data() + size);
    rows[0] = {left.data(), size};
    rows[1] = {nullptr, 0};
    rank -= left_out;
    turn = 1 - turn;
  }
  uint32_t few[kFewRows];
  std::copy(rows[0].data, rows[0].data + rows[0].size, few);
  std::copy(rows[1].data, rows[1].data + rows[1].size, few + rows[0].size);
  std::nth_element(few, few + rank - 1, few + size);
  return few[rank - 1];
}

const Drops& WorstFinder::find(Priorities cached, Priorities arrived, size_t num_drops) {
  if (num_drops == 0) {
    drops_.slots.clear();
    drops_.kept.resize(arrived.size);
    for (size_t i = 0; i < arrived.size; ++i) drops_.kept[i] = static_cast<int32_t>(i);
    return drops_;
  }
  const uint32_t last = boundary(cached, arrived, num_drops);
  Counts of_cached;
  Counts of_arrived;
  count(cached, last, &of_cached);
  count(arrived, last, &of_arrived);
  const size_t cached_ties = of_cached.up_to - of_cached.below;
  const size_t arrived_ties = of_arrived.up_to - of_arrived.below;
  const size_t tied_drops = num_drops - of_cached.below - of_arrived.below;
  const size_t dropped_arrived_ties = std::min(tied_drops, arrived_ties);
  beyond(cached, last, true, tied_drops - dropped_arrived_ties, cached_ties, &drops_.slots);
  beyond(arrived, last, false, arrived_ties - dropped_arrived_ties, arrived_ties, &drops_.kept);
  return drops_;
}

}  // namespace gnnflow
