// Source: Stanton and Kliot, "Streaming graph partitioning for large distributed graphs", KDD 2012;
// further passes: Nishimura and Ugander, "Restreaming graph partitioning", KDD 2013.
#include "ldg.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace gnnflow {

namespace {

// The least share of a capacity that is left once the vertex is in the part, negative if it does
// not fit; only constraints that the vertex weighs on count.
double room_left(const int64_t* load, const int32_t* weight, const double* capacity,
                 int64_t num_constraints) {
  double room = 1.0;
  for (int64_t c = 0; c < num_constraints; ++c) {
    if (weight[c] == 0) continue;
    room = std::min(room, 1.0 - static_cast<double>(load[c] + weight[c]) / capacity[c]);
  }
  return room;
}

}  // namespace

template <typename Id>
int64_t ldg_pass(const StreamedGraph<Id>& graph, const Id* order, const double* capacity,
                 bool only_overfull, int64_t num_parts, int32_t* part, int64_t* load) {
  const int64_t num_constraints = graph.num_constraints;
  std::vector<int64_t> neighbors_in(num_parts, 0);
  int64_t num_moved = 0;
  for (int64_t i = 0; i < graph.num_vertices; ++i) {
    const Id v = order[i];
    const int32_t before = part[v];
    const int32_t* weight = graph.weights + v * num_constraints;
    if (before >= 0) {
      int64_t* filled = load + before * num_constraints;
      for (int64_t c = 0; c < num_constraints; ++c) filled[c] -= weight[c];
      if (only_overfull && room_left(filled, weight, capacity, num_constraints) >= 0.0) {
        for (int64_t c = 0; c < num_constraints; ++c) filled[c] += weight[c];
        continue;
      }
    }
    for (int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
      const int32_t where = part[graph.neighbors[e]];
      if (where >= 0) ++neighbors_in[where];
    }
    int64_t best = 0;
    double best_score = -std::numeric_limits<double>::infinity();
    double best_room = best_score;
    for (int64_t p = 0; p < num_parts; ++p) {
      const double room = room_left(load + p * num_constraints, weight, capacity, num_constraints);
      // A part without room is taken only if no part has any.
      const double score =
          room < 0.0 ? room - 1.0 : static_cast<double>(neighbors_in[p]) * (room + 1e-9);
      if (score > best_score || (score == best_score && room > best_room)) {
        best = p;
        best_score = score;
        best_room = room;
      }
    }
    for (int64_t c = 0; c < num_constraints; ++c) load[best * num_constraints + c] += weight[c];
    num_moved += best != before;
    part[v] = static_cast<int32_t>(best);
    std::fill(neighbors_in.begin(), neighbors_in.end(), 0);
  }
  return num_moved;
}

template int64_t ldg_pass<int32_t>(const StreamedGraph<int32_t>&, const int32_t*, const double*,
                                   bool, int64_t, int32_t*, int64_t*);
template int64_t ldg_pass<int64_t>(const StreamedGraph<int64_t>&, const int64_t*, const double*,
                                   bool, int64_t, int32_t*, int64_t*);

}  // namespace gnnflow
