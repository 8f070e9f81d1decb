#include "cache_vertex_table.h"

#include <stdexcept>
#include <string>

namespace gnnflow {
namespace {

constexpr int kFirstBits = 10;
// An array by id costs 4 bytes for each vertex of the graph; beyond 64 MiB a table costs less.
constexpr int64_t kLargestDirect = int64_t{1} << 24;

}  // namespace

VertexTable::VertexTable(int64_t num_vertices) {
  if (num_vertices > 0 && num_vertices <= kLargestDirect) {
    direct_.resize(static_cast<size_t>(num_vertices), 0);
    return;
  }
  entries_.assign(size_t{1} << kFirstBits, Entry{0, -1});
  mask_ = entries_.size() - 1;
  shift_ = 64 - kFirstBits;
}

int32_t VertexTable::insert(int64_t id) {
  if (id < 0 || (!direct_.empty() && !in_graph(id))) {
    throw std::invalid_argument("vertex ids must not be negative and be of the graph, got " +
                                std::to_string(id));
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
  ++num_known_;
  if (!direct_.empty()) {
    direct_[static_cast<size_t>(id)] = key + 1;
    return key;
  }
  if (10 * num_known_ > 7 * entries_.size()) grow();
  size_t at = home(id);
  while (entries_[at].key >= 0) at = (at + 1) & mask_;
  entries_[at] = {id, key};
  return key;
}

void VertexTable::forget(int32_t key) {
  const int64_t id = id_of(key);
  if (id < 0) throw std::invalid_argument("key " + std::to_string(key) + " was forgotten before");
  if (!direct_.empty()) {
    direct_[static_cast<size_t>(id)] = 0;
  } else {
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
  }
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
  return direct_.capacity() * sizeof(int32_t) + entries_.capacity() * sizeof(Entry) +
         id_of_key_.capacity() * sizeof(int64_t) + free_keys_.capacity() * sizeof(int32_t);
}

}  // namespace gnnflow
