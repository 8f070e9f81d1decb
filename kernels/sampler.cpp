// Drives locating, drawing and relabelling of each hop; see sampler.h.
#include "sampler.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "random.h"
#include "relabel.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

// Edges are wanted in chunks of about this many: they fit in the first two caches with all that is
// computed from them.
constexpr int64_t kChunkEdges = 8192;
constexpr int64_t kMinChunkRows = 64;
constexpr int64_t kPadding = 8;

int64_t num_chunks(int64_t num_rows, const DrawRule& rule) {
  const int64_t guess = rule.fanout < 0 ? 32 : std::clamp<int64_t>(rule.fanout, 1, 64);
  const int64_t rows = std::max(kMinChunkRows, kChunkEdges / guess);
  return std::max<int64_t>(1, (num_rows + rows - 1) / rows);
}

template <typename Key>
class SamplerOf final : public NeighborSampler {
 public:
  SamplerOf(std::shared_ptr<const Topology> topology, int num_threads)
      : topology_(std::move(topology)), num_threads_(num_threads), relabeler_(num_threads) {}

  void start(const int64_t* seeds, int64_t num_seeds, uint64_t seed, uint64_t epoch,
             uint64_t minibatch) override {
    state_ = State::kIdle;
    sample_ = Sample();
    relabeler_.begin();
    sample_.first_edge = (num_seeds + kPadding - 1) / kPadding * kPadding;
    sample_.vertices.reserve(std::max(num_seeds, expected_vertices_));
    sample_.vertices.resize(num_seeds);
    sample_.ids_by_position.reserve(std::max(sample_.first_edge, expected_positions_));
    sample_.ids_by_position.resize(sample_.first_edge);
    for (int64_t i = 0; i < num_seeds; ++i) {
      check_id(*topology_, seeds[i], "seeds");
      if (relabeler_.insert(seeds[i], i) != i) {
        throw std::invalid_argument("seeds must be unique, got " + std::to_string(seeds[i]) +
                                    " twice; remove repeated seeds");
      }
      sample_.vertices[i] = seeds[i];
      sample_.ids_by_position[i] = i;
    }
    sample_.indptr.reserve(std::max(num_seeds + 1, expected_expanded_ + 1));
    sample_.indptr.push_back(0);
    sample_.num_sampled_vertices.assign(1, num_seeds);
    seed_ = seed, epoch_ = epoch, minibatch_ = minibatch, hop_ = 0, frontier_begin_ = 0;
    state_ = State::kReady;
  }

  RemoteFrontier expand(const DrawRule& rule, bool with_edge_ids) override {
    require(state_ == State::kReady, "expand must follow start, or the merge of the hop before");
    check_rule(*topology_, rule, with_edge_ids);
    if (hop_ > 0 && with_edge_ids != sample_.with_edge_ids) {
      throw std::invalid_argument("with_edge_ids must be the same at every hop of a minibatch");
    }
    rule_ = rule;
    sample_.with_edge_ids = with_edge_ids;
    const int64_t* const frontier = sample_.vertices.data() + frontier_begin_;
    const int64_t num_rows = sample_.vertices.size() - frontier_begin_;
    rule_.seed = seed_;
    const uint64_t key = draw_key(rule_, seed_, epoch_, minibatch_, hop_);
    rows_.clear();
    rows_.resize(num_rows);
    const int64_t chunks = num_chunks(num_rows, rule);
    located_.resize(chunks);
    parallel_for(chunks, num_threads_, [&](int64_t chunk) {
      const Range range = chunk_range(num_rows, chunks, chunk);
      located_[chunk] = locate_rows(*topology_, frontier + range.begin, range.end - range.begin,
                                    "neighbors", key, rule_, rows_.data() + range.begin);
    });
    RemoteFrontier remote = find_remote(frontier);
    state_ = State::kExpanded;
    if (remote.ids.empty()) complete_hop({});
    return remote;
  }

