// Samples the in-neighbourhood of seed vertices hop by hop and relabels it in order of discovery.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "topology.h"

namespace gnnflow {

struct Sample {
  std::vector<int64_t> vertices;  // global ids in order of discovery, seeds first
  std::vector<int64_t> indptr;    // CSR by destination
  std::vector<int64_t> src;       // local ids
  std::vector<int64_t> edge_ids;
  bool with_edge_ids = false;
  std::vector<int64_t> num_sampled_vertices;
  std::vector<int64_t> num_sampled_edges;
};

struct Neighbors {
  std::vector<int64_t> counts;
  std::vector<int64_t> neighbors;
  std::vector<int64_t> edge_ids;
};

struct RemoteFrontier {
  std::vector<int64_t> ids;  // by owner, then in frontier order
  std::vector<int64_t> per_owner;
};

class NeighborSampler {
 public:
  NeighborSampler(std::shared_ptr<const Topology> topology, int num_threads);
  void start(const int64_t* seeds, int64_t num_seeds, uint64_t seed, uint64_t epoch,
             uint64_t minibatch);
  RemoteFrontier expand(int64_t fanout, bool replace, bool with_edge_ids);
  void merge(const int64_t* counts, int64_t num_counts, const int64_t* neighbors,
             int64_t num_neighbors, const int64_t* edge_ids);
  Sample finish();
  int num_threads() const { return num_threads_; }

 private:
  enum class State { kIdle, kReady, kExpanded };
  void relabel();

  std::shared_ptr<const Topology> topology_;
  int num_threads_;
  State state_ = State::kIdle;
  uint64_t seed_ = 0, epoch_ = 0, minibatch_ = 0, hop_ = 0;
  int64_t frontier_begin_ = 0;
  std::vector<int64_t> remote_positions_;  // frontier position of every remote id, in their order
  Neighbors local_;                        // counts is -1 where remote
  std::unordered_map<int64_t, int64_t> local_ids_;
  Sample sample_;
};

// The owner's side of one hop: `segment_sizes` of `ids` belong to one minibatch each.
Neighbors sample_neighbors(const Topology& topology, const int64_t* ids, int64_t num_ids,
                           const std::vector<int64_t>& minibatches,
                           const std::vector<int64_t>& segment_sizes,
                           const std::vector<int64_t>& epochs, int64_t fanout, uint64_t hop,
                           uint64_t seed, bool replace, bool with_edge_ids, int num_threads);

}  // namespace gnnflow
