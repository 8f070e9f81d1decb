#include "cache_window.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace gnnflow {
namespace {

constexpr size_t kAhead = 24;
constexpr size_t kSpares = 4;

}  // namespace

void NextUseWindow::push(std::vector<int32_t> keys, CacheIndex* index) {
  const auto minibatch = static_cast<uint32_t>(first_ + minibatches_.size());
  const uint32_t priority = priority_of(minibatch);
  const size_t num = keys.size();
  Minibatch added;
  if (!spares_.empty()) {
    added.next_uses = std::move(spares_.back().next_uses);
    spares_.pop_back();
  }
  added.keys = std::move(keys);
  added.next_uses.assign(num, kNoNextUse);
  minibatches_.push_back(std::move(added));
  num_rows_ += num;
  uint32_t nowhere = 0;
  tables_.assign(1, &nowhere);
  for (Minibatch& each : minibatches_) tables_.push_back(each.next_uses.data());
  uint32_t* const* const tables = tables_.data();
  const int32_t* const key = minibatches_.back().keys.data();
  VertexState* const states = index->states();
  uint32_t* const priorities = index->priorities();
  size_t num_known = 0;
  uint32_t repeated = 0;
  for (size_t i = 0; i < num; ++i) {
    if (i + kAhead < num) __builtin_prefetch(&states[key[i + kAhead]], 1);
    VertexState& state = states[key[i]];
    // Without a branch, which nothing could predict: what does not apply is written to nowhere.
    const uint32_t is_known = state.next_use != kNoNextUse;
    const uint32_t if_known = 0 - is_known;  // all bits or none
    repeated |= is_known & (state.last_announced == minibatch);
    tables[(state.last_announced - first_ + 1) & if_known][state.last_position & if_known] =
        minibatch;
    state.next_use = (state.next_use & if_known) | (minibatch & ~if_known);
    priorities[state.slot | static_cast<int32_t>(if_known)] = priority;
    num_known += is_known;
    state.last_announced = minibatch;
    state.last_position = static_cast<uint32_t>(i);
  }
  if (repeated) throw std::invalid_argument("ids of a minibatch must be unique, got one twice");
  num_distinct_ += num - num_known;
}

NextUseWindow::Minibatch NextUseWindow::pop() {
  if (minibatches_.empty()) throw std::invalid_argument("no minibatch is announced");
  Minibatch oldest = std::move(minibatches_.front());
  minibatches_.pop_front();
  ++first_;
  num_rows_ -= oldest.keys.size();
  return oldest;
}

std::vector<int32_t> NextUseWindow::spare_keys() {
  return spares_.empty() ? std::vector<int32_t>() : std::move(spares_.back().keys);
}

void NextUseWindow::recycle(Minibatch minibatch) {
  if (spares_.size() < kSpares) spares_.push_back(std::move(minibatch));
}

size_t NextUseWindow::num_front_rows_used_again() const {
  if (minibatches_.empty()) return 0;
  const std::vector<uint32_t>& next = minibatches_.front().next_uses;
  return next.size() - static_cast<size_t>(std::count(next.begin(), next.end(), kNoNextUse));
}

}  // namespace gnnflow