  // The rows of this process are drawn here and not in expand: only now is it known where in the
  // output they go, and so no edge is moved twice.
  void merge(const int64_t* counts, int64_t num_counts, const int64_t* neighbors,
             int64_t num_neighbors, const int64_t* edge_ids) override {
    const int64_t num_remote = remote_rows_.size();
    if (state_ == State::kReady && num_remote == 0 && num_counts == 0) return;
    require(state_ == State::kExpanded, "merge must follow an expand that returned remote ids");
    if (num_counts != num_remote) {
      throw std::invalid_argument("counts must have one entry per remote vertex: expected " +
                                  std::to_string(num_remote) + ", got " +
                                  std::to_string(num_counts));
    }
    int64_t total = 0;
    for (int64_t i = 0; i < num_counts; ++i) {
      if (counts[i] < 0 || counts[i] > UINT32_MAX) {
        throw std::invalid_argument("counts must be in [0, 4294967295], got " +
                                    std::to_string(counts[i]));
      }
      total += counts[i];
    }
    if (total != num_neighbors) {
      throw std::invalid_argument("neighbors must have as many entries as counts add up to: " +
                                  std::to_string(total) + ", got " + std::to_string(num_neighbors));
    }
    if (sample_.with_edge_ids && edge_ids == nullptr && num_neighbors > 0) {
      throw std::invalid_argument("edge_ids must be given: expand asked for edge ids");
    }
    const int64_t num_rows = rows_.size();
    const int64_t chunks = static_cast<int64_t>(located_.size());
    int64_t begin = 0;
    std::vector<int64_t> chunk_end(chunks);
    for (int64_t c = 0; c < chunks; ++c) chunk_end[c] = chunk_range(num_rows, chunks, c).end;
    for (int64_t i = 0; i < num_remote; ++i) {
      Row& row = rows_[remote_rows_[i]];
      row.begin = begin;
      row.degree = static_cast<uint32_t>(counts[i]);
      begin += counts[i];
      const auto chunk = std::upper_bound(chunk_end.begin(), chunk_end.end(), remote_rows_[i]);
      located_[chunk - chunk_end.begin()].num_edges += counts[i];
    }
    complete_hop({neighbors, edge_ids});
  }

  Sample finish() override {
    require(state_ == State::kReady, "finish must follow start, or the merge of the last hop");
    state_ = State::kIdle;
    // The next minibatch will need about as much.
    const auto with_margin = [](int64_t size) { return size + size / 8; };
    expected_vertices_ = with_margin(sample_.vertices.size());
    expected_positions_ = with_margin(sample_.ids_by_position.size());
    expected_expanded_ = with_margin(sample_.indptr.size());
    return std::exchange(sample_, Sample());
  }

 private:
  enum class State { kIdle, kReady, kExpanded };

  static void require(bool holds, const char* rule) {
    if (!holds) throw std::runtime_error(rule);
  }

