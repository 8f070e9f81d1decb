// Draws the neighbours of vertices whose adjacency is here; for samplers and for answers to others.
#pragma once

#include <cstdint>

#include "random.h"
#include "topology.h"

namespace gnnflow {

struct DrawRule {
  int64_t fanout;  // -1: all neighbours
  bool replace = false;
  // Not 0: neighbours with the smallest keys are kept, and a source draws a new key every so many
  // steps; minibatches are numbered by their steps then, whatever the epoch and the hop.
  uint64_t every = 0;
  // Whether neighbours are drawn by weight, and those of weight 0 never.
  bool weighted = false;
  uint64_t seed = 0;  // of such keys

  int64_t count(int64_t degree) const {
    if (fanout < 0) return degree;
    if (replace) return degree > 0 ? fanout : 0;
    return degree < fanout ? degree : fanout;
  }
};

// Throws unless the rule can be used on this topology.
void check_rule(const Topology& topology, const DrawRule& rule, bool with_edge_ids);

// A vertex about to be expanded: its neighbour list and the state of its random stream.
struct Row {
  static constexpr uint32_t kAnswered = Location::kNowhere;
  int64_t begin;       // of its neighbours in the adjacency
  uint64_t state;      // of its stream; with keys, the step
  uint32_t degree;     // neighbours it has
  uint32_t adjacency;  // kAnswered: `begin` and `degree` refer to what its owner answered

  int64_t count(const DrawRule& rule) const {
    return adjacency == kAnswered ? degree : rule.count(degree);
  }
};

// How many neighbours of a row are kept.
int64_t num_kept_by_weight(const Adjacency& adjacency, const Row& row, const DrawRule& rule);
inline int64_t num_kept(const Topology& topology, const Row& row, const DrawRule& rule) {
  if (!rule.weighted || rule.fanout < 0 || row.adjacency == Row::kAnswered) return row.count(rule);
  return num_kept_by_weight(topology.adjacency(row.adjacency), row, rule);
}

// What the owners of vertices elsewhere answered; all of it is taken.
struct Answers {
  const int64_t* neighbors = nullptr;
  const int64_t* edge_ids = nullptr;
};

struct Located {
  int64_t num_edges = 0;   // the sum of the counts
  int64_t num_remote = 0;  // rows that are not in the topology
};

// Finds the rows of global ids; those not in the topology become kAnswered rows of degree 0.
// `name` is the argument that an error message blames, `key` what `draw_key` returned.
Located locate_rows(const Topology& topology, const int64_t* ids, int64_t num_ids, const char* name,
                    uint64_t key, const DrawRule& rule, Row* rows);

// What the draws of a minibatch at a hop have in common.
inline uint64_t draw_key(const DrawRule& rule, uint64_t seed, uint64_t epoch, uint64_t minibatch,
                         uint64_t hop) {
  return rule.every > 0 ? minibatch : hop_key(seed, epoch, minibatch, hop);
}

// Writes the drawn neighbours of the rows, one after the other and in the order of each list, and
// their edge ids unless that pointer is null. Key is an integer that holds every global id.
template <typename Key>
void draw_rows(const Topology& topology, const DrawRule& rule, const Answers& answers,
               const Row* rows, int64_t num_rows, Key* neighbors, int64_t* edge_ids);

}  // namespace gnnflow
