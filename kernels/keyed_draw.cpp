// Selection of the smallest keys: by a threshold that is guessed, counted and corrected, since
// keys are spread evenly; counting is what a compiler vectorizes, sorting is not.
#include "keyed_draw.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "neighbor_lists.h"

namespace gnnflow {
namespace {

// Longer lists are read once and only what may be among the smallest is kept.
constexpr uint32_t kShortList = 512;
constexpr uint32_t kBlock = 64;
constexpr int kGuesses = 8;

void compute_keys(const uint32_t* sources, uint32_t num, const KeyRound& round, uint32_t* keys) {
  const uint32_t last = round.last;
  const uint32_t now_low = static_cast<uint32_t>(round.now);
  const uint32_t now_high = static_cast<uint32_t>(round.now >> 32);
  const uint32_t next_low = static_cast<uint32_t>(round.next);
  const uint32_t next_high = static_cast<uint32_t>(round.next >> 32);
  for (uint32_t i = 0; i < num; ++i) {
    const bool is_now = sources[i] <= last;
    keys[i] =
        entry_key(sources[i], is_now ? now_low : next_low, is_now ? now_high : next_high);
  }
}

uint32_t count_up_to(const uint32_t* keys, uint32_t num, uint32_t bound) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < num; ++i) count += keys[i] <= bound;
  return count;
}

// Keys up to `sure` are taken, and the first `ties` of those that are sure + 1.
struct Cut {
  int64_t sure;
  uint32_t ties;
};

// Where the `count` smallest of `num` > `count` keys end.
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
    const uint32_t found = count_up_to(keys, num, static_cast<uint32_t>(guess));
    if (found == count) return {guess, 0};
    if (found < count) {
      low = guess, below = found;
    } else {
      high = guess, up_to = found;
    }
  }
  return {low, count - below};
}

// Calls take(i) for the entries up to the cut, in order.
template <typename Take>
void take_up_to(const uint32_t* keys, uint32_t num, Cut cut, const Take& take) {
  for (uint32_t i = 0; i < num; ++i) {
    if (keys[i] <= cut.sure) {
      take(i);
    } else if (cut.ties > 0 && keys[i] == cut.sure + 1) {
      --cut.ties;
      take(i);
    }
  }
}

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
  if (degree <= kShortList) {
    if (keys_.size() < kShortList) keys_.resize(kShortList);
    uint32_t* const keys = keys_.data();
    compute_keys(sources, degree, round, keys);
    const Cut cut = find_cut(keys, degree, count, UINT32_MAX);
    if (cut.ties > 0) {
      take_up_to(keys, degree, cut, [&](uint32_t i) { *picks++ = i; });
      return;
    }
    // No branch: which entries are taken is what no processor predicts.
    const uint32_t sure = static_cast<uint32_t>(cut.sure);
    for (uint32_t i = 0; i < degree; ++i) {
      *picks = i;
      picks += keys[i] <= sure;
    }
    return;
  }
  const uint32_t bound = keep_small(sources, degree, count, round);
  if (num_kept_ == count) {
    std::copy_n(positions_.data(), count, picks);
    return;
  }
  const Cut cut = find_cut(keys_.data(), num_kept_, count, bound);
  take_up_to(keys_.data(), num_kept_, cut, [&](uint32_t i) { *picks++ = positions_[i]; });
}

uint32_t KeyedPicker::keep_small(const uint32_t* sources, uint32_t degree, uint32_t count,
                                 const KeyRound& round) {
  // Four standard deviations more than are wanted: hardly ever too few, and never many.
  double wanted = count + 4 * std::sqrt(count) + 8;
  for (;; wanted *= 2) {
    const uint32_t largest = static_cast<uint32_t>(std::min(wanted / degree, 1.0) * UINT32_MAX);
    num_kept_ = 0;
    for (uint32_t first = 0; first < degree; first += kBlock) {
      const uint32_t size = std::min(kBlock, degree - first);
      uint32_t block[kBlock];
      compute_keys(sources + first, size, round, block);
      uint32_t smallest = UINT32_MAX;
      for (uint32_t i = 0; i < size; ++i) smallest = std::min(smallest, block[i]);
      if (smallest > largest) continue;
      if (keys_.size() < num_kept_ + kBlock) keys_.resize(2 * num_kept_ + kBlock);
      if (positions_.size() < keys_.size()) positions_.resize(keys_.size());
      for (uint32_t i = 0; i < size; ++i) {
        keys_[num_kept_] = block[i];
        positions_[num_kept_] = first + i;
        num_kept_ += block[i] <= largest;
      }
    }
    if (num_kept_ >= count) return largest;
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
