// A sharded hash table of first positions, filled and read in parallel; see relabel.h.
#include "relabel.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int kMinShardBits = 4;
constexpr int kMaxShardBits = 8;
constexpr int kFirstSlotBits = 6;
// Below this many edges the table fits in the caches and sorting by shard costs more than it saves.
constexpr int64_t kInOrderEdges = 4096;
// Entries asked for ahead of use; a table is often larger than the second cache.
constexpr int64_t kAhead = 32;
// Room in a table is made for this many insertions at a time.
constexpr int64_t kRun = 1024;
// The stamps start close to their end, so that renewing them is nothing rare.
constexpr int64_t kFirstRoom = 1 << 16;

int shard_bits(int num_threads) {
  int bits = kMinShardBits;
  while (bits < kMaxShardBits && (1 << bits) < 2 * num_threads) ++bits;
  return bits;
}

}  // namespace

template <typename Key>
Relabeler<Key>::Relabeler(int num_threads)
    : num_threads_(num_threads),
      shard_shift_(64 - shard_bits(num_threads)),
      shards_(size_t{1} << shard_bits(num_threads)),
      base_(std::numeric_limits<Key>::max() - kFirstRoom) {}

template <typename Key>
void Relabeler<Key>::begin() {
  if (static_cast<uint64_t>(num_positions_) >= std::numeric_limits<Key>::max() - base_) {
    renew_stamps();
  }
  base_ += static_cast<Key>(num_positions_);
  num_positions_ = 0;
  for (Shard& shard : shards_) shard.num_entries = 0;
}

// Moves the stamps in use back to the start of their range.
template <typename Key>
void Relabeler<Key>::renew_stamps() {
  parallel_for(static_cast<int64_t>(shards_.size()), num_threads_, [&](int64_t index) {
    Buffer<Entry>& table = shards_[index].table;
    for (int64_t i = 0; i < table.size(); ++i) {
      table[i].stamp = table[i].stamp >= base_ ? table[i].stamp - base_ + 1 : 0;
    }
  });
  base_ = 1;
}

// Makes room for more entries at half load, which keeps probes short.
template <typename Key>
void Relabeler<Key>::reserve(Shard& shard, int64_t num_more) {
  if ((shard.num_entries + num_more) * 2 <= shard.table.size()) return;
  int bits = std::max(shard.slot_bits, kFirstSlotBits);
  while ((shard.num_entries + num_more) * 2 > int64_t{1} << bits) ++bits;
  Buffer<Entry> old(int64_t{1} << bits);
  std::fill_n(old.data(), old.size(), Entry{0, 0});
  std::swap(old, shard.table);
  shard.slot_bits = bits;
  const int64_t mask = shard.table.size() - 1;
  for (int64_t i = 0; i < old.size(); ++i) {
    if (old[i].stamp < base_) continue;
    int64_t slot = slot_of(hash(old[i].key), shard);
    while (shard.table[slot].stamp >= base_) slot = (slot + 1) & mask;
    shard.table[slot] = old[i];
  }
}

template <typename Key>
inline Key Relabeler<Key>::find_or_insert(Shard& shard, Key key, Key position) {
  Entry* const table = shard.table.data();
  const int64_t mask = shard.table.size() - 1;
  int64_t slot = slot_of(hash(key), shard);
  for (;;) {
    Entry& entry = table[slot];
    const bool free = entry.stamp < base_;
    // New or known is a coin toss that no processor predicts: both take the same way.
    if (free | (entry.key == key)) {
      const Key stamp = free ? base_ + position : entry.stamp;
      entry = {key, stamp};
      shard.num_entries += free;
      return stamp - base_;
    }
    slot = (slot + 1) & mask;
  }
}

template <typename Key>
int64_t Relabeler<Key>::insert(int64_t global_id, int64_t position) {
  if (static_cast<uint64_t>(position) >= std::numeric_limits<Key>::max() - base_) renew_stamps();
  num_positions_ = std::max(num_positions_, position + 1);
  const Key key = static_cast<Key>(global_id);
  Shard& shard = shards_[shard_of(hash(key))];
  reserve(shard, 1);
  return static_cast<int64_t>(find_or_insert(shard, key, static_cast<Key>(position)));
}

