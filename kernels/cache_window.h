// The minibatches that are sampled already but not yet planned, and the next use of their vertices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "cache_index.h"
#include "cache_state.h"

namespace gnnflow {

class NextUseWindow {
 public:
  // Minibatches are numbered from 0, below 2^31. Priorities of vertices whose next use is known,
  // the sooner the larger, lie above those of all others, which are below 2^31.
  static constexpr uint32_t kFirstKnown = uint32_t{1} << 31;
  static uint32_t priority_of(uint32_t next_use) { return kNoNextUse - next_use; }

  struct Minibatch {
    std::vector<int32_t> keys;
    std::vector<uint32_t> next_uses;  // of each key, the minibatch after this one that asks for it
  };

  // Appends a minibatch. Vertices in the cache whose next use was unknown until now get their
  // priority there. Throws if a key is repeated.
  void push(std::vector<int32_t> keys, CacheIndex* index);
  // Takes the oldest minibatch out; its vertices keep the next use that they had.
  Minibatch pop();
  // Memory for the keys of a minibatch to come.
  std::vector<int32_t> spare_keys();
  void recycle(Minibatch minibatch);
  // Notes that the next use of a vertex, until now known, is not known any more.
  void lose(size_t num) { num_distinct_ -= num; }

  // Rows that the oldest minibatch asks for.
  size_t num_front_rows() const { return minibatches_.empty() ? 0 : minibatches_[0].keys.size(); }
  // How many rows of the oldest minibatch a later one within the window uses too.
  size_t num_front_rows_used_again() const;

  size_t num_minibatches() const { return minibatches_.size(); }
  uint32_t first_minibatch() const { return first_; }
  // Rows asked for within the window, with and without repetition.
  size_t num_rows() const { return num_rows_; }
  size_t num_distinct_rows() const { return num_distinct_; }
  size_t memory_bytes() const { return num_rows_ * (sizeof(int32_t) + sizeof(uint32_t)); }

 private:
  std::deque<Minibatch> minibatches_;
  std::vector<Minibatch> spares_;
  std::vector<uint32_t*> tables_;  // the next uses of each minibatch; good within a call
  uint32_t first_ = 0;
  size_t num_rows_ = 0;
  size_t num_distinct_ = 0;
};

}  // namespace gnnflow
