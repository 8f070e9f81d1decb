// Source: Stanton and Kliot, "Streaming graph partitioning for large distributed graphs", KDD 2012;
// further passes: Nishimura and Ugander, "Restreaming graph partitioning", KDD 2013.
#include "ldg.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
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

// How much the squared excesses of a part grow when the vertex comes (sign 1) or goes (sign -1).
double excess_growth(const int64_t* load, const int32_t* weight, int sign, const double* capacity,
                     int64_t num_constraints) {
  const auto squared = [](double filled) {
    const double excess = std::max(0.0, filled - 1.0);
    return excess * excess;
  };
  double growth = 0.0;
  for (int64_t c = 0; c < num_constraints; ++c) {
    const double now = static_cast<double>(load[c]);
    growth += squared((now + sign * weight[c]) / capacity[c]) - squared(now / capacity[c]);
  }
  return growth;
}

template <typename Id>
void count_neighbors(const StreamedGraph<Id>& graph, int64_t v, const int32_t* part,
                     std::vector<int64_t>& neighbors_in) {
  std::fill(neighbors_in.begin(), neighbors_in.end(), 0);
  for (int64_t e = graph.indptr[v]; e < graph.indptr[v + 1]; ++e) {
    const int32_t where = part[graph.neighbors[e]];
    if (where >= 0) ++neighbors_in[where];
  }
}

void check_parts(const int32_t* part, int64_t num_vertices, int64_t lowest, int64_t num_parts) {
  for (int64_t v = 0; v < num_vertices; ++v) {
    if (part[v] >= lowest && part[v] < num_parts) continue;
    throw std::invalid_argument("part must be in [" + std::to_string(lowest) + ", " +
                                std::to_string(num_parts) + "), got " + std::to_string(part[v]));
  }
}

void add_load(int64_t* load, const int32_t* weight, int sign, int64_t num_constraints) {
  for (int64_t c = 0; c < num_constraints; ++c) load[c] += sign * weight[c];
}

}  // namespace

template <typename Id>
int64_t ldg_pass(const StreamedGraph<Id>& graph, const Id* order, const double* capacity,
                 int64_t num_parts, int32_t* part, int64_t* load) {
  check_parts(part, graph.num_vertices, -1, num_parts);
  const int64_t num_constraints = graph.num_constraints;
  std::vector<int64_t> neighbors_in(num_parts);
  int64_t num_moved = 0;
  for (int64_t i = 0; i < graph.num_vertices; ++i) {
    const int64_t v = order[i];
    const int32_t before = part[v];
    const int32_t* weight = graph.weights + v * num_constraints;
    if (before >= 0) add_load(load + before * num_constraints, weight, -1, num_constraints);
    count_neighbors(graph, v, part, neighbors_in);
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
    add_load(load + best * num_constraints, weight, 1, num_constraints);
    num_moved += best != before;
    part[v] = static_cast<int32_t>(best);
  }
  return num_moved;
}

template <typename Id>
int64_t rebalance_pass(const StreamedGraph<Id>& graph, const Id* order, const double* capacity,
                       int64_t max_loss, int64_t num_parts, int32_t* part, int64_t* load) {
  check_parts(part, graph.num_vertices, 0, num_parts);
  // Rounding must not make a move there and back both look like a gain.
  constexpr double kLeastGain = 1e-15;
  const int64_t num_constraints = graph.num_constraints;
  std::vector<int64_t> neighbors_in(num_parts);
  int64_t num_moved = 0;
  for (int64_t i = 0; i < graph.num_vertices; ++i) {
    const int64_t v = order[i];
    const int64_t before = part[v];
    const int32_t* weight = graph.weights + v * num_constraints;
    const double leaving =
        excess_growth(load + before * num_constraints, weight, -1, capacity, num_constraints);
    if (leaving >= -kLeastGain) continue;
    count_neighbors(graph, v, part, neighbors_in);
    int64_t best = before;
    double best_growth = 0.0;
    for (int64_t p = 0; p < num_parts; ++p) {
      if (p == before || neighbors_in[before] - neighbors_in[p] > max_loss) continue;
      const double growth =
          leaving + excess_growth(load + p * num_constraints, weight, 1, capacity, num_constraints);
      if (growth >= -kLeastGain) continue;
      const bool more_neighbors = neighbors_in[p] > neighbors_in[best];
      const bool as_many = neighbors_in[p] == neighbors_in[best];
      if (best == before || more_neighbors || (as_many && growth < best_growth)) {
        best = p;
        best_growth = growth;
      }
    }
    if (best == before) continue;
    add_load(load + before * num_constraints, weight, -1, num_constraints);
    add_load(load + best * num_constraints, weight, 1, num_constraints);
    part[v] = static_cast<int32_t>(best);
    ++num_moved;
  }
  return num_moved;
}

#define GNNFLOW_INSTANTIATE(Id)                                                                    \
  template int64_t ldg_pass(const StreamedGraph<Id>&, const Id*, const double*, int64_t, int32_t*, \
                            int64_t*);                                                             \
  template int64_t rebalance_pass(const StreamedGraph<Id>&, const Id*, const double*, int64_t,     \
                                  int64_t, int32_t*, int64_t*);

GNNFLOW_INSTANTIATE(int32_t)
GNNFLOW_INSTANTIATE(int64_t)

}  // namespace gnnflow
