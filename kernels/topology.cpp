// Finds vertices in the parts and halo blocks of a topology.
#include "topology.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace gnnflow {
namespace {

void check(const Adjacency& adjacency, const std::string& what) {
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
        "offsets must hold at least two ascending numbers that start at 0: the first global id of "
        "every part and the number of vertices");
  }
  parts_.resize(offsets_.size() - 1);
}

int64_t Topology::owner(int64_t global_id) const {
  return std::upper_bound(offsets_.begin(), offsets_.end(), global_id) - offsets_.begin() - 1;
}

Located Topology::locate(int64_t global_id) const {
  const int64_t part = owner(global_id);
  if (parts_[part].is_set()) return {&parts_[part], global_id - offsets_[part]};
  for (const HaloBlock& block : halo_) {
    const int64_t* end = block.vertex_ids + block.adjacency.num_vertices;
    const int64_t* found = std::lower_bound(block.vertex_ids, end, global_id);
    if (found != end && *found == global_id) return {&block.adjacency, found - block.vertex_ids};
  }
  return {};
}

void Topology::set_part(int64_t part, const Adjacency& adjacency) {
  if (part < 0 || part >= num_parts()) {
    throw std::invalid_argument("part must be in [0, " + std::to_string(num_parts()) + "), got " +
                                std::to_string(part));
  }
  const int64_t expected = offsets_[part + 1] - offsets_[part];
  if (adjacency.num_vertices != expected) {
    throw std::invalid_argument(
        "part " + std::to_string(part) + " has " + std::to_string(expected) +
        " vertices by its offsets, but indptr has " + std::to_string(adjacency.num_vertices + 1) +
        " entries; it needs one more than there are vertices");
  }
  check(adjacency, "part " + std::to_string(part));
  parts_[part] = adjacency;
}

void Topology::clear_halo() { halo_.clear(); }

void Topology::add_halo(const HaloBlock& block) {
  check(block.adjacency, "halo");
  const int64_t* end = block.vertex_ids + block.adjacency.num_vertices;
  if (std::adjacent_find(block.vertex_ids, end, [](int64_t a, int64_t b) { return a >= b; }) !=
      end) {
    throw std::invalid_argument("halo: vertex_ids must be sorted and unique; sort them");
  }
  halo_.push_back(block);
}

bool Topology::has_edge_ids() const {
  for (const Adjacency& part : parts_) {
    if (part.is_set() && part.edge_id == nullptr && part.num_edges > 0) return false;
  }
  for (const HaloBlock& block : halo_) {
    if (block.adjacency.edge_id == nullptr && block.adjacency.num_edges > 0) return false;
  }
  return true;
}

}  // namespace gnnflow
