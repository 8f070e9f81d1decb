#include "cache_window.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace gnnflow {
namespace {

constexpr size_t kGroup = 64;
constexpr size_t kAhead = 32;

}  // namespace

void NextUseWindow::push(const int32_t* keys, size_t num, CacheIndex* index) {
  index->check_keys(keys, num);
  const size_t num_keys = index->vertices().num_keys();
  if (num_keys > states_.size()) {
    states_.reserve(std::max(num_keys, states_.size() * 3 / 2));
    states_.resize(num_keys);
  }
  const auto minibatch = static_cast<uint32_t>(first_ + next_.size());
  const uint32_t priority = priority_of(minibatch);
  next_.emplace_back(num, kUnknown);
  num_rows_ += num;
  // In groups, because each step asks for a place in memory that the one before it leads to.
  for (size_t begin = 0; begin < num; begin += kGroup) {
    const size_t end = std::min(begin + kGroup, num);
    for (size_t i = begin; i < end; ++i) __builtin_prefetch(&states_[keys[i]], 1);
    for (size_t i = begin; i < end; ++i) {
      const State& state = states_[static_cast<size_t>(keys[i])];
      if (state.next_use == kUnknown) {
        index->prefetch_state(keys[i]);
      } else {
        __builtin_prefetch(&next_[state.last_minibatch - first_][state.last_index], 1);
      }
    }
    for (size_t i = begin; i < end; ++i) {
      State& state = states_[static_cast<size_t>(keys[i])];
      if (state.next_use == kUnknown) {
        state.next_use = minibatch;
        ++num_distinct_;
        index->set_priority(keys[i], priority);
      } else if (state.last_minibatch == minibatch) {
        throw std::invalid_argument("ids of a minibatch must be unique, got " +
                                    std::to_string(index->vertices().id_of(keys[i])) + " twice");
      } else {
        next_[state.last_minibatch - first_][state.last_index] = minibatch;
      }
      state.last_minibatch = minibatch;
      state.last_index = static_cast<uint32_t>(i);
    }
  }
}

void NextUseWindow::pop(const int32_t* keys, size_t num, uint32_t* priorities) {
  if (next_.empty() || next_.front().size() != num) {
    throw std::invalid_argument("the oldest announced minibatch has " +
                                std::to_string(num_front_rows()) + " rows, got " +
                                std::to_string(num));
  }
  bool all_valid = true;
  for (size_t i = 0; i < num; ++i) all_valid &= static_cast<uint32_t>(keys[i]) < states_.size();
  if (!all_valid) {
    throw std::invalid_argument("keys must be those of the oldest announced minibatch");
  }
  const std::vector<uint32_t> next = std::move(next_.front());
  next_.pop_front();
  ++first_;
  num_rows_ -= num;
  for (size_t i = 0; i < num; ++i) {
    if (i + kAhead < num) __builtin_prefetch(&states_[keys[i + kAhead]], 1);
    states_[static_cast<size_t>(keys[i])].next_use = next[i];
    if (next[i] == kUnknown) {
      --num_distinct_;
    } else {
      priorities[i] = priority_of(next[i]);
    }
  }
}

void NextUseWindow::next_uses(const int32_t* keys, size_t num, uint32_t* next) const {
  for (size_t i = 0; i < num; ++i) {
    const auto key = static_cast<size_t>(keys[i]);
    next[i] = key < states_.size() ? states_[key].next_use : kUnknown;
  }
}

size_t NextUseWindow::num_front_rows_used_again() const {
  if (next_.empty()) return 0;
  const std::vector<uint32_t>& next = next_.front();
  return next.size() - static_cast<size_t>(std::count(next.begin(), next.end(), kUnknown));
}

size_t NextUseWindow::memory_bytes() const {
  return states_.capacity() * sizeof(State) + num_rows_ * sizeof(uint32_t);
}

}  // namespace gnnflow
