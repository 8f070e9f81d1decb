#include "cache_vertex_table.h"

#include <stdexcept>
#include <string>

namespace gnnflow {
namespace {

constexpr int kFirstBits = 10;

}  // namespace

VertexTable::VertexTable()
    : entries_(size_t{1} << kFirstBits, Entry{0, -1}),
      mask_((size_t{1} << kFirstBits) - 1),
      shift_(64 - kFirstBits) {}

int32_t VertexTable::find(int64_t id) const {
  for (size_t at = home(id);; at = (at + 1) & mask_) {
    const Entry& entry = entries_[at];
    if (entry.key < 0) return -1;
    if (entry.id == id) return entry.key;
  }
}

int32_t VertexTable::find_or_insert(int64_t id, bool* is_new) {
  size_t at = home(id);
  for (;; at = (at + 1) & mask_) {
    const Entry& entry = entries_[at];
    if (entry.key < 0) break;
    if (entry.id == id) {
      *is_new = false;
      return entry.key;
    }
  }
  if (id < 0) {
    throw std::invalid_argument("vertex ids must not be negative, got " + std::to_string(id));
  }
  *is_new = true;
  if (10 * (num_known_ + 1) > 7 * entries_.size()) {
    grow();
    for (at = home(id); entries_[at].key >= 0;) at = (at + 1) & mask_;
  }
  int32_t key;
  if (!free_keys_.empty()) {
    key = free_keys_.back();
    free_keys_.pop_back();
    id_of_key_[static_cast<size_t>(key)] = id;
  } else {
    if (id_of_key_.size() >= INT32_MAX) {
      throw std::length_error("the cache knows 2147483647 vertices, which is the limit");
    }
    key = static_cast<int32_t>(id_of_key_.size());
    id_of_key_.push_back(id);
  }
  entries_[at] = {id, key};
  ++num_known_;
  return key;
}

void VertexTable::forget(int32_t key) {
  const int64_t id = id_of(key);
  if (id < 0) throw std::invalid_argument("key " + std::to_string(key) + " was forgotten before");
  size_t hole = home(id);
  while (entries_[hole].key != key) hole = (hole + 1) & mask_;
  // Entries behind the hole move back to it unless that would put them before their home.
  for (size_t at = (hole + 1) & mask_; entries_[at].key >= 0; at = (at + 1) & mask_) {
    const size_t distance_from_home = (at - home(entries_[at].id)) & mask_;
    if (distance_from_home >= ((at - hole) & mask_)) {
      entries_[hole] = entries_[at];
      hole = at;
    }
  }
  entries_[hole].key = -1;
  id_of_key_[static_cast<size_t>(key)] = -1;
  free_keys_.push_back(key);
  --num_known_;
}

void VertexTable::grow() {
  std::vector<Entry> old(entries_.size() * 2, Entry{0, -1});
  old.swap(entries_);
  mask_ = entries_.size() - 1;
  --shift_;
  for (const Entry& entry : old) {
    if (entry.key < 0) continue;
    size_t at = home(entry.id);
    while (entries_[at].key >= 0) at = (at + 1) & mask_;
    entries_[at] = entry;
  }
}

size_t VertexTable::memory_bytes() const {
  return entries_.capacity() * sizeof(Entry) + id_of_key_.capacity() * sizeof(int64_t) +
         free_keys_.capacity() * sizeof(int32_t);
}

}  // namespace gnnflow