  RemoteFrontier find_remote(const int64_t* frontier) {
    RemoteFrontier remote;
    remote.per_owner.resize(topology_->num_parts());
    std::fill_n(remote.per_owner.data(), remote.per_owner.size(), 0);
    remote_rows_.clear();
    if (std::all_of(located_.begin(), located_.end(),
                    [](const Located& chunk) { return chunk.num_remote == 0; })) {
      return remote;
    }
    for (int64_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i].adjacency != Row::kAnswered) continue;
      ++remote.per_owner[topology_->owner(frontier[i])];
      remote_rows_.push_back(i);
    }
    std::vector<int64_t> next(topology_->num_parts(), 0);
    for (size_t part = 1; part < next.size(); ++part) {
      next[part] = next[part - 1] + remote.per_owner[static_cast<int64_t>(part) - 1];
    }
    Buffer<int64_t> sorted(remote_rows_.size());
    remote.ids.resize(remote_rows_.size());
    for (int64_t i = 0; i < remote_rows_.size(); ++i) {
      const int64_t id = frontier[remote_rows_[i]];
      const int64_t at = next[topology_->owner(id)]++;
      sorted[at] = remote_rows_[i];
      remote.ids[at] = id;
    }
    remote_rows_ = std::move(sorted);
    return remote;
  }

  void complete_hop(const Answers& answers) {
    state_ = State::kIdle;  // until all is done: an exception leaves nothing to go on with
    const int64_t num_rows = rows_.size();
    const int64_t chunks = static_cast<int64_t>(located_.size());
    const int64_t edges_before = sample_.indptr[sample_.indptr.size() - 1];
    const int64_t vertices_before = sample_.vertices.size();
    std::vector<int64_t> chunk_begin(chunks + 1, 0);
    for (int64_t i = 0; i < chunks; ++i)
      chunk_begin[i + 1] = chunk_begin[i] + located_[i].num_edges;
    const int64_t num_edges = chunk_begin.back();
    const int64_t first_position = sample_.first_edge + edges_before;
    relabeler_.start_hop(first_position, chunk_begin);
    sample_.ids_by_position.resize(first_position + num_edges);
    if (sample_.with_edge_ids) sample_.edge_ids.resize(edges_before + num_edges);
    const int64_t indptr_before = sample_.indptr.size();
    sample_.indptr.resize(indptr_before + num_rows);
    parallel_for(chunks, num_threads_, [&](int64_t chunk) {
      const Range range = chunk_range(num_rows, chunks, chunk);
      int64_t end = edges_before + chunk_begin[chunk];
      for (int64_t i = range.begin; i < range.end; ++i) {
        end += num_kept(*topology_, rows_[i], rule_);
        sample_.indptr[indptr_before + i] = end;
      }
      int64_t* const edge_ids = sample_.with_edge_ids
                                    ? sample_.edge_ids.data() + edges_before + chunk_begin[chunk]
                                    : nullptr;
      draw_rows(*topology_, rule_, answers, rows_.data() + range.begin, range.end - range.begin,
                relabeler_.keys() + chunk_begin[chunk], edge_ids);
      relabeler_.chunk_ready(chunk);
    });
    relabeler_.finish_hop(sample_.ids_by_position.data(), sample_.vertices);
    sample_.num_sampled_edges.push_back(num_edges);
    sample_.num_sampled_vertices.push_back(sample_.vertices.size() - vertices_before);
    frontier_begin_ = vertices_before;
    ++hop_;
    state_ = State::kReady;
  }

  const std::shared_ptr<const Topology> topology_;
  const int num_threads_;
  Relabeler<Key> relabeler_;
  State state_ = State::kIdle;
  uint64_t seed_ = 0, epoch_ = 0, minibatch_ = 0, hop_ = 0;
  DrawRule rule_{0};
  int64_t frontier_begin_ = 0;  // in vertices
  Buffer<Row> rows_;            // of the frontier
  Buffer<int64_t> remote_rows_;
  std::vector<Located> located_;  // of each chunk of rows
  Sample sample_;
  int64_t expected_vertices_ = 0, expected_positions_ = 0, expected_expanded_ = 0;
};

void check_segments(const Segments& segments, int64_t num_ids) {
  if (segments.minibatches.size() != segments.sizes.size() ||
      segments.epochs.size() != segments.sizes.size()) {
    throw std::invalid_argument(
        "minibatch_numbers, segment_sizes and epochs must have one entry per segment, got " +
        std::to_string(segments.minibatches.size()) + ", " + std::to_string(segments.sizes.size()) +
        " and " + std::to_string(segments.epochs.size()));
  }
  int64_t total = 0;
  for (int64_t size : segments.sizes) {
    if (size < 0 || size > num_ids - total) {
      throw std::invalid_argument("segment_sizes must not be negative and must add up to the " +
                                  std::to_string(num_ids) + " ids, got " + std::to_string(size));
    }
    total += size;
  }
  if (total != num_ids) {
    throw std::invalid_argument("segment_sizes must add up to the " + std::to_string(num_ids) +
                                " ids, got " + std::to_string(total));
  }
}

}  // namespace

