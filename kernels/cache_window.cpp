#include "cache_window.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace gnnflow {
namespace {

constexpr size_t kAhead = 32;

}  // namespace

void NextUseWindow::push(const int32_t* keys, size_t num, std::vector<int32_t>* newly_known) {
  if (num > 0) {
    if (*std::min_element(keys, keys + num) < 0) {
      throw std::invalid_argument("keys must not be negative");
    }
    const auto largest = static_cast<size_t>(*std::max_element(keys, keys + num));
    if (largest >= states_.size()) states_.resize(std::max(largest + 1, states_.size() * 3 / 2));
  }
  const auto minibatch = static_cast<uint32_t>(first_ + minibatches_.size());
  minibatches_.push_back({{keys, keys + num}, std::vector<uint32_t>(num, kUnknown)});
  num_rows_ += num;
  for (size_t i = 0; i < num; ++i) {
    if (i + kAhead < num) __builtin_prefetch(&states_[static_cast<size_t>(keys[i + kAhead])]);
    State& state = states_[static_cast<size_t>(keys[i])];
    if (state.next_use == kUnknown) {
      state.next_use = minibatch;
      ++num_distinct_;
      newly_known->push_back(keys[i]);
    } else {
      if (state.last_minibatch == minibatch) {
        throw std::invalid_argument(
            "ids of a minibatch must be unique, got the same vertex twice "
            "in minibatch " +
            std::to_string(minibatch));
      }
      minibatches_[state.last_minibatch - first_].next[state.last_index] = minibatch;
    }
    state.last_minibatch = minibatch;
    state.last_index = static_cast<uint32_t>(i);
  }
}

std::vector<int32_t> NextUseWindow::pop() {
  if (minibatches_.empty()) {
    throw std::invalid_argument("the lookahead window is empty; announce the minibatch first");
  }
  Minibatch front = std::move(minibatches_.front());
  minibatches_.pop_front();
  ++first_;
  num_rows_ -= front.keys.size();
  for (size_t i = 0; i < front.keys.size(); ++i) {
    if (i + kAhead < front.keys.size()) {
      __builtin_prefetch(&states_[static_cast<size_t>(front.keys[i + kAhead])]);
    }
    states_[static_cast<size_t>(front.keys[i])].next_use = front.next[i];
    num_distinct_ -= front.next[i] == kUnknown;
  }
  return std::move(front.keys);
}

void NextUseWindow::next_uses(const int32_t* keys, size_t num, uint32_t* next) const {
  for (size_t i = 0; i < num; ++i) {
    const auto key = static_cast<size_t>(keys[i]);
    next[i] = key < states_.size() ? states_[key].next_use : kUnknown;
  }
}

size_t NextUseWindow::num_front_rows_used_again() const {
  if (minibatches_.empty()) return 0;
  const std::vector<uint32_t>& next = minibatches_.front().next;
  return next.size() - static_cast<size_t>(std::count(next.begin(), next.end(), kUnknown));
}

size_t NextUseWindow::memory_bytes() const {
  return states_.capacity() * sizeof(State) + num_rows_ * (sizeof(int32_t) + sizeof(uint32_t));
}

}  // namespace gnnflow
