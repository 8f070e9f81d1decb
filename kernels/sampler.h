// Samples the in-neighbourhood of seed vertices hop by hop and relabels it in order of discovery.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "buffer.h"
#include "draw.h"
#include "topology.h"

namespace gnnflow {

struct Sample {
  Buffer<int64_t> vertices;  // global ids in order of discovery, seeds first
  Buffer<int64_t> indptr;    // CSR by destination
  Buffer<int64_t>
      ids_by_position;     // the numbers of the seeds, padding, then the source of every edge
  int64_t first_edge = 0;  // where the edges begin in ids_by_position
  Buffer<int64_t> edge_ids;
  bool with_edge_ids = false;
  std::vector<int64_t> num_sampled_vertices;  // seeds, then per hop
  std::vector<int64_t> num_sampled_edges;     // per hop
};

// Frontier vertices that are not in the topology.
struct RemoteFrontier {
  Buffer<int64_t> ids;        // by owner, then in frontier order
  Buffer<int64_t> per_owner;  // [num_parts]
};

// Holds buffers and tables that minibatches use again. One call at a time.
class NeighborSampler {
 public:
  virtual ~NeighborSampler() = default;
  virtual void start(const int64_t* seeds, int64_t num_seeds, uint64_t seed, uint64_t epoch,
                     uint64_t minibatch) = 0;
  // Returns the remote frontier; if it is empty the hop is complete.
  virtual RemoteFrontier expand(const DrawRule& rule, bool with_edge_ids) = 0;
  // Adds the answers for the remote frontier, in its order; edge_ids may be null.
  virtual void merge(const int64_t* counts, int64_t num_counts, const int64_t* neighbors,
                     int64_t num_neighbors, const int64_t* edge_ids) = 0;
  virtual Sample finish() = 0;
};

std::unique_ptr<NeighborSampler> make_sampler(std::shared_ptr<const Topology> topology,
                                              int num_threads);

// A whole minibatch at once. Throws if a vertex of the frontier is not in the topology.
Sample sample_hops(NeighborSampler& sampler, const int64_t* seeds, int64_t num_seeds,
                   const std::vector<int64_t>& fanouts, DrawRule rule, uint64_t seed,
                   uint64_t epoch, uint64_t minibatch, bool with_edge_ids);

// One hop for several minibatches: segment s has segment_sizes[s] of the ids.
struct Segments {
  std::vector<int64_t> sizes, minibatches, epochs;
};
struct Neighbors {
  Buffer<int64_t> counts, neighbors, edge_ids;
};
// What an owner answers.
Neighbors sample_neighbors(const Topology& topology, const int64_t* ids, int64_t num_ids,
                           const Segments& segments, DrawRule rule, uint64_t hop, uint64_t seed,
                           bool with_edge_ids, int num_threads);

}  // namespace gnnflow
