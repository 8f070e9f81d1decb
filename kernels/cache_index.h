// Which remote vertex sits in which slot of the halo cache, in what order the slots are worth
// keeping, and which arrived rows take whose place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache_selection.h"
#include "cache_state.h"
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
  CacheIndex(int64_t capacity, int64_t num_vertices);
  virtual ~CacheIndex() = default;

  // Gives each id its key; `fresh` gets the positions of ids that had none.
  virtual void known(const int64_t* ids, size_t num, int32_t* keys, std::vector<int32_t>* fresh);
  // Gives each id its slot, or -1 where its row must be fetched, and its key.
  // Throws if an id is repeated or a minibatch number is not larger than the one before.
  void look_up(const int64_t* ids, size_t num, int32_t minibatch, int32_t* keys, int32_t* slots,
               std::vector<int32_t>* fresh);
  // Slots without any bookkeeping.
  void find_slots(const int64_t* ids, size_t num, int32_t* slots) const;

  // How many cached rows have at least this priority and another one than `except`.
  int32_t count_at_least(uint32_t priority, uint32_t except) const;
  // By slot; that of slot -1 means nothing, so that it can be written without asking.
  uint32_t* priorities() { return priorities_.data() + 1; }
  const uint32_t* priorities() const { return priorities_.data() + 1; }
  // Puts vertices that are not cached into given slots, whatever was there; returns evictions.
  int64_t assign(const int32_t* slots, const int32_t* keys, const uint32_t* priorities, size_t num);

  // Of each key its slot, or -1, and the id of its vertex; throw if a key was never given.
  void slots_of(const int32_t* keys, size_t num, int32_t* slots) const;
  void ids_of(const int32_t* keys, size_t num, int64_t* ids) const;
  // Of the cached vertices, by slot.
  std::vector<int32_t> cached_keys() const;
  std::vector<int64_t> cached_ids() const;
  std::vector<int32_t> last_uses() const;
  // Keys of known vertices that are not cached, ascending.
  std::vector<int32_t> uncached_keys() const;
  // Forgets vertices that are not cached; their keys are given out again.
  void forget(const int32_t* keys, size_t num);

  const VertexTable& vertices() const { return vertices_; }
  int32_t capacity() const { return capacity_; }
  int32_t num_cached() const { return num_cached_; }
  const std::vector<int32_t>& key_of_slot() const { return key_of_slot_; }  // -1: free
  void check_keys(const int32_t* keys, size_t num) const;
  int32_t slot_of(int32_t key) const { return state_of(key).slot; }
  int32_t last_use_of(int32_t key) const { return state_of(key).last_use; }
  const VertexState& state_of(int32_t key) const { return states_[static_cast<size_t>(key)]; }
  VertexState* states() { return states_.data(); }  // by key, until a vertex is met
  size_t memory_bytes() const;

 protected:
  std::vector<VertexState>& all_states() { return states_; }
  void begin_minibatch(int32_t minibatch);

  // What arrives for a minibatch, in order; `num_rows` is the size of the minibatch.
  struct Arrived {
    int32_t* keys;
    uint32_t* priorities;
  };
  Arrived room_for_arrived(size_t num_rows);
  // Keeps the best of cached and arrived rows. Of the evictions that this takes only a fraction,
  // the worst rows, is done.
  void exchange(size_t num_misses, double fraction, Replacement* result);

 private:
  void place(int32_t key, int32_t slot, uint32_t priority);

  int32_t capacity_;
  int32_t num_cached_ = 0;  // slots fill in order, so the free ones are the last ones
  int32_t last_minibatch_ = -1;
  VertexTable vertices_;
  std::vector<VertexState> states_;  // by key
  std::vector<int32_t> key_of_slot_;
  std::vector<uint32_t> priorities_;  // one before that of slot 0
  WorstFinder worst_;
  std::vector<int32_t> arrived_keys_;
  std::vector<uint32_t> arrived_priorities_;
  std::vector<int32_t> freed_;
};

}  // namespace gnnflow
