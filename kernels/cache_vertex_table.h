// Gives every remote vertex that was ever met a small number, its key: a hash table from global id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "hash.h"

namespace gnnflow {

// Keys are dense, stay put while their vertex is known, and are given out again after `forget`.
// If the graph is small, the way from id to key is an array by id; if not, or if its size is not
// known, open addressing with linear probing and backward-shift erasure, which leaves no
// tombstones.
class VertexTable {
 public:
  // `num_vertices` is the number of vertices of the graph, 0 if that is not known.
  explicit VertexTable(int64_t num_vertices);

  // The key of a vertex, or -1.
  int32_t find(int64_t id) const {
    if (!direct_.empty()) return in_graph(id) ? direct_[static_cast<size_t>(id)] - 1 : -1;
    return find_hashed(id);
  }
  // The key of a vertex, given now if it had none; `is_new` says which.
  int32_t find_or_insert(int64_t id, bool* is_new) {
    const int32_t key = find(id);
    *is_new = key < 0;
    return key < 0 ? insert(id) : key;
  }
  void forget(int32_t key);
  // Touches the cache line that a later find of this id starts from.
  void prefetch(int64_t id) const {
    if (direct_.empty()) {
      __builtin_prefetch(&entries_[home(id)]);
    } else if (in_graph(id)) {
      __builtin_prefetch(&direct_[static_cast<size_t>(id)]);
    }
  }

  int64_t id_of(int32_t key) const { return id_of_key_[static_cast<size_t>(key)]; }
  bool is_known(int32_t key) const { return id_of(key) >= 0; }
  // One more than the largest key ever given; arrays by key have this length.
  size_t num_keys() const { return id_of_key_.size(); }
  size_t num_known() const { return num_known_; }
  size_t memory_bytes() const;

 private:
  struct Entry {
    int64_t id;
    int32_t key;  // -1 while the entry is free
  };

  bool in_graph(int64_t id) const { return static_cast<uint64_t>(id) < direct_.size(); }
  size_t home(int64_t id) const {
    return static_cast<size_t>(spread(static_cast<uint64_t>(id)) >> shift_);
  }
  int32_t find_hashed(int64_t id) const {
    for (size_t at = home(id);; at = (at + 1) & mask_) {
      const Entry& entry = entries_[at];
      if (entry.key < 0) return -1;
      if (entry.id == id) return entry.key;
    }
  }
  int32_t insert(int64_t id);
  void grow();

  std::vector<int32_t> direct_;  // by id: key + 1, 0 if not known; empty if hashed
  std::vector<Entry> entries_;
  std::vector<int64_t> id_of_key_;
  std::vector<int32_t> free_keys_;
  size_t num_known_ = 0;
  size_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace gnnflow
