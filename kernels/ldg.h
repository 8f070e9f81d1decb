// Linear deterministic greedy: streams vertices to parts under several balance constraints.
#pragma once

#include <cstdint>

namespace gnnflow {

// A graph with weights to balance; pointers are borrowed.
template <typename Id>
struct StreamedGraph {
  const int64_t* indptr;
  const Id* neighbors;
  const int32_t* weights;  // [num_vertices, num_constraints]
  int64_t num_vertices;
  int64_t num_constraints;
};

// Goes once through the vertices in the given order and moves each to the part that holds most of
// its neighbours, times the room left there. part[v] is -1 for a vertex not placed yet; load
// [num_parts, num_constraints] follows along. Returns how many vertices changed their part. Throws
// if a part is out of range.
template <typename Id>
int64_t ldg_pass(const StreamedGraph<Id>& graph, const Id* order, const double* capacity,
                 int64_t num_parts, int32_t* part, int64_t* load);

// Goes once through the vertices and moves those out of parts above their capacity whose move makes
// the sum of squared excesses smaller and loses at most max_loss neighbours in the same part.
// Returns and throws as ldg_pass does; every vertex must have been placed.
template <typename Id>
int64_t rebalance_pass(const StreamedGraph<Id>& graph, const Id* order, const double* capacity,
                       int64_t max_loss, int64_t num_parts, int32_t* part, int64_t* load);

}  // namespace gnnflow
