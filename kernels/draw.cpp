// Draws from neighbour lists, in blocks of vertices so that memory latency overlaps: Floyd's, or by
// key.
#include "draw.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "keyed_draw.h"
#include "prefetch.h"
#include "random.h"
#include "weighted_draw.h"

namespace gnnflow {
namespace {

// Vertices whose memory is asked for before the first of them is used.
constexpr int kLocateBlock = 32;
constexpr int kDrawBlock = 64;
// Of longer lists only the lines of the drawn entries are asked for.
constexpr int64_t kWholeRowLines = 4;

// Draws distinct positions of one neighbour list at a time; holds what such draws need, so that
// nothing is allocated per vertex.
class Picker {
 public:
  // Writes `count` < `degree` distinct ascending positions. Source: Bentley and Floyd, "A Sample of
  // Brilliance", 1987.
  void without_replacement(VertexStream stream, uint32_t degree, uint32_t count, uint32_t* picks) {
    if (degree <= 64) {
      pick_from_word(stream, degree, count, picks);
      return;
    }
    const size_t num_words = (size_t{degree} + 63) / 64;
    if (taken_.size() < num_words) taken_.resize(num_words, 0);
    for (uint32_t i = 0, last = degree - count; i < count; ++i, ++last) {
      uint32_t pick = static_cast<uint32_t>(stream.below(uint64_t{last} + 1));
      pick = (taken_[pick / 64] >> (pick % 64) & 1) ? last : pick;
      taken_[pick / 64] |= uint64_t{1} << (pick % 64);
      picks[i] = pick;
    }
    if (num_words <= 2 * size_t{count}) {  // reading the bits in order beats sorting
      for (size_t word = 0; word < num_words; ++word) {
        for (uint64_t bits = taken_[word]; bits != 0; bits &= bits - 1) {
          *picks++ = static_cast<uint32_t>(word * 64 + __builtin_ctzll(bits));
        }
        taken_[word] = 0;
      }
      return;
    }
    for (uint32_t i = 0; i < count; ++i) taken_[picks[i] / 64] = 0;
    sort(picks, count);
  }

  static void with_replacement(VertexStream stream, uint32_t degree, uint32_t count,
                               uint32_t* picks) {
    for (uint32_t i = 0; i < count; ++i) picks[i] = static_cast<uint32_t>(stream.below(degree));
    sort(picks, count);
  }

 private:
  // All that is taken fits in a register. Whether a pick is taken already is a coin toss that no
  // processor predicts, so it is computed: then `last` is taken as well.
  static void pick_from_word(VertexStream stream, uint32_t degree, uint32_t count,
                             uint32_t* picks) {
    uint64_t taken = 0;
    for (uint32_t last = degree - count; last < degree; ++last) {
      const uint64_t pick = stream.below(last + 1);
      taken |= (uint64_t{1} << pick) | ((taken >> pick & 1) << last);
    }
    for (uint32_t i = 0; i < count; ++i, taken &= taken - 1) {
      picks[i] = static_cast<uint32_t>(__builtin_ctzll(taken));
    }
  }

  static void sort(uint32_t* picks, uint32_t count) {
    if (count > 32) {
      std::sort(picks, picks + count);
      return;
    }
    for (uint32_t i = 1; i < count; ++i) {
      const uint32_t pick = picks[i];
      uint32_t at = i;
      for (; at > 0 && picks[at - 1] > pick; --at) picks[at] = picks[at - 1];
      picks[at] = pick;
    }
  }

