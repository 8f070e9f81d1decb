// Selection of the smallest keys: by a threshold that is guessed, counted and corrected, since
// keys are spread evenly; counting is what a compiler vectorizes, sorting is not.
#include "keyed_draw.h"

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "neighbor_lists.h"

namespace gnnflow {
namespace {

// Lists up to this long are chosen from whole: their keys stay in the first cache. Of longer ones
// only what may be among the smallest is kept, this many at a time.
constexpr uint32_t kPiece = 4096;
// Loops run over whole groups of this many, so that none of them ends one by one.
constexpr uint32_t kLanes = kKeyGroup;
constexpr int kGuesses = 8;

uint32_t padded(uint32_t num) { return (num + kLanes - 1) / kLanes * kLanes; }

// Writes the keys of `num` entries, and the largest number up to the end of the last group.
void compute_keys(const uint32_t* sources, uint32_t num, const KeyRound& round, uint32_t* keys) {
  const uint32_t last = round.last;
  const uint32_t now_low = static_cast<uint32_t>(round.now);
  const uint32_t now_high = static_cast<uint32_t>(round.now >> 32);
  const uint32_t next_low = static_cast<uint32_t>(round.next);
  const uint32_t next_high = static_cast<uint32_t>(round.next >> 32);
  const uint32_t end = padded(num);
  std::copy_n(sources, num, keys);
  std::fill(keys + num, keys + end, 0);
  for (uint32_t i = 0; i < end; ++i) {
    const bool is_now = keys[i] <= last;
    keys[i] = entry_key(keys[i], is_now ? now_low : next_low, is_now ? now_high : next_high);
  }
  std::fill(keys + num, keys + end, UINT32_MAX);
}

// Which of a group are up to a bound, a bit each.
uint32_t small_ones(const uint32_t* group, uint32_t bound) {
#if defined(__AVX512F__)
  return _mm512_cmple_epu32_mask(_mm512_loadu_si512(group),
                                 _mm512_set1_epi32(static_cast<int>(bound)));
#elif defined(__AVX2__)
  const __m256i bounds = _mm256_set1_epi32(static_cast<int>(bound));
  uint32_t bits = 0;
  for (uint32_t half = 0; half < 2; ++half) {
    const __m256i keys =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(group + half * (kLanes / 2)));
    const __m256i is_small = _mm256_cmpeq_epi32(_mm256_min_epu32(keys, bounds), keys);
    bits |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(is_small)))
            << (half * (kLanes / 2));
  }
  return bits;
#else
  uint32_t bits = 0;
  for (uint32_t i = 0; i < kLanes; ++i) bits |= static_cast<uint32_t>(group[i] <= bound) << i;
  return bits;
#endif
}

uint32_t count_up_to(const uint32_t* keys, uint32_t num, uint32_t bound) {
  uint32_t count = 0;
  for (uint32_t first = 0; first < num; first += kLanes) {
    count += static_cast<uint32_t>(__builtin_popcount(small_ones(keys + first, bound)));
  }
  return count;
}

// Writes the positions of the entries up to a bound, in order, with room for a group more.
uint32_t positions_up_to(const uint32_t* keys, uint32_t num, uint32_t bound, uint32_t* positions) {
  uint32_t found = 0;
  for (uint32_t first = 0; first < num; first += kLanes) {
    uint32_t bits = small_ones(keys + first, bound);
#if defined(__AVX512F__)
    const __m512i numbers =
        _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    _mm512_storeu_si512(positions + found,
                        _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), numbers));
    found += static_cast<uint32_t>(__builtin_popcount(bits));
#else
    for (; bits != 0; bits &= bits - 1) {
      positions[found++] = first + static_cast<uint32_t>(__builtin_ctz(bits));
    }
#endif
  }
  return found;
}

}  // namespace

Cut find_cut(const uint32_t* keys, uint32_t num, uint32_t count, uint32_t bound) {
  int64_t low = -1, high = bound;  // up to low are `below` < count keys, up to high `up_to` > count
  uint32_t below = 0, up_to = num;
  for (int guesses = 0; high - low > 1; ++guesses) {
    int64_t guess = low + (high - low) / 2;
    if (guesses < kGuesses) {
      const double share = (count - below + 0.5) / (up_to - below + 1.0);
      guess = low + static_cast<int64_t>(share * static_cast<double>(high - low));
      guess = std::clamp(guess, low + 1, high - 1);
    }
    const uint32_t found = count_up_to(keys, padded(num), static_cast<uint32_t>(guess));
    if (found == count) return {guess, 0};
    if (found < count) {
      low = guess, below = found;
    } else {
      high = guess, up_to = found;
    }
  }
  return {low, count - below};
}

