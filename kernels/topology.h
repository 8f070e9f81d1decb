// Where the in-neighbours of a global vertex id lie: borrowed CSC arrays of parts and halo blocks.
#pragma once

#include <cstdint>
#include <vector>

namespace gnnflow {

// The CSC arrays of some vertices; pointers are borrowed and may be memory-mapped.
struct Adjacency {
  const int64_t* indptr = nullptr;
  const void* indices = nullptr;         // int32_t or int64_t global ids
  bool wide = true;                      // indices are int64_t
  const int64_t* original_id = nullptr;  // null: the global id is the original id
  const int64_t* edge_id = nullptr;      // null: not stored
  int64_t num_vertices = 0;
  int64_t num_edges = 0;

  bool is_set() const { return indptr != nullptr; }
  int64_t neighbor(int64_t position) const {
    return wide ? static_cast<const int64_t*>(indices)[position]
                : static_cast<const int32_t*>(indices)[position];
  }
};

// The adjacency of sorted vertices that belong to other parts.
struct HaloBlock {
  const int64_t* vertex_ids = nullptr;
  Adjacency adjacency;
};

// A vertex found: which adjacency holds it, and its row there.
struct Located {
  const Adjacency* adjacency = nullptr;  // null: not in this topology
  int64_t row = 0;
};

class Topology {
 public:
  explicit Topology(std::vector<int64_t> offsets);

  int64_t num_parts() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t num_vertices() const { return offsets_.back(); }
  const std::vector<int64_t>& offsets() const { return offsets_; }
  int64_t owner(int64_t global_id) const;
  Located locate(int64_t global_id) const;

  void set_part(int64_t part, const Adjacency& adjacency);
  void clear_halo();
  void add_halo(const HaloBlock& block);
  // Whether every adjacency that is set has edge ids.
  bool has_edge_ids() const;

 private:
  std::vector<int64_t> offsets_;
  std::vector<Adjacency> parts_;
  std::vector<HaloBlock> halo_;
};

}  // namespace gnnflow