template <typename Key>
void Relabeler<Key>::start_hop(int64_t first_position, std::vector<int64_t> chunk_begin) {
  const int64_t num_edges = chunk_begin.back();
  const uint64_t num_positions = static_cast<uint64_t>(first_position + num_edges);
  const uint64_t limit = std::numeric_limits<Key>::max();
  if (num_positions >= limit - base_) renew_stamps();
  if (num_positions >= limit - base_) {
    throw std::invalid_argument("a minibatch must have fewer than " + std::to_string(limit) +
                                " seeds and edges, got " + std::to_string(num_positions) +
                                "; use a smaller batch size or fanout");
  }
  num_positions_ = static_cast<int64_t>(num_positions);
  first_position_ = first_position;
  chunk_begin_ = std::move(chunk_begin);
  keys_.clear();
  keys_.resize(num_edges);
  in_order_ = num_edges <= kInOrderEdges;
  if (in_order_) return;
  items_.clear();
  items_.resize(num_edges);
  seen_before_.clear();
  seen_before_.resize(num_edges);
  cell_begin_.resize(num_chunks() * (shards_.size() + 1));
  num_new_.resize(num_chunks() * shards_.size());
  num_deferred_.resize(num_chunks());
}

// Sorts the keys of a chunk by shard; equal shards stay in order of position.
template <typename Key>
void Relabeler<Key>::chunk_ready(int64_t chunk) {
  if (in_order_) return;
  const int64_t begin = chunk_begin_[chunk], end = chunk_begin_[chunk + 1];
  const int64_t num_shards = static_cast<int64_t>(shards_.size());
  int64_t cursor[(1 << kMaxShardBits) + 1] = {};
  const Key* const keys = keys_.data();
  for (int64_t i = begin; i < end; ++i) ++cursor[shard_of(hash(keys[i])) + 1];
  int64_t* const cell_begin = cell_begin_.data() + chunk * (num_shards + 1);
  cursor[0] = begin;
  for (int64_t shard = 0; shard < num_shards; ++shard) cursor[shard + 1] += cursor[shard];
  std::copy_n(cursor, num_shards + 1, cell_begin);
  Item* const items = items_.data();
  for (int64_t i = begin; i < end; ++i) {
    items[cursor[shard_of(hash(keys[i]))]++] = {keys[i], static_cast<Key>(first_position_ + i)};
  }
}

template <typename Key>
void Relabeler<Key>::insert_shard(int64_t index) {
  Shard& shard = shards_[index];
  const int64_t num_shards = static_cast<int64_t>(shards_.size());
  for (int64_t chunk = 0; chunk < num_chunks(); ++chunk) {
    const int64_t* const cell = cell_begin_.data() + chunk * (num_shards + 1) + index;
    const int64_t before = shard.num_entries;
    for (int64_t begin = cell[0]; begin < cell[1]; begin += kRun) {
      const int64_t end = std::min(begin + kRun, cell[1]);
      reserve(shard, end - begin);
      Item* const items = items_.data();
      const Entry* const table = shard.table.data();
      for (int64_t i = begin; i < end; ++i) {
        __builtin_prefetch(table + slot_of(hash(items[std::min(i + kAhead, end - 1)].key), shard),
                           1);
        items[i].position = find_or_insert(shard, items[i].key, items[i].position);
      }
    }
    num_new_[index * num_chunks() + chunk] = shard.num_entries - before;
  }
}

