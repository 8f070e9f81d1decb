// Where the in-neighbours of a global vertex id lie: borrowed CSC arrays of parts and halo blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "check_index.h"
#include "owners.h"

namespace gnnflow {

// The CSC arrays of some vertices; pointers are borrowed and may be memory-mapped.
struct Adjacency {
  const int64_t* indptr = nullptr;       // null: not set
  const void* indices = nullptr;         // int32_t or int64_t global ids
  bool wide = true;                      // indices are int64_t
  const int64_t* original_id = nullptr;  // null: the global id is the original id
  const int64_t* edge_id = nullptr;      // null: edges are numbered from first_edge on, if that is
  int64_t first_edge = -1;               // not negative, in the order of the indices
  const uint32_t* source_key = nullptr;  // of every entry; null: only draws without keys
  const float* weight = nullptr;         // of every entry; null: only draws without weights
  int64_t num_vertices = 0;
  int64_t num_edges = 0;
};

// A vertex found: which adjacency holds it, and its row there.
struct Location {
  static constexpr uint32_t kNowhere = UINT32_MAX;
  uint32_t adjacency = kNowhere;
  int64_t row = 0;

  bool found() const { return adjacency != kNowhere; }
};

class Topology {
 public:
  explicit Topology(std::vector<int64_t> offsets);

  int64_t num_parts() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t num_vertices() const { return offsets_.back(); }
  bool contains(int64_t global_id) const { return is_index(global_id, num_vertices()); }
  // The part that owns a global id, which must be in range.
  int64_t owner(int64_t global_id) const {
    return Owners{offsets_.data(), num_parts()}.of(global_id);
  }
  Location locate(int64_t global_id) const;
  // Tells of each id whether it can be located here; ids that are not of the graph cannot.
  void find_local(const int64_t* ids, int64_t num_ids, bool* is_local) const;
  // The parts in order, then the halo blocks.
  const Adjacency& adjacency(uint32_t index) const { return adjacencies_[index]; }

  void set_part(int64_t part, const Adjacency& adjacency);
  void clear_halo();
  // The adjacency of vertices of other parts; vertex_ids are sorted.
  void add_halo(const int64_t* vertex_ids, const Adjacency& adjacency);
  // The source key of every entry of an adjacency that is set: a part, or num_parts + a halo block.
  void set_source_keys(int64_t index, const uint32_t* keys, int64_t num_keys);
  // Whether every adjacency that is set has edge ids or numbers its edges.
  bool has_edge_ids() const;
  // Whether every adjacency that is set has source keys.
  bool has_source_keys() const;
  // Whether every adjacency that is set has weights.
  bool has_weights() const;

 private:
  std::vector<int64_t> offsets_;
  std::vector<Adjacency> adjacencies_;
  std::vector<const int64_t*> halo_vertex_ids_;
};

// Throws with the name of the argument unless the id is in [0, num_vertices).
void check_id(const Topology& topology, int64_t global_id, const char* name);

}  // namespace gnnflow
