// The next use of every vertex within the minibatches that are sampled already but not yet trained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace gnnflow {

class NextUseWindow {
 public:
  static constexpr uint32_t kUnknown = UINT32_MAX;

  // Appends a minibatch. `newly_known` gets the keys whose next use was unknown until now: it is
  // this minibatch. Throws if a key is repeated.
  void push(const int32_t* keys, size_t num, std::vector<int32_t>* newly_known);
  // Takes the oldest minibatch out and returns its keys in the order they were given.
  // Their next uses are then those after it.
  std::vector<int32_t> pop();
  // Minibatch number of the next use of each key, or kUnknown; minibatches are numbered from 0.
  void next_uses(const int32_t* keys, size_t num, uint32_t* next) const;

  // Rows that the oldest minibatch asks for.
  size_t num_front_rows() const {
    return minibatches_.empty() ? 0 : minibatches_.front().keys.size();
  }
  // How many rows of the oldest minibatch a later one within the window uses too.
  size_t num_front_rows_used_again() const;

  size_t num_minibatches() const { return minibatches_.size(); }
  uint32_t first_minibatch() const { return first_; }
  // Rows asked for within the window, with and without repetition.
  size_t num_rows() const { return num_rows_; }
  size_t num_distinct_rows() const { return num_distinct_; }
  size_t memory_bytes() const;

 private:
  struct Minibatch {
    std::vector<int32_t> keys;
    std::vector<uint32_t> next;  // minibatch that uses the key after this one
  };
  struct State {
    uint32_t next_use = kUnknown;
    uint32_t last_minibatch = 0;  // the latest use within the window, valid while next_use is
    uint32_t last_index = 0;
  };

  std::deque<Minibatch> minibatches_;
  uint32_t first_ = 0;
  size_t num_rows_ = 0;
  size_t num_distinct_ = 0;
  std::vector<State> states_;  // by key
};

}  // namespace gnnflow
