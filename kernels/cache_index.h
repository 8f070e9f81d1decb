// Which remote vertex sits in which slot of the halo cache, in what order the slots are worth
// keeping, and which arrived rows take whose place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache_selection.h"
#include "cache_vertex_table.h"

namespace gnnflow {

struct Replacement {
  std::vector<int32_t> arrived;  // which of the arrived rows are admitted, ascending
  std::vector<int32_t> slots;    // where each of them goes
  int64_t num_evicted = 0;
};

class CacheIndex {
 public:
  // `num_vertices` is the number of vertices of the graph, 0 if that is not known.
  CacheIndex(int32_t capacity, int64_t num_vertices);

  // Gives each id its key; `fresh` gets the positions of ids that had none.
  void known(const int64_t* ids, size_t num, int32_t* keys, std::vector<int32_t>* fresh);
  // Gives each id its slot, or -1 where its row must be fetched, and its key.
  // Throws if an id is repeated or a minibatch number is not larger than the one before.
  void look_up(const int64_t* ids, size_t num, int32_t minibatch, int32_t* keys, int32_t* slots,
               std::vector<int32_t>* fresh);
  // The same for vertices whose keys are known.
  void look_up_keys(const int32_t* keys, size_t num, int32_t minibatch, int32_t* slots);
  // Slots without any bookkeeping.
  void find_slots(const int64_t* ids, size_t num, int32_t* slots) const;

  // How many cached rows have at least this priority and another one than `except`.
  int32_t count_at_least(uint32_t priority, uint32_t except) const;

  // Sets priorities of the cached ones among some vertices.
  void set_priorities(const int32_t* keys, const uint32_t* priorities, size_t num);
  void set_priority(int32_t key, uint32_t priority) {
    const int32_t slot = slot_of(key);
    if (slot >= 0) priority_of_slot_[static_cast<size_t>(slot)] = priority;
  }
  // After `look_up`: sets the priorities of all that were found, then keeps the best of cached and
  // arrived rows. Of the evictions that this takes only a fraction, the worst rows, is done.
  Replacement replace(const int32_t* keys, const int32_t* slots, const uint32_t* priorities,
                      size_t num, double fraction);
  // Puts vertices that are not cached into given slots, whatever was there; returns evictions.
  int64_t assign(const int32_t* slots, const int32_t* keys, const uint32_t* priorities, size_t num);

  // Keys of known vertices that are not cached, ascending.
  std::vector<int32_t> uncached_keys() const;
  // Forgets vertices that are not cached; their keys are given out again.
  void forget(const int32_t* keys, size_t num);

  const VertexTable& vertices() const { return vertices_; }
  int32_t capacity() const { return capacity_; }
  int32_t num_cached() const { return num_cached_; }
  const std::vector<int32_t>& key_of_slot() const { return key_of_slot_; }  // -1: free
  void prefetch_state(int32_t key) const { __builtin_prefetch(&states_[static_cast<size_t>(key)]); }
  void check_keys(const int32_t* keys, size_t num) const;
  int32_t slot_of(int32_t key) const { return states_[static_cast<size_t>(key)].slot; }
  int32_t last_use_of(int32_t key) const { return states_[static_cast<size_t>(key)].last_use; }
  int32_t last_minibatch() const { return last_minibatch_; }
  size_t memory_bytes() const;

 private:
  struct State {
    int32_t slot = -1;
    int32_t last_use = -1;
  };

  void begin_minibatch(int32_t minibatch);
  int32_t use(int32_t key, int32_t minibatch);
  void place(int32_t key, int32_t slot, uint32_t priority);

  int32_t capacity_;
  int32_t num_cached_ = 0;  // slots fill in order, so the free ones are the last ones
  int32_t last_minibatch_ = -1;
  VertexTable vertices_;
  std::vector<State> states_;  // by key
  std::vector<int32_t> key_of_slot_;
  std::vector<uint32_t> priority_of_slot_;
  WorstFinder worst_;
  std::vector<int32_t> arrived_positions_;
  std::vector<uint32_t> arrived_priorities_;
};

}  // namespace gnnflow