std::unique_ptr<NeighborSampler> make_sampler(std::shared_ptr<const Topology> topology,
                                              int num_threads) {
  check_num_threads(num_threads);
  if (topology->num_vertices() <= std::numeric_limits<uint32_t>::max()) {
    return std::make_unique<SamplerOf<uint32_t>>(std::move(topology), num_threads);
  }
  return std::make_unique<SamplerOf<uint64_t>>(std::move(topology), num_threads);
}

Sample sample_hops(NeighborSampler& sampler, const int64_t* seeds, int64_t num_seeds,
                   const std::vector<int64_t>& fanouts, DrawRule rule, uint64_t seed,
                   uint64_t epoch, uint64_t minibatch, bool with_edge_ids) {
  sampler.start(seeds, num_seeds, seed, epoch, minibatch);
  for (int64_t fanout : fanouts) {
    rule.fanout = fanout;
    const RemoteFrontier remote = sampler.expand(rule, with_edge_ids);
    if (!remote.ids.empty()) {
      throw std::invalid_argument("vertex " + std::to_string(remote.ids[0]) +
                                  " is not in this topology; sample step by step with "
                                  "start, expand and merge");
    }
  }
  Sample sample = sampler.finish();
  sample.with_edge_ids = with_edge_ids;  // also if there was no hop
  return sample;
}

Neighbors sample_neighbors(const Topology& topology, const int64_t* ids, int64_t num_ids,
                           const Segments& segments, DrawRule rule, uint64_t hop, uint64_t seed,
                           bool with_edge_ids, int num_threads) {
  check_num_threads(num_threads);
  rule.seed = seed;
  check_rule(topology, rule, with_edge_ids);
  check_segments(segments, num_ids);
  const int64_t chunks = num_chunks(num_ids, rule);
  Buffer<Row> rows(num_ids);
  std::vector<int64_t> chunk_begin(chunks + 1, 0);
  std::vector<int64_t> segment_begin(segments.sizes.size() + 1, 0);
  for (size_t i = 0; i < segments.sizes.size(); ++i) {
    segment_begin[i + 1] = segment_begin[i] + segments.sizes[i];
  }
  Neighbors out;
  out.counts.resize(num_ids);
  parallel_for(chunks, num_threads, [&](int64_t chunk) {
    const Range range = chunk_range(num_ids, chunks, chunk);
    size_t segment = std::upper_bound(segment_begin.begin(), segment_begin.end(), range.begin) -
                     segment_begin.begin() - 1;
    for (int64_t begin = range.begin; begin < range.end; ++segment) {
      const int64_t end = std::min(range.end, segment_begin[segment + 1]);
      if (end <= begin) continue;
      const uint64_t key = draw_key(rule, seed, static_cast<uint64_t>(segments.epochs[segment]),
                                    static_cast<uint64_t>(segments.minibatches[segment]), hop);
      chunk_begin[chunk + 1] +=
          locate_rows(topology, ids + begin, end - begin, "ids", key, rule, rows.data() + begin)
              .num_edges;
      begin = end;
    }
    for (int64_t i = range.begin; i < range.end; ++i) {
      if (rows[i].adjacency == Row::kAnswered) {
        throw std::invalid_argument("vertex " + std::to_string(ids[i]) +
                                    " is not in this topology; ask the rank that owns it");
      }
      out.counts[i] = num_kept(topology, rows[i], rule);
    }
  });
  for (int64_t i = 0; i < chunks; ++i) chunk_begin[i + 1] += chunk_begin[i];
  out.neighbors.resize(chunk_begin.back());
  if (with_edge_ids) out.edge_ids.resize(chunk_begin.back());
  parallel_for(chunks, num_threads, [&](int64_t chunk) {
    const Range range = chunk_range(num_ids, chunks, chunk);
    draw_rows(topology, rule, {}, rows.data() + range.begin, range.end - range.begin,
              out.neighbors.data() + chunk_begin[chunk],
              with_edge_ids ? out.edge_ids.data() + chunk_begin[chunk] : nullptr);
  });
  return out;
}

}  // namespace gnnflow
