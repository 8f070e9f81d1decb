// Gives every remote vertex that was ever met a small number, its key: a hash table from global id.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gnnflow {

// Open addressing with linear probing and backward-shift erasure, so that no tombstones pile up.
// Ids are not negative. Keys are dense, stay put while their vertex is known, and are given out
// again after `forget`.
class VertexTable {
 public:
  VertexTable();

  // The key of a vertex, or -1.
  int32_t find(int64_t id) const;
  // The key of a vertex, given now if it had none; `is_new` says which.
  int32_t find_or_insert(int64_t id, bool* is_new);
  void forget(int32_t key);
  // Touches the cache line that a later find of this id starts from.
  void prefetch(int64_t id) const { __builtin_prefetch(&entries_[home(id)]); }

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

  size_t home(int64_t id) const {
    return static_cast<size_t>((static_cast<uint64_t>(id) * 0x9E3779B97F4A7C15ull) >> shift_);
  }
  void grow();

  std::vector<Entry> entries_;
  std::vector<int64_t> id_of_key_;
  std::vector<int32_t> free_keys_;
  size_t num_known_ = 0;
  size_t mask_ = 0;
  int shift_ = 0;
};

}  // namespace gnnflow
