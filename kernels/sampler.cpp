// Samples neighbours and relabels them; see sampler.h.
#include "sampler.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "random.h"

namespace gnnflow {
namespace {

void check_id(const Topology& topology, int64_t id, const char* what) {
  if (id < 0 || id >= topology.num_vertices()) {
    throw std::invalid_argument(std::string(what) + " must be global ids in [0, " +
                                std::to_string(topology.num_vertices()) + "), got " +
                                std::to_string(id));
  }
}

void check_draw(const Topology& topology, int64_t fanout, bool with_edge_ids) {
  if (fanout < -1) {
    throw std::invalid_argument("fanout must be -1 (all neighbours) or at least 0, got " +
                                std::to_string(fanout));
  }
  if (with_edge_ids && !topology.has_edge_ids()) {
    throw std::invalid_argument(
        "with_edge_ids needs edge ids in every part; partition the graph with edge ids");
  }
}

// Appends the drawn neighbours of one vertex; returns how many.
int64_t draw(const Located& at, int64_t global_id, uint64_t key, int64_t fanout, bool replace,
             bool with_edge_ids, std::vector<int64_t>& positions, Neighbors& out) {
  const Adjacency& adjacency = *at.adjacency;
  const int64_t begin = adjacency.indptr[at.row];
  const int64_t degree = adjacency.indptr[at.row + 1] - begin;
  positions.clear();
  if (degree > 0 && fanout >= 0 && (replace || fanout < degree)) {
    VertexStream stream(key, adjacency.original_id ? adjacency.original_id[at.row] : global_id);
    for (int64_t i = 0; i < fanout; ++i) {
      if (replace) {
        positions.push_back(static_cast<int64_t>(stream.below(degree)));
        continue;
      }
      const int64_t last = degree - fanout + i;
      const int64_t pick = static_cast<int64_t>(stream.below(last + 1));
      const bool taken = std::find(positions.begin(), positions.end(), pick) != positions.end();
      positions.push_back(taken ? last : pick);
    }
    std::sort(positions.begin(), positions.end());
  } else {
    for (int64_t i = 0; i < degree; ++i) positions.push_back(i);
  }
  for (int64_t position : positions) {
    out.neighbors.push_back(adjacency.neighbor(begin + position));
    if (with_edge_ids) out.edge_ids.push_back(adjacency.edge_id[begin + position]);
  }
  return static_cast<int64_t>(positions.size());
}

}  // namespace

NeighborSampler::NeighborSampler(std::shared_ptr<const Topology> topology, int num_threads)
    : topology_(std::move(topology)), num_threads_(num_threads) {
  if (num_threads < 1) {
    throw std::invalid_argument("num_threads must be at least 1, got " +
                                std::to_string(num_threads));
  }
}

void NeighborSampler::start(const int64_t* seeds, int64_t num_seeds, uint64_t seed, uint64_t epoch,
                            uint64_t minibatch) {
  state_ = State::kIdle;
  sample_ = Sample();
  local_ids_.clear();
  for (int64_t i = 0; i < num_seeds; ++i) {
    check_id(*topology_, seeds[i], "seeds");
    if (!local_ids_.emplace(seeds[i], i).second) {
      throw std::invalid_argument("seeds must be unique, got " + std::to_string(seeds[i]) +
                                  " twice; remove repeated seeds");
    }
  }
  sample_.vertices.assign(seeds, seeds + num_seeds);
  sample_.indptr.assign(1, 0);
  sample_.num_sampled_vertices.assign(1, num_seeds);
  seed_ = seed, epoch_ = epoch, minibatch_ = minibatch, hop_ = 0, frontier_begin_ = 0;
  state_ = State::kReady;
}

RemoteFrontier NeighborSampler::expand(int64_t fanout, bool replace, bool with_edge_ids) {
  if (state_ != State::kReady) throw std::runtime_error("expand must follow start or merge");
  check_draw(*topology_, fanout, with_edge_ids);
  if (hop_ > 0 && with_edge_ids != sample_.with_edge_ids) {
    throw std::invalid_argument("with_edge_ids must be the same at every hop");
  }
  sample_.with_edge_ids = with_edge_ids;
  const uint64_t key = hop_key(seed_, epoch_, minibatch_, hop_);
  local_ = Neighbors();
  std::vector<std::pair<int64_t, int64_t>> remote;  // owner, frontier position
  std::vector<int64_t> positions;
  const int64_t end = static_cast<int64_t>(sample_.vertices.size());
  for (int64_t i = frontier_begin_; i < end; ++i) {
    const int64_t id = sample_.vertices[i];
    const Located at = topology_->locate(id);
    if (at.adjacency == nullptr) {
      remote.emplace_back(topology_->owner(id), i - frontier_begin_);
      local_.counts.push_back(-1);
    } else {
      local_.counts.push_back(draw(at, id, key, fanout, replace, with_edge_ids, positions, local_));
    }
  }
  std::sort(remote.begin(), remote.end());
  RemoteFrontier frontier;
  frontier.per_owner.assign(topology_->num_parts(), 0);
  remote_positions_.clear();
  for (const auto& [owner, position] : remote) {
    ++frontier.per_owner[owner];
    frontier.ids.push_back(sample_.vertices[frontier_begin_ + position]);
    remote_positions_.push_back(position);
  }
  state_ = State::kExpanded;
  if (remote.empty()) merge(nullptr, 0, nullptr, 0, nullptr);
  return frontier;
}

void NeighborSampler::merge(const int64_t* counts, int64_t num_counts, const int64_t* neighbors,
                            int64_t num_neighbors, const int64_t* edge_ids) {
  if (state_ == State::kReady && num_counts == 0) return;  // expand has merged already
  if (state_ != State::kExpanded) throw std::runtime_error("merge must follow expand");
  const int64_t num_remote = static_cast<int64_t>(remote_positions_.size());
  if (num_counts != num_remote) {
    throw std::invalid_argument("counts must have one entry per remote vertex: expected " +
                                std::to_string(num_remote) + ", got " + std::to_string(num_counts));
  }
  int64_t total = 0;
  for (int64_t i = 0; i < num_counts; ++i) {
    if (counts[i] < 0) throw std::invalid_argument("counts must not be negative");
    total += counts[i];
  }
  if (total != num_neighbors) {
    throw std::invalid_argument("neighbors must have as many entries as counts sum to: expected " +
                                std::to_string(total) + ", got " + std::to_string(num_neighbors));
  }
  if (sample_.with_edge_ids && edge_ids == nullptr && num_neighbors > 0) {
    throw std::invalid_argument("edge_ids are missing, but this sample was started with them");
  }
  std::vector<int64_t> answer(local_.counts.size(), -1);  // index into counts
  std::vector<int64_t> answer_begin(local_.counts.size(), 0);
  int64_t offset = 0;
  for (int64_t i = 0; i < num_counts; ++i) {
    answer[remote_positions_[i]] = i;
    answer_begin[remote_positions_[i]] = offset;
    offset += counts[i];
  }
  const int64_t num_before = static_cast<int64_t>(sample_.vertices.size());
  const size_t edges_before = sample_.src.size();
  int64_t local_offset = 0;
  for (size_t position = 0; position < local_.counts.size(); ++position) {
    const bool remote = answer[position] >= 0;
    const int64_t count = remote ? counts[answer[position]] : local_.counts[position];
    const int64_t* ids =
        remote ? neighbors + answer_begin[position] : local_.neighbors.data() + local_offset;
    for (int64_t i = 0; i < count; ++i) {
      check_id(*topology_, ids[i], "neighbors");
      const auto [entry, fresh] =
          local_ids_.emplace(ids[i], static_cast<int64_t>(sample_.vertices.size()));
      if (fresh) sample_.vertices.push_back(ids[i]);
      sample_.src.push_back(entry->second);
    }
    if (sample_.with_edge_ids) {
      const int64_t* from =
          remote ? edge_ids + answer_begin[position] : local_.edge_ids.data() + local_offset;
      sample_.edge_ids.insert(sample_.edge_ids.end(), from, from + count);
    }
    if (!remote) local_offset += count;
    sample_.indptr.push_back(static_cast<int64_t>(sample_.src.size()));
  }
  sample_.num_sampled_edges.push_back(static_cast<int64_t>(sample_.src.size() - edges_before));
  sample_.num_sampled_vertices.push_back(static_cast<int64_t>(sample_.vertices.size()) -
                                         num_before);
  frontier_begin_ = num_before;
  ++hop_;
  state_ = State::kReady;
}

Sample NeighborSampler::finish() {
  if (state_ != State::kReady) throw std::runtime_error("finish must follow start or merge");
  state_ = State::kIdle;
  return std::move(sample_);
}

Neighbors sample_neighbors(const Topology& topology, const int64_t* ids, int64_t num_ids,
                           const std::vector<int64_t>& minibatches,
                           const std::vector<int64_t>& segment_sizes,
                           const std::vector<int64_t>& epochs, int64_t fanout, uint64_t hop,
                           uint64_t seed, bool replace, bool with_edge_ids, int num_threads) {
  (void)num_threads;
  check_draw(topology, fanout, with_edge_ids);
  if (minibatches.size() != segment_sizes.size() || epochs.size() != segment_sizes.size()) {
    throw std::invalid_argument(
        "minibatch_numbers, segment_sizes and epochs must have one entry per segment, got " +
        std::to_string(minibatches.size()) + ", " + std::to_string(segment_sizes.size()) + " and " +
        std::to_string(epochs.size()));
  }
  int64_t total = 0;
  for (int64_t size : segment_sizes) {
    if (size < 0) throw std::invalid_argument("segment_sizes must not be negative");
    total += size;
  }
  if (total != num_ids) {
    throw std::invalid_argument("segment_sizes must sum to the number of ids " +
                                std::to_string(num_ids) + ", got " + std::to_string(total));
  }
  Neighbors out;
  std::vector<int64_t> positions;
  int64_t i = 0;
  for (size_t segment = 0; segment < segment_sizes.size(); ++segment) {
    const uint64_t key = hop_key(seed, epochs[segment], minibatches[segment], hop);
    for (const int64_t end = i + segment_sizes[segment]; i < end; ++i) {
      check_id(topology, ids[i], "ids");
      const Located at = topology.locate(ids[i]);
      if (at.adjacency == nullptr) {
        throw std::invalid_argument("vertex " + std::to_string(ids[i]) +
                                    " is not in this topology; ask its owner");
      }
      out.counts.push_back(draw(at, ids[i], key, fanout, replace, with_edge_ids, positions, out));
    }
  }
  return out;
}

}  // namespace gnnflow