  std::vector<uint64_t> taken_;  // all zero between calls
};

// Entries of one adjacency that are wanted, for consecutive rows.
struct Run {
  const Adjacency* adjacency;
  size_t first_position;  // in the positions of the block
};

// What a thread keeps from call to call.
struct Scratch {
  Picker picker;
  KeyedPicker keyed_picker;
  WeightedPicker weighted_picker;
  std::vector<uint32_t> picks;
  std::vector<int64_t> positions;
};
Scratch& scratch_of_thread() {
  thread_local Scratch scratch;
  return scratch;
}

template <typename Key, typename Index>
bool copy_entries(const Index* from, const int64_t* positions, int64_t count, uint64_t num_vertices,
                  Key* to) {
  uint64_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t id = static_cast<uint64_t>(static_cast<int64_t>(from[positions[i]]));
    largest = std::max(largest, id);
    to[i] = static_cast<Key>(id);
  }
  return largest < num_vertices || count == 0;
}

void prefetch_entries(const Adjacency& adjacency, const Row& row, const int64_t* positions,
                      int64_t count) {
  const int64_t width = adjacency.wide ? 8 : 4;
  const char* const indices = static_cast<const char*>(adjacency.indices);
  const int64_t bytes = int64_t{row.degree} * width;
  if (bytes > kWholeRowLines * kCacheLine) {
    for (int64_t i = 0; i < count; ++i) __builtin_prefetch(indices + positions[i] * width);
    return;
  }
  const char* const begin = indices + row.begin * width;
  prefetch_row(begin, bytes);
  if (bytes > 0) __builtin_prefetch(begin + bytes - 1);
}

void pick_by_weight(const Adjacency& adjacency, const DrawRule& rule, const Row& row,
                    uint32_t count, const KeyRound& round, WeightedPicker& picker,
                    uint32_t* picks) {
  const float* const weights = adjacency.weight + row.begin;
  if (rule.every > 0) {
    picker.pick(weights, adjacency.source_key + row.begin, row.degree, count, round, picks);
  } else if (rule.replace) {
    picker.with_replacement(weights, row.degree, count, VertexStream(row.state), picks);
  } else {
    picker.pick(weights, row.degree, count, row.state, picks);
  }
}

// Asks for the source keys of the rows of a block.
void prefetch_keys(const Topology& topology, const DrawRule& rule, const Row* rows, int64_t size) {
  for (int64_t i = 0; i < size; ++i) {
    const Row& row = rows[i];
    if (row.adjacency == Row::kAnswered || row.count(rule) == row.degree) continue;
    const uint32_t* const keys = topology.adjacency(row.adjacency).source_key + row.begin;
    prefetch_row(keys, int64_t{row.degree} * 4);
  }
}

// Asks for the weights of the rows of a block.
void prefetch_weights(const Topology& topology, const DrawRule& rule, const Row* rows,
                      int64_t size) {
  if (rule.fanout < 0) return;
  for (int64_t i = 0; i < size; ++i) {
    const Row& row = rows[i];
    if (row.adjacency == Row::kAnswered) continue;
    prefetch_row(topology.adjacency(row.adjacency).weight + row.begin, int64_t{row.degree} * 4);
  }
}

[[noreturn]] void throw_bad_neighbor(const Topology& topology, const char* from) {
  throw std::invalid_argument(std::string(from) + " holds a neighbour that is not in [0, " +
                              std::to_string(topology.num_vertices()) +
                              "); check the partition with --verify");
}

}  // namespace

void check_rule(const Topology& topology, const DrawRule& rule, bool with_edge_ids) {
  if (rule.fanout < -1 || rule.fanout > UINT32_MAX) {
    throw std::invalid_argument("fanout must be -1 (all neighbours) or in [0, 4294967295], got " +
                                std::to_string(rule.fanout));
  }
  if (with_edge_ids && !topology.has_edge_ids()) {
    throw std::invalid_argument(
        "with_edge_ids needs edge ids in every part; partition the graph with edge ids");
  }
  if (rule.weighted && !topology.has_weights()) {
    throw std::invalid_argument("draws by weight need weights in every part");
  }
  if (rule.every == 0) return;
  if (rule.every > uint64_t{1} << 31) {
    throw std::invalid_argument("every must be at most 2147483648, got " +
                                std::to_string(rule.every));
  }
  if (rule.replace) {
    throw std::invalid_argument("draws by key keep a neighbour once; leave out replace");
  }
  if (!topology.has_source_keys()) {
    throw std::invalid_argument("draws by key need source keys in every part");
  }
}

int64_t num_kept_by_weight(const Adjacency& adjacency, const Row& row, const DrawRule& rule) {
  const float* const weights = adjacency.weight + row.begin;
  if (rule.replace) return count_drawable(weights, row.degree, 1) * rule.fanout;
  return count_drawable(weights, row.degree, rule.fanout);
}

Located locate_rows(const Topology& topology, const int64_t* ids, int64_t num_ids, const char* name,
                    uint64_t key, const DrawRule& rule, Row* rows) {
  Location at[kLocateBlock];
  Located located;
  for (int64_t first = 0; first < num_ids; first += kLocateBlock) {
    const int64_t size = std::min<int64_t>(kLocateBlock, num_ids - first);
    for (int64_t i = 0; i < size; ++i) {
      check_id(topology, ids[first + i], name);
      at[i] = topology.locate(ids[first + i]);
      if (!at[i].found()) continue;
      const Adjacency& adjacency = topology.adjacency(at[i].adjacency);
      __builtin_prefetch(adjacency.indptr + at[i].row);
      if (rule.every == 0 && adjacency.original_id != nullptr) {
        __builtin_prefetch(adjacency.original_id + at[i].row);
      }
    }
    for (int64_t i = 0; i < size; ++i) {
      Row& row = rows[first + i];
      if (!at[i].found()) {
        row = {0, 0, 0, Row::kAnswered};
        ++located.num_remote;
        continue;
      }
      const Adjacency& adjacency = topology.adjacency(at[i].adjacency);
      const int64_t begin = adjacency.indptr[at[i].row];
      const int64_t end = adjacency.indptr[at[i].row + 1];
      if (begin < 0 || end < begin || end > adjacency.num_edges || end - begin > UINT32_MAX) {
        throw std::invalid_argument("the neighbour list of vertex " +
                                    std::to_string(ids[first + i]) +
                                    " must lie within the indices and have at most 4294967295 "
                                    "entries, got positions " +
                                    std::to_string(begin) + " to " + std::to_string(end) +
                                    "; check the partition with --verify");
      }
      uint64_t state = key;
      if (rule.every == 0) {
        const bool is_given = adjacency.original_id != nullptr;
        state = vertex_state(key, is_given ? adjacency.original_id[at[i].row] : ids[first + i]);
      }
      row = {begin, state, static_cast<uint32_t>(end - begin), at[i].adjacency};
      located.num_edges += num_kept(topology, row, rule);
    }
  }
  return located;
}

