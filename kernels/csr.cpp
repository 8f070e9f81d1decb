// A stable parallel transpose and an edge list; see csr.h.
#include "csr.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "check_index.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kChunkEdges = 1 << 14;

}  // namespace

bool is_indptr(const int64_t* indptr, int64_t size, int64_t num_entries) {
  if (size < 1) return false;
  bool ascending = indptr[0] == 0 && indptr[size - 1] == num_entries;
  for (int64_t i = 1; i < size; ++i) ascending &= indptr[i - 1] <= indptr[i];
  return ascending;
}

void check_indptr(const Csr& csr) {
  if (!is_indptr(csr.indptr, csr.num_rows + 1, csr.num_edges)) {
    throw std::invalid_argument("indptr must ascend from 0 to the number of edges " +
                                std::to_string(csr.num_edges) + ", got " +
                                std::to_string(csr.indptr[0]) + " to " +
                                std::to_string(csr.indptr[csr.num_rows]));
  }
}

int64_t WorkSplit::begin(int64_t chunk) const {
  const int64_t work = chunk_range(csr_.num_edges + csr_.num_rows, num_chunks_, chunk).begin;
  int64_t low = 0, high = csr_.num_rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (csr_.indptr[middle] + middle < work) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Range WorkSplit::rows(int64_t chunk) const {
  return {begin(chunk), chunk + 1 == num_chunks_ ? csr_.num_rows : begin(chunk + 1)};
}

TransposedCsr transpose(const Csr& csr, int64_t num_columns, int num_threads) {
  check_num_threads(num_threads);
  check_indptr(csr);
  // Each chunk counts for itself, so there are no more of them than threads.
  const WorkSplit split(csr, std::clamp<int64_t>(csr.num_edges / kChunkEdges, 1, num_threads));
  TransposedCsr result;
  result.indptr.resize(num_columns + 1);
  result.indices.resize(csr.num_edges);
  result.permutation.resize(csr.num_edges);
  // [chunk][column]: first how many entries, then where to write the next one.
  Buffer<int64_t> next(split.num_chunks() * num_columns);
  parallel_for(split.num_chunks(), num_threads, [&](int64_t chunk) {
    int64_t* const count = next.data() + chunk * num_columns;
    std::fill_n(count, num_columns, 0);
    const Range rows = split.rows(chunk);
    for (int64_t e = csr.indptr[rows.begin]; e < csr.indptr[rows.end]; ++e) {
      check_index(csr.indices[e], num_columns, "src");
      ++count[csr.indices[e]];
    }
  });
  int64_t total = 0;
  for (int64_t column = 0; column < num_columns; ++column) {
    result.indptr[column] = total;
    for (int64_t chunk = 0; chunk < split.num_chunks(); ++chunk) {
      const int64_t count = next[chunk * num_columns + column];
      next[chunk * num_columns + column] = total;
      total += count;
    }
  }
  result.indptr[num_columns] = total;
  parallel_for(split.num_chunks(), num_threads, [&](int64_t chunk) {
    int64_t* const at = next.data() + chunk * num_columns;
    const Range rows = split.rows(chunk);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
        const int64_t to = at[csr.indices[e]]++;
        result.indices[to] = row;
        result.permutation[to] = e;
      }
    }
  });
  return result;
}

Buffer<int64_t> edge_list(const Csr& csr, int num_threads) {
  check_num_threads(num_threads);
  check_indptr(csr);
  const WorkSplit split(csr, std::max<int64_t>(1, csr.num_edges / kChunkEdges));
  Buffer<int64_t> list(2 * csr.num_edges);
  int64_t* const indices = list.data();
  int64_t* const rows_of = indices + csr.num_edges;
  parallel_for(split.num_chunks(), num_threads, [&](int64_t chunk) {
    const Range rows = split.rows(chunk);
    const int64_t begin = csr.indptr[rows.begin], end = csr.indptr[rows.end];
    std::copy(csr.indices + begin, csr.indices + end, indices + begin);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      std::fill(rows_of + csr.indptr[row], rows_of + csr.indptr[row + 1], row);
    }
  });
  return list;
}

}  // namespace gnnflow