void take_cut(const uint32_t* keys, uint32_t num, Cut cut, uint32_t* positions) {
  if (cut.ties == 0) {
    positions_up_to(keys, padded(num), static_cast<uint32_t>(cut.sure), positions);
    return;
  }
  for (uint32_t i = 0; i < num; ++i) {
    const bool is_tie = cut.ties > 0 && keys[i] == cut.sure + 1;
    cut.ties -= is_tie;
    if (keys[i] <= cut.sure || is_tie) *positions++ = i;
  }
}

namespace {

int64_t original_id_of(const SourceIds& ids, int64_t id) {
  const int64_t inner = id - ids.first_id;
  if (inner >= 0 && inner < ids.num_inner) return ids.original_id[inner];
  const int64_t* const end = ids.outer_ids + ids.num_outer;
  const int64_t* const found = std::lower_bound(ids.outer_ids, end, id);
  if (found == end || *found != id) {
    throw std::invalid_argument("indices hold vertex " + std::to_string(id) +
                                ", whose id in the input is not given");
  }
  return ids.outer_original_id[found - ids.outer_ids];
}

}  // namespace

void KeyedPicker::pick(const uint32_t* sources, uint32_t degree, uint32_t count,
                       const KeyRound& round, uint32_t* picks) {
  if (count == 0) return;
  if (keys_.size() < kPiece) keys_.resize(kPiece);
  if (degree <= kPiece) {
    compute_keys(sources, degree, round, keys_.data());
    const Cut cut = find_cut(keys_.data(), degree, count, UINT32_MAX);
    take_cut(keys_.data(), degree, cut, picks);
    return;
  }
  const uint32_t bound = keep_small(sources, degree, count, round);
  if (num_kept_ > count) {
    const Cut cut = find_cut(keys_.data(), num_kept_, count, bound);
    take_cut(keys_.data(), num_kept_, cut, picks);
    for (uint32_t i = 0; i < count; ++i) picks[i] = positions_[picks[i]];
  } else {
    std::copy_n(positions_.data(), count, picks);
  }
}

uint32_t KeyedPicker::keep_small(const uint32_t* sources, uint32_t degree, uint32_t count,
                                 const KeyRound& round) {
  uint32_t piece[kPiece], small[kPiece + kLanes];
  // Four standard deviations more than are wanted: hardly ever too few, and never many.
  double wanted = count + 4 * std::sqrt(count) + 8;
  for (;; wanted *= 2) {
    const uint32_t largest = static_cast<uint32_t>(std::min(wanted / degree, 1.0) * UINT32_MAX);
    num_kept_ = 0;
    for (uint32_t first = 0; first < degree; first += kPiece) {
      const uint32_t size = std::min(kPiece, degree - first);
      compute_keys(sources + first, size, round, piece);
      // What fills up the last group counts where everything is small.
      const uint32_t found = std::min(positions_up_to(piece, padded(size), largest, small), size);
      if (keys_.size() < num_kept_ + found + kLanes) {
        keys_.resize(2 * size_t{num_kept_} + found + kLanes);
      }
      if (positions_.size() < keys_.size()) positions_.resize(keys_.size());
      for (uint32_t i = 0; i < found; ++i) {
        keys_[num_kept_] = piece[small[i]];
        positions_[num_kept_++] = first + small[i];
      }
    }
    if (num_kept_ < count) continue;
    std::fill_n(keys_.begin() + num_kept_, padded(num_kept_) - num_kept_, UINT32_MAX);
    return largest;
  }
}

template <typename Index>
void write_source_keys(const int64_t* indptr, const Index* indices, int64_t num_vertices,
                       const SourceIds& ids, int num_threads, uint32_t* keys) {
  over_lists(indptr, num_vertices, num_threads, [&](int64_t first, int64_t last) {
    std::vector<std::pair<int64_t, int64_t>> sorted;  // id and position, to find repeats
    for (int64_t v = first; v < last; ++v) {
      sorted.clear();
      for (int64_t e = indptr[v]; e < indptr[v + 1]; ++e) {
        keys[e] = source_key(original_id_of(ids, indices[e]), 0);
        sorted.emplace_back(indices[e], e);
      }
      std::sort(sorted.begin(), sorted.end());
      uint64_t occurrence = 0;
      for (size_t i = 1; i < sorted.size(); ++i) {
        occurrence = sorted[i].first == sorted[i - 1].first ? occurrence + 1 : 0;
        if (occurrence == 0) continue;
        keys[sorted[i].second] = source_key(original_id_of(ids, sorted[i].first), occurrence);
      }
    }
  });
}

template void write_source_keys(const int64_t*, const int32_t*, int64_t, const SourceIds&, int,
                                uint32_t*);
template void write_source_keys(const int64_t*, const int64_t*, int64_t, const SourceIds&, int,
                                uint32_t*);

}  // namespace gnnflow