template <typename Key>
void Relabeler<Key>::number_chunk(int64_t chunk, int64_t first_id, int64_t* ids_by_position,
                                  int64_t* vertices) {
  const int64_t begin = chunk_begin_[chunk], end = chunk_begin_[chunk + 1];
  const int64_t num_shards = static_cast<int64_t>(shards_.size());
  int64_t cursor[1 << kMaxShardBits];
  std::copy_n(cell_begin_.data() + chunk * (num_shards + 1), num_shards, cursor);
  // New keys move to the front of the chunk and others to seen_before_, without a branch.
  Key* const keys = keys_.data();
  const Item* const items = items_.data();
  Item* const seen_before = seen_before_.data() + begin;
  int64_t* const ids = ids_by_position + first_position_;
  int64_t num_new = 0;
  for (int64_t i = begin; i < end; ++i) {
    const Key key = keys[i];
    const Key position = static_cast<Key>(first_position_ + i);
    const Key first_seen = items[cursor[shard_of(hash(key))]++].position;
    const bool is_new = first_seen == position;
    seen_before[i - begin - num_new] = {position, first_seen};
    keys[begin + num_new] = key;
    ids[i] = first_id + num_new;
    num_new += is_new;
  }
  for (int64_t i = 0; i < num_new; ++i)
    vertices[first_id + i] = static_cast<int64_t>(keys[begin + i]);
  num_deferred_[chunk] = end - begin - num_new;
}

template <typename Key>
void Relabeler<Key>::number_in_order(int64_t* ids_by_position, Buffer<int64_t>& vertices) {
  const int64_t num_edges = keys_.size();
  const Key* const keys = keys_.data();
  int64_t num_vertices = vertices.size();
  vertices.reserve(num_vertices + num_edges);
  int64_t* const new_vertices = vertices.data();
  for (int64_t begin = 0; begin < num_edges; begin += kRun) {
    const int64_t end = std::min(begin + kRun, num_edges);
    for (Shard& shard : shards_) reserve(shard, end - begin);
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t ahead = hash(keys[std::min(i + kAhead, end - 1)]);
      const Shard& shard_ahead = shards_[shard_of(ahead)];
      __builtin_prefetch(shard_ahead.table.data() + slot_of(ahead, shard_ahead), 1);
      const int64_t position = first_position_ + i;
      Shard& shard = shards_[shard_of(hash(keys[i]))];
      const int64_t first_seen =
          static_cast<int64_t>(find_or_insert(shard, keys[i], static_cast<Key>(position)));
      ids_by_position[position] = num_vertices;
      new_vertices[num_vertices] = static_cast<int64_t>(keys[i]);
      num_vertices += first_seen == position;
      ids_by_position[position] = ids_by_position[first_seen];
    }
  }
  vertices.resize(num_vertices);
}

template <typename Key>
void Relabeler<Key>::finish_hop(int64_t* ids_by_position, Buffer<int64_t>& vertices) {
  if (in_order_) {
    number_in_order(ids_by_position, vertices);
    return;
  }
  const int64_t num_shards = static_cast<int64_t>(shards_.size());
  parallel_for(num_shards, num_threads_, [&](int64_t shard) { insert_shard(shard); });
  std::vector<int64_t> first_id(num_chunks());
  int64_t next_id = vertices.size();
  for (int64_t chunk = 0; chunk < num_chunks(); ++chunk) {
    first_id[chunk] = next_id;
    for (int64_t shard = 0; shard < num_shards; ++shard) {
      next_id += num_new_[shard * num_chunks() + chunk];
    }
  }
  vertices.resize(next_id);
  parallel_for(num_chunks(), num_threads_, [&](int64_t chunk) {
    number_chunk(chunk, first_id[chunk], ids_by_position, vertices.data());
  });
  parallel_for(num_chunks(), num_threads_, [&](int64_t chunk) {
    const Item* const items = seen_before_.data() + chunk_begin_[chunk];
    const int64_t size = num_deferred_[chunk];
    for (int64_t i = 0; i < size; ++i) {
      __builtin_prefetch(ids_by_position + items[std::min(i + kAhead, size - 1)].position);
      ids_by_position[items[i].key] = ids_by_position[items[i].position];
    }
  });
}

template class Relabeler<uint32_t>;
template class Relabeler<uint64_t>;

}  // namespace gnnflow
