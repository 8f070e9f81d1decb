#include "cache_books.h"

#include <stdexcept>
#include <string>
#include <utility>

namespace gnnflow {
namespace {

constexpr size_t kAhead = 24;

}  // namespace

void CacheBooks::known(const int64_t* ids, size_t num, int32_t* keys, std::vector<int32_t>* fresh) {
  CacheIndex::known(ids, num, keys, fresh);
  for (const int32_t i : *fresh) order_.meet(ids[i], states() + keys[i]);
}

void CacheBooks::find_keys(const int64_t* ids, size_t num, int32_t* keys) {
  fresh_.clear();
  known(ids, num, keys, &fresh_);
}

uint32_t CacheBooks::current_priority(int32_t key) const {
  const VertexState& state = state_of(key);
  return state.next_use == kNoNextUse ? order_.priority_of(state)
                                      : NextUseWindow::priority_of(state.next_use);
}

void CacheBooks::priorities_of(const int32_t* keys, size_t num, uint32_t* priorities) const {
  check_keys(keys, num);
  for (size_t i = 0; i < num; ++i) priorities[i] = current_priority(keys[i]);
}

void CacheBooks::refresh_priorities() {
  for (int32_t slot = 0; slot < num_cached(); ++slot) {
    priorities()[slot] = current_priority(key_of_slot()[static_cast<size_t>(slot)]);
  }
}

void CacheBooks::fill(const int64_t* ids, size_t num) {
  keys_.resize(num);
  find_keys(ids, num, keys_.data());
  std::vector<int32_t> slots(num);
  std::vector<uint32_t> priorities(num);
  for (size_t i = 0; i < num; ++i) {
    slots[i] = num_cached() + static_cast<int32_t>(i);
    priorities[i] = current_priority(keys_[i]);
  }
  assign(slots.data(), keys_.data(), priorities.data(), num);
}

void CacheBooks::announce(const int64_t* ids, size_t num) {
  std::vector<int32_t> keys = window_.spare_keys();
  keys.resize(num);
  find_keys(ids, num, keys.data());
  window_.push(std::move(keys), this);
}

void CacheBooks::retract() {
  while (window_.num_minibatches()) {
    const NextUseWindow::Minibatch oldest = window_.pop();
    size_t num_lost = 0;
    for (size_t i = 0; i < oldest.keys.size(); ++i) {
      states()[oldest.keys[i]].next_use = oldest.next_uses[i];
      num_lost += oldest.next_uses[i] == kNoNextUse;
    }
    window_.lose(num_lost);
  }
  refresh_priorities();
}

// One pass over the minibatch without a branch that depends on what is found: hits and misses come
// in no order that could be guessed.
template <OrderKind kKind, bool kLooksAhead>
void CacheBooks::touch(const int64_t* ids, const int32_t* keys, const uint32_t* next_uses,
                       size_t num, int32_t minibatch, int32_t* slots) {
  VertexState* const states = this->states();
  uint32_t* const kept_priorities = priorities();
  const Arrived arrived = room_for_arrived(num);
  plan_.fetch_ids.resize(num);
  int64_t* const fetch_ids = plan_.fetch_ids.data();
  const double unit = order_.unit();
  size_t num_misses = 0;
  size_t num_lost = 0;
  bool repeated = false;
  for (size_t i = 0; i < num; ++i) {
    if (i + kAhead < num) __builtin_prefetch(&states[keys[i + kAhead]], 1);
    VertexState& state = states[keys[i]];
    repeated |= state.last_use == minibatch;
    state.last_use = minibatch;
    if constexpr (kKind == OrderKind::kCount) state.count += unit;
    uint32_t priority;
    if constexpr (kKind == OrderKind::kLastUse) {
      priority = static_cast<uint32_t>(minibatch + 1);
    } else if constexpr (kKind == OrderKind::kValue) {
      priority = state.value;
    } else {
      priority = bits_of(static_cast<float>(state.count));
    }
    if constexpr (kLooksAhead) {
      const uint32_t next_use = next_uses[i];
      state.next_use = next_use;
      num_lost += next_use == kNoNextUse;
      priority = next_use == kNoNextUse ? priority : NextUseWindow::priority_of(next_use);
    }
    const int32_t slot = state.slot;
    slots[i] = slot;
    kept_priorities[slot] = priority;
    fetch_ids[num_misses] = ids[i];
    arrived.keys[num_misses] = keys[i];
    arrived.priorities[num_misses] = priority;
    num_misses += slot < 0;
  }
  if (repeated) {
    throw std::invalid_argument("ids of a minibatch must be unique, got one twice");
  }
  plan_.fetch_ids.resize(num_misses);
  if constexpr (kLooksAhead) window_.lose(num_lost);
}

template <bool kLooksAhead>
void CacheBooks::touch_any(const int64_t* ids, const int32_t* keys, const uint32_t* next_uses,
                           size_t num, int32_t minibatch, int32_t* slots) {
  switch (order_.kind()) {
    case OrderKind::kLastUse:
      touch<OrderKind::kLastUse, kLooksAhead>(ids, keys, next_uses, num, minibatch, slots);
      break;
    case OrderKind::kValue:
      touch<OrderKind::kValue, kLooksAhead>(ids, keys, next_uses, num, minibatch, slots);
      break;
    case OrderKind::kCount:
      touch<OrderKind::kCount, kLooksAhead>(ids, keys, next_uses, num, minibatch, slots);
  }
}

const CacheBooks::Plan& CacheBooks::plan(const int64_t* ids, size_t num, int32_t minibatch,
                                         double fraction, int32_t* slots) {
  NextUseWindow::Minibatch announced;
  if (looks_ahead_) {
    if (window_.num_front_rows() != num || !window_.num_minibatches()) {
      throw std::invalid_argument("the oldest announced minibatch has " +
                                  std::to_string(window_.num_front_rows()) + " rows, got " +
                                  std::to_string(num));
    }
    announced = window_.pop();
  } else {
    keys_.resize(num);
    find_keys(ids, num, keys_.data());
  }
  begin_minibatch(minibatch);
  const bool unit_changed = order_.begin_minibatch(&all_states());
  if (looks_ahead_) {
    touch_any<true>(ids, announced.keys.data(), announced.next_uses.data(), num, minibatch, slots);
  } else {
    touch_any<false>(ids, keys_.data(), nullptr, num, minibatch, slots);
  }
  if (unit_changed) refresh_priorities();
  exchange(plan_.fetch_ids.size(), fraction, &plan_.replacement);
  if (looks_ahead_) window_.recycle(std::move(announced));
  return plan_;
}

size_t CacheBooks::num_known_to_return() const {
  if (!window_.num_minibatches()) return 0;
  const uint32_t used_by_front = NextUseWindow::priority_of(window_.first_minibatch());
  return static_cast<size_t>(count_at_least(NextUseWindow::kFirstKnown, used_by_front)) +
         window_.num_front_rows_used_again();
}

void CacheBooks::forget_idle() {
  std::vector<int32_t> idle;
  for (const int32_t key : uncached_keys()) {
    const VertexState& state = state_of(key);
    if (state.next_use == kNoNextUse && order_.can_forget(state)) idle.push_back(key);
  }
  forget(idle.data(), idle.size());
}

size_t CacheBooks::memory_bytes() const {
  return CacheIndex::memory_bytes() + window_.memory_bytes() + order_.memory_bytes();
}

}  // namespace gnnflow
