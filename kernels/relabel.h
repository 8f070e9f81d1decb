// Numbers vertices in order of discovery, with threads, and the same way for any number of them.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "hash.h"

namespace gnnflow {

// Every place where a vertex id occurs in a minibatch has a position: the seeds first, then the
// edges. A hash table maps a vertex to the first position where it was seen, and the vertex's
// number is read there. So entries never change once made, and threads can fill the table in any
// order of shards: within a shard keys come in order of position.
//
// Stamps instead of clearing: an entry holds base + position, entries below base are free, and a
// new minibatch raises base past all positions of the last one.
//
// Key is uint32_t where all global ids and positions fit in it, else uint64_t.
template <typename Key>
class Relabeler {
 public:
  explicit Relabeler(int num_threads);

  // Forgets all vertices.
  void begin();
  // Adds one vertex; returns the position where it was first seen, which is `position` if it is
  // new.
  int64_t insert(int64_t global_id, int64_t position);

  // A hop: edges at positions from `first_position` on, cut into chunks at chunk_begin[0] = 0 ...
  // chunk_begin[num_chunks] = number of edges. The caller writes global ids to keys(), calls
  // chunk_ready for every chunk, from any thread, and then finish_hop.
  void start_hop(int64_t first_position, std::vector<int64_t> chunk_begin);
  Key* keys() { return keys_.data(); }
  void chunk_ready(int64_t chunk);
  // Writes the number of every edge's vertex to ids_by_position and appends new vertices.
  void finish_hop(int64_t* ids_by_position, Buffer<int64_t>& vertices);

 private:
  struct Entry {
    Key key;
    Key stamp;
  };
  struct Item {
    Key key;
    Key position;
  };
  struct alignas(64) Shard {
    Buffer<Entry> table;  // open addressing, a power of two
    int slot_bits = 0;
    int64_t num_entries = 0;
  };

  static uint64_t hash(Key key) { return spread(key); }
  int64_t shard_of(uint64_t hash) const { return static_cast<int64_t>(hash >> shard_shift_); }
  int64_t slot_of(uint64_t hash, const Shard& shard) const {
    return static_cast<int64_t>((hash << (64 - shard_shift_)) >> (64 - shard.slot_bits));
  }
  int64_t num_chunks() const { return static_cast<int64_t>(chunk_begin_.size()) - 1; }

  void reserve(Shard& shard, int64_t num_more);
  void renew_stamps();
  Key find_or_insert(Shard& shard, Key key, Key position);
  void insert_shard(int64_t shard);
  void number_chunk(int64_t chunk, int64_t first_id, int64_t* ids_by_position, int64_t* vertices);
  void number_in_order(int64_t* ids_by_position, Buffer<int64_t>& vertices);

  int num_threads_;
  int shard_shift_;
  std::vector<Shard> shards_;
  Key base_;
  int64_t num_positions_ = 0;  // of this minibatch

  int64_t first_position_ = 0;
  bool in_order_ = true;  // whether this hop is too small to be sorted by shard
  std::vector<int64_t> chunk_begin_;
  Buffer<Key> keys_;
  Buffer<Item> items_;        // a chunk's keys, sorted by shard; then where each was seen first
  Buffer<Item> seen_before_;  // a chunk's edges to vertices that were seen before
  std::vector<int64_t> cell_begin_;    // [chunk][shard + 1] into items_
  std::vector<int64_t> num_new_;       // [shard][chunk]
  std::vector<int64_t> num_deferred_;  // [chunk]
};

}  // namespace gnnflow
