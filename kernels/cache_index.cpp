#include "cache_index.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "check_index.h"

namespace gnnflow {
namespace {

// Ids are handled in groups: first all cache lines are asked for, then used.
constexpr size_t kGroup = 64;
constexpr size_t kAhead = 32;

int32_t checked_capacity(int64_t capacity) {
  if (capacity < 0 || capacity > INT32_MAX) {
    throw std::invalid_argument("capacity must be in [0, 2147483647] rows, got " +
                                std::to_string(capacity));
  }
  return static_cast<int32_t>(capacity);
}

}  // namespace

CacheIndex::CacheIndex(int64_t capacity, int64_t num_vertices)
    : capacity_(checked_capacity(capacity)),
      vertices_(num_vertices),
      key_of_slot_(static_cast<size_t>(capacity), -1),
      priorities_(static_cast<size_t>(capacity) + 1, 0) {}

void CacheIndex::known(const int64_t* ids, size_t num, int32_t* keys, std::vector<int32_t>* fresh) {
  for (size_t begin = 0; begin < num; begin += kGroup) {
    const size_t end = std::min(begin + kGroup, num);
    for (size_t i = begin; i < end; ++i) vertices_.prefetch(ids[i]);
    for (size_t i = begin; i < end; ++i) {
      bool is_new;
      keys[i] = vertices_.find_or_insert(ids[i], &is_new);
      if (is_new) fresh->push_back(static_cast<int32_t>(i));
    }
  }
  if (vertices_.num_keys() > states_.size()) {
    states_.reserve(std::max(vertices_.num_keys(), states_.size() * 3 / 2));
    states_.resize(vertices_.num_keys());
  }
}

void CacheIndex::begin_minibatch(int32_t minibatch) {
  if (minibatch <= last_minibatch_) {
    throw std::invalid_argument("minibatch numbers must grow, got " + std::to_string(minibatch) +
                                " after " + std::to_string(last_minibatch_));
  }
  last_minibatch_ = minibatch;
}

void CacheIndex::look_up(const int64_t* ids, size_t num, int32_t minibatch, int32_t* keys,
                         int32_t* slots, std::vector<int32_t>* fresh) {
  known(ids, num, keys, fresh);
  begin_minibatch(minibatch);
  for (size_t i = 0; i < num; ++i) {
    if (i + kAhead < num) __builtin_prefetch(&states_[static_cast<size_t>(keys[i + kAhead])], 1);
    VertexState& state = states_[static_cast<size_t>(keys[i])];
    if (state.last_use == minibatch) {
      throw std::invalid_argument("ids of a minibatch must be unique, got " +
                                  std::to_string(ids[i]) + " twice");
    }
    state.last_use = minibatch;
    slots[i] = state.slot;
  }
}

void CacheIndex::find_slots(const int64_t* ids, size_t num, int32_t* slots) const {
  for (size_t begin = 0; begin < num; begin += kGroup) {
    const size_t end = std::min(begin + kGroup, num);
    for (size_t i = begin; i < end; ++i) vertices_.prefetch(ids[i]);
    for (size_t i = begin; i < end; ++i) {
      const int32_t key = vertices_.find(ids[i]);
      slots[i] = key < 0 ? -1 : slot_of(key);
    }
  }
}

void CacheIndex::check_keys(const int32_t* keys, size_t num) const {
  const auto limit = static_cast<int64_t>(states_.size());
  if (count_outside(keys, static_cast<int64_t>(num), limit) == 0) return;
  for (size_t i = 0; i < num; ++i) check_index(keys[i], limit, "keys");
}

void CacheIndex::slots_of(const int32_t* keys, size_t num, int32_t* slots) const {
  check_keys(keys, num);
  for (size_t i = 0; i < num; ++i) slots[i] = slot_of(keys[i]);
}

void CacheIndex::ids_of(const int32_t* keys, size_t num, int64_t* ids) const {
  check_keys(keys, num);
  for (size_t i = 0; i < num; ++i) ids[i] = vertices_.id_of(keys[i]);
}

std::vector<int32_t> CacheIndex::cached_keys() const {
  return {key_of_slot_.begin(), key_of_slot_.begin() + num_cached_};
}

std::vector<int64_t> CacheIndex::cached_ids() const {
  std::vector<int64_t> ids(static_cast<size_t>(num_cached_));
  ids_of(key_of_slot_.data(), ids.size(), ids.data());
  return ids;
}

std::vector<int32_t> CacheIndex::last_uses() const {
  std::vector<int32_t> uses(static_cast<size_t>(num_cached_));
  for (size_t slot = 0; slot < uses.size(); ++slot) uses[slot] = last_use_of(key_of_slot_[slot]);
  return uses;
}

int32_t CacheIndex::count_at_least(uint32_t priority, uint32_t except) const {
  int32_t count = 0;
  for (int32_t slot = 0; slot < num_cached_; ++slot) {
    const uint32_t at = priorities()[slot];
    count += at >= priority && at != except;
  }
  return count;
}

void CacheIndex::place(int32_t key, int32_t slot, uint32_t priority) {
  states_[static_cast<size_t>(key)].slot = slot;
  key_of_slot_[static_cast<size_t>(slot)] = key;
  priorities()[slot] = priority;
}

CacheIndex::Arrived CacheIndex::room_for_arrived(size_t num_rows) {
  if (num_rows > arrived_keys_.size()) {
    arrived_keys_.resize(num_rows);
    arrived_priorities_.resize(num_rows);
  }
  return {arrived_keys_.data(), arrived_priorities_.data()};
}

void CacheIndex::exchange(size_t num_misses, double fraction, Replacement* result) {
  const auto num_free = static_cast<size_t>(capacity_ - num_cached_);
  const Priorities cached{priorities(), static_cast<size_t>(num_cached_)};
  const Priorities arrived{arrived_priorities_.data(), num_misses};
  const size_t num_drops = num_misses > num_free ? num_misses - num_free : 0;
  const Drops* drops = &worst_.find(cached, arrived, num_drops);
  result->arrived = drops->kept;
  std::vector<int32_t>& freed = freed_;
  freed = drops->slots;
  const auto max_evictions =
      static_cast<size_t>(std::ceil(fraction * static_cast<double>(freed.size())));
  if (max_evictions < freed.size()) {
    // Fewer may go: the worst cached rows leave, and as many fewer of the arrived ones stay.
    freed = worst_.find(cached, {nullptr, 0}, max_evictions).slots;
    result->arrived = worst_.find({nullptr, 0}, arrived, num_drops - max_evictions).kept;
  }
  result->num_evicted = static_cast<int64_t>(freed.size());
  for (size_t i = 0; i < freed.size(); ++i) {
    if (i + kAhead < freed.size()) {
      __builtin_prefetch(&state_of(key_of_slot_[static_cast<size_t>(freed[i + kAhead])]), 1);
    }
    const int32_t key = key_of_slot_[static_cast<size_t>(freed[i])];
    states_[static_cast<size_t>(key)].slot = -1;
  }
  auto next_freed = freed.begin();
  result->slots.resize(result->arrived.size());
  for (size_t i = 0; i < result->arrived.size(); ++i) {
    const int32_t slot = num_cached_ < capacity_ ? num_cached_++ : *next_freed++;
    const auto position = static_cast<size_t>(result->arrived[i]);
    place(arrived_keys_[position], slot, arrived_priorities_[position]);
    result->slots[i] = slot;
  }
}

int64_t CacheIndex::assign(const int32_t* slots, const int32_t* keys, const uint32_t* priorities,
                           size_t num) {
  check_keys(keys, num);
  int32_t end = num_cached_;
  for (size_t i = 0; i < num; ++i) {
    if (slots[i] < 0 || slots[i] >= capacity_ || (slots[i] >= num_cached_ && slots[i] != end++)) {
      throw std::invalid_argument("slots must be used ones, or the free ones in order, got " +
                                  std::to_string(slots[i]));
    }
  }
  int64_t num_evicted = 0;
  for (size_t i = 0; i < num; ++i) {
    if (slot_of(keys[i]) >= 0) {
      throw std::invalid_argument("only vertices that are not cached can be assigned, got " +
                                  std::to_string(vertices_.id_of(keys[i])));
    }
    const int32_t previous = key_of_slot_[static_cast<size_t>(slots[i])];
    if (previous >= 0) {
      states_[static_cast<size_t>(previous)].slot = -1;
      ++num_evicted;
    }
    place(keys[i], slots[i], priorities[i]);
  }
  num_cached_ = end;
  return num_evicted;
}

std::vector<int32_t> CacheIndex::uncached_keys() const {
  std::vector<int32_t> keys;
  const auto num_keys = static_cast<int32_t>(vertices_.num_keys());
  for (int32_t key = 0; key < num_keys; ++key) {
    if (slot_of(key) < 0 && vertices_.is_known(key)) keys.push_back(key);
  }
  return keys;
}

void CacheIndex::forget(const int32_t* keys, size_t num) {
  check_keys(keys, num);
  for (size_t i = 0; i < num; ++i) {
    if (slot_of(keys[i]) >= 0) {
      throw std::invalid_argument("a cached vertex cannot be forgotten, got " +
                                  std::to_string(vertices_.id_of(keys[i])));
    }
  }
  for (size_t i = 0; i < num; ++i) {
    vertices_.forget(keys[i]);
    states_[static_cast<size_t>(keys[i])] = VertexState{};
  }
}

size_t CacheIndex::memory_bytes() const {
  return vertices_.memory_bytes() + states_.capacity() * sizeof(VertexState) +
         key_of_slot_.capacity() * (sizeof(int32_t) + sizeof(uint32_t));
}

}  // namespace gnnflow
