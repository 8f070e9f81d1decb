// The next use of every vertex within the minibatches that are sampled already but not yet trained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "cache_index.h"

namespace gnnflow {

class NextUseWindow {
 public:
  static constexpr uint32_t kUnknown = UINT32_MAX;

  // Priorities of vertices whose next use is known; the sooner, the larger. They lie above those of
  // vertices whose next use is not known, which must be below 2^31.
  static uint32_t priority_of(uint32_t next_use) { return kUnknown - next_use; }

  // Appends a minibatch. Vertices in the cache whose next use was unknown until now get their
  // priority there. Throws if a key is repeated.
  void push(const int32_t* keys, size_t num, CacheIndex* index);
  // Takes the oldest minibatch out; `keys` must be its keys. `priorities` hold those that its
  // vertices have if they are not used again within the window, and become those that they have.
  void pop(const int32_t* keys, size_t num, uint32_t* priorities);
  // Minibatch number of the next use of each key, or kUnknown; minibatches are numbered from 0.
  void next_uses(const int32_t* keys, size_t num, uint32_t* next) const;

  // Rows that the oldest minibatch asks for.
  size_t num_front_rows() const { return next_.empty() ? 0 : next_.front().size(); }
  // How many rows of the oldest minibatch a later one within the window uses too.
  size_t num_front_rows_used_again() const;

  size_t num_minibatches() const { return next_.size(); }
  uint32_t first_minibatch() const { return first_; }
  // Rows asked for within the window, with and without repetition.
  size_t num_rows() const { return num_rows_; }
  size_t num_distinct_rows() const { return num_distinct_; }
  size_t memory_bytes() const;

 private:
  struct alignas(16) State {
    uint32_t next_use = kUnknown;
    uint32_t last_minibatch = 0;  // the latest use within the window, valid while next_use is
    uint32_t last_index = 0;
  };

  // Of each minibatch, for each of its keys, the minibatch that uses the key next.
  std::deque<std::vector<uint32_t>> next_;
  uint32_t first_ = 0;
  size_t num_rows_ = 0;
  size_t num_distinct_ = 0;
  std::vector<State> states_;  // by key
};

}  // namespace gnnflow