template <typename Key>
void draw_rows(const Topology& topology, const DrawRule& rule, const Answers& answers,
               const Row* rows, int64_t num_rows, Key* neighbors, int64_t* edge_ids) {
  Scratch& scratch = scratch_of_thread();
  const uint64_t num_vertices = static_cast<uint64_t>(topology.num_vertices());
  Adjacency answered;
  answered.indices = answers.neighbors;
  answered.edge_id = answers.edge_ids;
  Run runs[kDrawBlock + 1];
  KeyRound round;
  if (rule.every > 0 && num_rows > 0) round = KeyRound(rule.seed, rows[0].state, rule.every);
  for (int64_t first = 0; first < num_rows; first += kDrawBlock) {
    const int64_t size = std::min<int64_t>(kDrawBlock, num_rows - first);
    size_t num_positions = 0;
    if (rule.weighted) prefetch_weights(topology, rule, rows + first, size);
    for (int64_t i = 0; i < size; ++i) num_positions += num_kept(topology, rows[first + i], rule);
    if (rule.every > 0) prefetch_keys(topology, rule, rows + first, size);
    if (scratch.positions.size() < num_positions) scratch.positions.resize(num_positions);
    int num_runs = 0;
    size_t at = 0;
    for (int64_t i = 0; i < size; ++i) {
      const Row& row = rows[first + i];
      const bool is_answer = row.adjacency == Row::kAnswered;
      const Adjacency& adjacency = is_answer ? answered : topology.adjacency(row.adjacency);
      if (num_runs == 0 || runs[num_runs - 1].adjacency != &adjacency) {
        runs[num_runs++] = {&adjacency, at};
      }
      const uint32_t count = static_cast<uint32_t>(num_kept(topology, row, rule));
      int64_t* const positions = scratch.positions.data() + at;
      at += count;
      if (is_answer || rule.fanout < 0 || (!rule.replace && count == row.degree)) {
        std::iota(positions, positions + count, row.begin);
      } else {
        if (scratch.picks.size() < count + size_t{KeyedPicker::kRoom}) {
          scratch.picks.resize(count + size_t{KeyedPicker::kRoom});
        }
        uint32_t* const picks = scratch.picks.data();
        if (rule.every > 0 && row.state != round.step) {
          round = KeyRound(rule.seed, row.state, rule.every);
        }
        if (rule.weighted) {
          pick_by_weight(adjacency, rule, row, count, round, scratch.weighted_picker, picks);
        } else if (rule.every > 0) {
          scratch.keyed_picker.pick(adjacency.source_key + row.begin, row.degree, count, round,
                                    picks);
        } else if (rule.replace) {
          Picker::with_replacement(VertexStream(row.state), row.degree, count, picks);
        } else {
          scratch.picker.without_replacement(VertexStream(row.state), row.degree, count, picks);
        }
        for (uint32_t k = 0; k < count; ++k) positions[k] = row.begin + picks[k];
      }
      prefetch_entries(adjacency, row, positions, count);
    }
    runs[num_runs] = {nullptr, at};
    for (int run = 0; run < num_runs; ++run) {
      const Adjacency& adjacency = *runs[run].adjacency;
      const int64_t* const positions = scratch.positions.data() + runs[run].first_position;
      const int64_t count =
          static_cast<int64_t>(runs[run + 1].first_position - runs[run].first_position);
      if (!(adjacency.wide ? copy_entries(static_cast<const int64_t*>(adjacency.indices), positions,
                                          count, num_vertices, neighbors)
                           : copy_entries(static_cast<const int32_t*>(adjacency.indices), positions,
                                          count, num_vertices, neighbors))) {
        throw_bad_neighbor(topology, &adjacency == &answered ? "the owner's answer" : "indices");
      }
      neighbors += count;
      if (edge_ids == nullptr) continue;
      if (adjacency.edge_id != nullptr) {
        for (int64_t k = 0; k < count; ++k) edge_ids[k] = adjacency.edge_id[positions[k]];
      } else {
        for (int64_t k = 0; k < count; ++k) edge_ids[k] = adjacency.first_edge + positions[k];
      }
      edge_ids += count;
    }
  }
}

template void draw_rows(const Topology&, const DrawRule&, const Answers&, const Row*, int64_t,
                        int64_t*, int64_t*);
template void draw_rows(const Topology&, const DrawRule&, const Answers&, const Row*, int64_t,
                        uint32_t*, int64_t*);
template void draw_rows(const Topology&, const DrawRule&, const Answers&, const Row*, int64_t,
                        uint64_t*, int64_t*);

}  // namespace gnnflow
