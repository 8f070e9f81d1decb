// Draws by key: of a neighbour list the entries with the smallest keys, which are functions of the
// sources and of the step, so that lists that share sources keep the same ones.
#pragma once

#include <cstdint>
#include <vector>

#include "random.h"

namespace gnnflow {

// What stands for a source in keys: of its id in the input and how often it came before in the
// same list. Parallel edges have keys of their own, or lists without them would be favoured.
inline uint32_t source_key(int64_t original_id, uint64_t occurrence) {
  return static_cast<uint32_t>(chain(chain(0, static_cast<uint64_t>(original_id)), occurrence) >>
                               32);
}

// The key of an entry in a round: a bijection of the source keys for every state, by two rounds of
// a 32-bit finaliser (constants: Wellons, "Prospecting for hash functions", 2018).
inline uint32_t entry_key(uint32_t source, uint32_t state_low, uint32_t state_high) {
  uint32_t h = source ^ state_low;
  h = (h ^ (h >> 16)) * 0x7FEB352Du;
  h = (h ^ (h >> 15)) * 0x846CA68Bu;
  h = (h ^ (h >> 16)) ^ state_high;
  h = (h ^ (h >> 16)) * 0x7FEB352Du;
  h = (h ^ (h >> 15)) * 0x846CA68Bu;
  return h ^ (h >> 16);
}

// The keys that hold in a step. A source draws a new one every `every` steps, the sources one
// after the other: those whose source key is at most `last` are still in round step / every, the
// others in the next one.
struct KeyRound {
  uint64_t step = 0;
  uint64_t now = 0, next = 0;  // states of entry_key
  uint32_t last = UINT32_MAX;

  KeyRound() = default;
  // every is in [1, 2^31].
  KeyRound(uint64_t seed, uint64_t step, uint64_t every)
      : step(step),
        now(state_of(seed, step / every)),
        next(state_of(seed, step / every + 1)),
        last(static_cast<uint32_t>((((every - step % every) << 32) / every) - 1)) {}

  uint32_t key(uint32_t source) const {
    const uint64_t state = source <= last ? now : next;
    return entry_key(source, static_cast<uint32_t>(state), static_cast<uint32_t>(state >> 32));
  }

 private:
  static uint64_t state_of(uint64_t seed, uint64_t round) {
    return chain(chain(chain(0, 1), seed), round);
  }
};

// Keys up to `sure` are taken, and the first `ties` of those that are sure + 1.
struct Cut {
  int64_t sure;
  uint32_t ties;
};

constexpr uint32_t kKeyGroup = 16;
// Where the `count` smallest of `num` > `count` keys end. Those that may be among them are up to
// `bound`, and larger than it are the keys that fill up the last group of kKeyGroup.
Cut find_cut(const uint32_t* keys, uint32_t num, uint32_t count, uint32_t bound);
// Writes the positions of what the cut leaves of `num` entries, in order, with room for a group
// more.
void take_cut(const uint32_t* keys, uint32_t num, Cut cut, uint32_t* positions);

// Picks from one list at a time; holds what that needs, so that nothing is allocated per vertex.
class KeyedPicker {
 public:
  static constexpr uint32_t kRoom = kKeyGroup;

  // Writes the ascending positions of the `count` < `degree` smallest keys; of equal keys the first
  // positions count. `picks` has room for kRoom more.
  void pick(const uint32_t* sources, uint32_t degree, uint32_t count, const KeyRound& round,
            uint32_t* picks);

 private:
  // Returns a bound of the keys that were kept.
  uint32_t keep_small(const uint32_t* sources, uint32_t degree, uint32_t count,
                      const KeyRound& round);

  std::vector<uint32_t> keys_;       // of a list, or of those that may be among the smallest
  std::vector<uint32_t> positions_;  // of these in a long list
  uint32_t num_kept_ = 0;
};

// Writes the source key of every entry of some neighbour lists.
// The id in the input of entry t is original_id[t - first_id] for inner vertices, t in
// [first_id, first_id + num_inner), else outer_original_id[i] with outer_ids[i] == t, ascending.
// Throws if an entry is in neither.
struct SourceIds {
  int64_t first_id, num_inner;
  const int64_t* original_id;
  const int64_t* outer_ids;
  const int64_t* outer_original_id;
  int64_t num_outer;
};
template <typename Index>
void write_source_keys(const int64_t* indptr, const Index* indices, int64_t num_vertices,
                       const SourceIds& ids, int num_threads, uint32_t* keys);

}  // namespace gnnflow
