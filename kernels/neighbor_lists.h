// Neighbour lists from edge lists by counting sort: count, scatter, merge parallel edges, induce;
// and as text.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "thread_pool.h"

namespace gnnflow {

// Adds one to counts[new_id[id]] for every id; without new_id to counts[id].
template <typename Edge, typename Id>
void count_ids(const Edge* ids, int64_t num_ids, const Id* new_id, int64_t* counts) {
  if (new_id == nullptr) {
    for (int64_t i = 0; i < num_ids; ++i) ++counts[ids[i]];
  } else {
    constexpr int64_t kAhead = 16;
    for (int64_t i = 0; i < num_ids; ++i) {
      if (i + 2 * kAhead < num_ids) {
        __builtin_prefetch(&new_id[ids[i + 2 * kAhead]]);
        __builtin_prefetch(&counts[new_id[ids[i + kAhead]]], 1);
      }
      ++counts[new_id[ids[i]]];
    }
  }
}

// Puts every value behind those already in the list of its key; cursor[key] is where the list ends.
// Edge ids count up from first_edge; null edge_ids leaves them out. False if a list overflowed.
template <typename Edge, typename Id>
bool scatter_edges(const Edge* keys, const Edge* values, int64_t num_edges, const Id* new_id,
                   int64_t* cursor, int64_t num_entries, Id* entries, int64_t* edge_ids,
                   int64_t first_edge) {
  // The lists of successive edges lie far apart: asking for them early hides most of the wait.
  constexpr int64_t kAhead = 16;
  const auto renumber = [new_id](Edge id) {
    return new_id ? static_cast<int64_t>(new_id[id]) : static_cast<int64_t>(id);
  };
  for (int64_t i = 0; i < num_edges; ++i) {
    if (i + 3 * kAhead < num_edges) {
      if (new_id) {
        __builtin_prefetch(&new_id[keys[i + 3 * kAhead]]);
        __builtin_prefetch(&new_id[values[i + 3 * kAhead]]);
      }
      __builtin_prefetch(&cursor[renumber(keys[i + 2 * kAhead])], 1);
      __builtin_prefetch(entries + cursor[renumber(keys[i + kAhead])], 1);
    }
    const int64_t position = cursor[renumber(keys[i])]++;
    if (position >= num_entries) return false;
    entries[position] = static_cast<Id>(renumber(values[i]));
    if (edge_ids) edge_ids[position] = first_edge + i;
  }
  return true;
}

// Counts both ends of every edge that is no self loop.
template <typename Edge>
void count_both_ends(const Edge* sources, const Edge* destinations, int64_t num_edges,
                     int64_t* counts) {
  for (int64_t i = 0; i < num_edges; ++i) {
    const int64_t counted = sources[i] != destinations[i];
    counts[sources[i]] += counted;
    counts[destinations[i]] += counted;
  }
}

// Puts each end of every edge that is no self loop into the list of the other end. False if a list
// overflowed.
template <typename Edge, typename Id>
bool scatter_both_ends(const Edge* sources, const Edge* destinations, int64_t num_edges,
                       int64_t* cursor, int64_t num_entries, Id* entries) {
  constexpr int64_t kAhead = 16;
  for (int64_t i = 0; i < num_edges; ++i) {
    if (i + 2 * kAhead < num_edges) {
      __builtin_prefetch(&cursor[sources[i + 2 * kAhead]], 1);
      __builtin_prefetch(&cursor[destinations[i + 2 * kAhead]], 1);
      __builtin_prefetch(entries + cursor[sources[i + kAhead]], 1);
      __builtin_prefetch(entries + cursor[destinations[i + kAhead]], 1);
    }
    if (sources[i] == destinations[i]) continue;
    const int64_t at_source = cursor[sources[i]]++;
    const int64_t at_destination = cursor[destinations[i]]++;
    if (std::max(at_source, at_destination) >= num_entries) return false;
    entries[at_source] = static_cast<Id>(destinations[i]);
    entries[at_destination] = static_cast<Id>(sources[i]);
  }
  return true;
}

// Runs task(first, last) on ranges of vertices with about the same number of entries each.
template <typename Task>
void over_lists(const int64_t* indptr, int64_t num_vertices, int num_threads, const Task& task) {
  const int64_t num_chunks = std::min<int64_t>(num_vertices, 16 * num_threads);
  const auto first_of = [=](int64_t chunk) -> int64_t {
    if (chunk == 0 || chunk == num_chunks) return chunk == 0 ? 0 : num_vertices;
    const int64_t entry = chunk_range(indptr[num_vertices], num_chunks, chunk).begin;
    return std::lower_bound(indptr, indptr + num_vertices, entry) - indptr;
  };
  parallel_for(num_chunks, num_threads,
               [&](int64_t chunk) { task(first_of(chunk), first_of(chunk + 1)); });
}

// Sorts every list in place, dropping repeats; counts[v] becomes the number of distinct entries,
// which then lie at the start of the list. With edge_ids, the first id of equal entries is kept.
template <typename Id>
void sort_lists(const int64_t* indptr, int64_t num_vertices, Id* entries, int64_t* edge_ids,
                int64_t* counts, int num_threads) {
  over_lists(indptr, num_vertices, num_threads, [=](int64_t first, int64_t last) {
    std::vector<std::pair<Id, int64_t>> pairs;
    for (int64_t v = first; v < last; ++v) {
      Id* begin = entries + indptr[v];
      Id* end = entries + indptr[v + 1];
      if (edge_ids == nullptr) {
        std::sort(begin, end);
        counts[v] = std::unique(begin, end) - begin;
        continue;
      }
      int64_t* ids = edge_ids + indptr[v];
      pairs.clear();
      for (Id* entry = begin; entry != end; ++entry) pairs.emplace_back(*entry, *ids++);
      std::stable_sort(pairs.begin(), pairs.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
      const auto distinct =
          std::unique(pairs.begin(), pairs.end(),
                      [](const auto& a, const auto& b) { return a.first == b.first; });
      counts[v] = distinct - pairs.begin();
      ids = edge_ids + indptr[v];
      for (auto pair = pairs.begin(); pair != distinct; ++pair) {
        *begin++ = pair->first;
        *ids++ = pair->second;
      }
    }
  });
}

// Copies the first entries of every list, as many as it has in out_indptr, to where that wants
// them. Throws if a list has fewer.
template <typename T>
void pack_lists(const int64_t* indptr, int64_t num_vertices, const T* entries,
                const int64_t* out_indptr, T* out, int num_threads) {
  for (int64_t v = 0; v < num_vertices; ++v) {
    if (out_indptr[v + 1] - out_indptr[v] <= indptr[v + 1] - indptr[v]) continue;
    throw std::invalid_argument("out_indptr asks for more entries than list " + std::to_string(v) +
                                " has");
  }
  over_lists(indptr, num_vertices, num_threads, [=](int64_t first, int64_t last) {
    for (int64_t v = first; v < last; ++v) {
      std::copy_n(entries + indptr[v], out_indptr[v + 1] - out_indptr[v], out + out_indptr[v]);
    }
  });
}

// The lists of some vertices with only the entries that are among these vertices, renumbered:
// new_id[u] is negative for others. First their lengths, as out_indptr [num_chosen + 1].
template <typename Id>
void induce_indptr(const int64_t* indptr, const Id* entries, const Id* vertices, int64_t num_chosen,
                   const Id* new_id, int64_t* out_indptr) {
  int64_t num_kept = 0;
  out_indptr[0] = 0;
  for (int64_t i = 0; i < num_chosen; ++i) {
    const Id v = vertices[i];
    for (int64_t e = indptr[v]; e < indptr[v + 1]; ++e) num_kept += new_id[entries[e]] >= 0;
    out_indptr[i + 1] = num_kept;
  }
}

// Then their entries, one list after the other.
template <typename Id>
void induce_lists(const int64_t* indptr, const Id* entries, const Id* vertices, int64_t num_chosen,
                  const Id* new_id, Id* out) {
  for (int64_t i = 0; i < num_chosen; ++i) {
    const Id v = vertices[i];
    for (int64_t e = indptr[v]; e < indptr[v + 1]; ++e) {
      const Id renumbered = new_id[entries[e]];
      if (renumbered >= 0) *out++ = renumbered;
    }
  }
}

// Lists as METIS's text format has them, which other partitioners read too: one line for each
// vertex of [first, last), its weight, then its neighbours counted from 1.
template <typename Id>
std::string metis_lines(const int64_t* indptr, const Id* neighbors, const int64_t* weights,
                        int64_t first, int64_t last) {
  constexpr size_t kLongestNumber = 21;  // digits, sign and a separator of 64 bits
  std::string text;
  const size_t num_numbers = static_cast<size_t>(indptr[last] - indptr[first] + (last - first));
  text.resize(num_numbers * kLongestNumber);
  char* out = text.data();
  char* const end = out + text.size();
  for (int64_t vertex = first; vertex < last; ++vertex) {
    out = std::to_chars(out, end, weights[vertex]).ptr;
    for (int64_t entry = indptr[vertex]; entry < indptr[vertex + 1]; ++entry) {
      *out++ = ' ';
      out = std::to_chars(out, end, static_cast<int64_t>(neighbors[entry]) + 1).ptr;
    }
    *out++ = '\n';
  }
  text.resize(static_cast<size_t>(out - text.data()));
  return text;
}

}  // namespace gnnflow
