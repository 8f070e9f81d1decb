// Finds vertices in the parts and halo blocks of a topology.
#include "topology.h"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

namespace gnnflow {
namespace {

// Checks the ends only: the arrays may be mapped and larger than memory.
void check_ends(const Adjacency& adjacency, const std::string& what) {
  const int64_t first = adjacency.indptr[0];
  const int64_t last = adjacency.indptr[adjacency.num_vertices];
  if (first != 0 || last != adjacency.num_edges) {
    throw std::invalid_argument(what + ": indptr must run from 0 to the number of indices " +
                                std::to_string(adjacency.num_edges) + ", got " +
                                std::to_string(first) + " to " + std::to_string(last) +
                                "; write the partition again");
  }
}

}  // namespace

Topology::Topology(std::vector<int64_t> offsets) : offsets_(std::move(offsets)) {
  if (offsets_.size() < 2 || offsets_.front() != 0 ||
      !std::is_sorted(offsets_.begin(), offsets_.end())) {
    throw std::invalid_argument(
        "offsets must be ascending and start at 0: the first global id of every part, then the "
        "number of vertices");
  }
  adjacencies_.resize(offsets_.size() - 1);
}

Location Topology::locate(int64_t global_id) const {
  const int64_t part = owner(global_id);
  if (adjacencies_[part].indptr != nullptr) {
    return {static_cast<uint32_t>(part), global_id - offsets_[part]};
  }
  for (size_t block = 0; block < halo_vertex_ids_.size(); ++block) {
    const uint32_t index = static_cast<uint32_t>(num_parts() + static_cast<int64_t>(block));
    const int64_t* begin = halo_vertex_ids_[block];
    const int64_t* end = begin + adjacencies_[index].num_vertices;
    const int64_t* found = std::lower_bound(begin, end, global_id);
    if (found != end && *found == global_id) return {index, found - begin};
  }
  return {};
}

void Topology::find_local(const int64_t* ids, int64_t num_ids, bool* is_local) const {
  for (int64_t i = 0; i < num_ids; ++i) is_local[i] = contains(ids[i]) && locate(ids[i]).found();
}

void Topology::set_part(int64_t part, const Adjacency& adjacency) {
  check_index(part, num_parts(), "part");
  const int64_t expected = offsets_[part + 1] - offsets_[part];
  if (adjacency.num_vertices != expected) {
    throw std::invalid_argument(
        "part " + std::to_string(part) + " has " + std::to_string(expected) +
        " vertices by its offsets, so its indptr needs one entry more, got " +
        std::to_string(adjacency.num_vertices + 1) + "; use the offsets of the same partition");
  }
  check_ends(adjacency, "part " + std::to_string(part));
  adjacencies_[part] = adjacency;
}

void Topology::clear_halo() {
  adjacencies_.resize(num_parts());
  halo_vertex_ids_.clear();
}

void Topology::add_halo(const int64_t* vertex_ids, const Adjacency& adjacency) {
  check_ends(adjacency, "halo");
  const int64_t* end = vertex_ids + adjacency.num_vertices;
  if (std::adjacent_find(vertex_ids, end, std::greater_equal<int64_t>()) != end) {
    throw std::invalid_argument("halo: vertex_ids must be sorted and unique; sort them");
  }
  adjacencies_.push_back(adjacency);
  halo_vertex_ids_.push_back(vertex_ids);
}

void Topology::set_source_keys(int64_t index, const uint32_t* keys, int64_t num_keys) {
  if (index < 0 || index >= static_cast<int64_t>(adjacencies_.size())) {
    throw std::invalid_argument("index must be in [0, " + std::to_string(adjacencies_.size()) +
                                "), got " + std::to_string(index));
  }
  if (num_keys != adjacencies_[index].num_edges) {
    throw std::invalid_argument("source_keys must have one entry per edge: expected " +
                                std::to_string(adjacencies_[index].num_edges) + ", got " +
                                std::to_string(num_keys));
  }
  adjacencies_[index].source_key = keys;
}

bool Topology::has_source_keys() const {
  return std::all_of(adjacencies_.begin(), adjacencies_.end(), [](const Adjacency& adjacency) {
    return adjacency.source_key != nullptr || adjacency.num_edges == 0;
  });
}

bool Topology::has_weights() const {
  return std::all_of(adjacencies_.begin(), adjacencies_.end(), [](const Adjacency& adjacency) {
    return adjacency.weight != nullptr || adjacency.num_edges == 0;
  });
}

bool Topology::has_edge_ids() const {
  return std::all_of(adjacencies_.begin(), adjacencies_.end(), [](const Adjacency& adjacency) {
    return adjacency.edge_id != nullptr || adjacency.first_edge >= 0 || adjacency.num_edges == 0;
  });
}

void check_id(const Topology& topology, int64_t global_id, const char* name) {
  if (!topology.contains(global_id)) {
    throw_outside(std::string(name) + " must be global ids", global_id, topology.num_vertices());
  }
}

}  // namespace gnnflow
