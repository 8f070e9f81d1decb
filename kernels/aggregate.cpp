// Sparse times dense with accumulators in registers, and a stable parallel transpose.
#include "aggregate.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kChunkValues = 1 << 16;
constexpr int64_t kEdgesAhead = 12;
constexpr int64_t kMaxLinesAhead = 16;
constexpr int64_t kTransposeChunkEdges = 1 << 14;

void check_index(int64_t index, int64_t limit, const char* name) {
  if (static_cast<uint64_t>(index) >= static_cast<uint64_t>(limit)) {
    throw std::invalid_argument(std::string(name) + " must be in [0, " + std::to_string(limit) +
                                "), got " + std::to_string(index));
  }
}

// The rows [begin, end) of chunk i when the work, entries and rows together, is cut evenly.
struct WorkSplit {
  const Csr& csr;
  int64_t num_chunks;

  int64_t begin(int64_t chunk) const {
    const int64_t work = chunk_range(csr.num_edges + csr.num_rows, num_chunks, chunk).begin;
    int64_t low = 0, high = csr.num_rows;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (csr.indptr[middle] + middle < work) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
  Range rows(int64_t chunk) const {
    return {begin(chunk), chunk + 1 == num_chunks ? csr.num_rows : begin(chunk + 1)};
  }
};

// A register's worth of values; the compiler splits it where registers are smaller.
template <typename Value>
struct Vector {
  typedef Value Type __attribute__((vector_size(64)));
  static constexpr int64_t kWidth = 64 / sizeof(Value);
};

template <typename Value>
struct RowSum {
  const Csr& csr;
  const Matrix<Value>& x;
  Scale scale;
  const int64_t* lengths;
  Value* out;

  Value factor(int64_t index) const {
    return Value(1) / static_cast<Value>(lengths[index + 1] - lengths[index]);
  }

  // Sums kVectors registers of columns, from column `first` on, over a row's entries.
  template <int kVectors, bool kByIndex>
  void sum_block(int64_t row, int64_t first) const {
    using Vec = typename Vector<Value>::Type;
    constexpr int64_t kWidth = Vector<Value>::kWidth;
    Vec sum[kVectors] = {};
    const int64_t begin = csr.indptr[row], end = csr.indptr[row + 1];
    for (int64_t e = begin; e < end; ++e) {
      const int64_t index = csr.indices[e];
      const Value* const from = x.data + index * x.num_columns + first;
      const Value weight = kByIndex ? factor(index) : Value(1);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        Vec values;
        std::memcpy(&values, from + v * kWidth, sizeof(Vec));
        sum[v] += kByIndex ? values * weight : values;
      }
    }
    if (scale == Scale::kByRow && end > begin) {
      const Value length = static_cast<Value>(end - begin);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[v] /= length;
    }
    std::memcpy(out + row * x.num_columns + first, sum, sizeof(sum));
  }

  template <bool kByIndex>
  void sum_columns(int64_t row, int64_t first) const {
    const int64_t begin = csr.indptr[row], end = csr.indptr[row + 1];
    Value* const to = out + row * x.num_columns;
    std::fill(to + first, to + x.num_columns, Value(0));
    for (int64_t e = begin; e < end; ++e) {
      const int64_t index = csr.indices[e];
      const Value* const from = x.data + index * x.num_columns;
      const Value weight = kByIndex ? factor(index) : Value(1);
      for (int64_t c = first; c < x.num_columns; ++c) {
        to[c] += kByIndex ? from[c] * weight : from[c];
      }
    }
    if (scale == Scale::kByRow && end > begin) {
      for (int64_t c = first; c < x.num_columns; ++c) to[c] /= static_cast<Value>(end - begin);
    }
  }

  template <bool kByIndex>
  void rows(Range range) const {
    constexpr int64_t kWidth = Vector<Value>::kWidth;
    const int64_t last_edge = csr.indptr[range.end] - 1;
    const int64_t row_bytes = x.num_columns * static_cast<int64_t>(sizeof(Value));
    const int64_t bytes_ahead = std::min(row_bytes, kMaxLinesAhead * kLine);
    for (int64_t e = csr.indptr[range.begin]; e <= last_edge; ++e) {
      check_index(csr.indices[e], x.num_rows, "indices");
    }
    for (int64_t row = range.begin; row < range.end; ++row) {
      for (int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
        const char* const next = reinterpret_cast<const char*>(
            x.data + csr.indices[std::min(e + kEdgesAhead, last_edge)] * x.num_columns);
        for (int64_t at = 0; at < bytes_ahead; at += kLine) __builtin_prefetch(next + at);
      }
      int64_t first = 0;
      for (; first + 4 * kWidth <= x.num_columns; first += 4 * kWidth) {
        sum_block<4, kByIndex>(row, first);
      }
      for (; first + kWidth <= x.num_columns; first += kWidth) sum_block<1, kByIndex>(row, first);
      if (first < x.num_columns) sum_columns<kByIndex>(row, first);
    }
  }
};

}  // namespace

void check_indptr(const Csr& csr) {
  bool ascending = csr.indptr[0] == 0 && csr.indptr[csr.num_rows] == csr.num_edges;
  for (int64_t row = 0; row < csr.num_rows; ++row) {
    ascending &= csr.indptr[row] <= csr.indptr[row + 1];
  }
  if (!ascending) {
    throw std::invalid_argument("indptr must ascend from 0 to the number of edges " +
                                std::to_string(csr.num_edges) + ", got " +
                                std::to_string(csr.indptr[0]) + " to " +
                                std::to_string(csr.indptr[csr.num_rows]));
  }
}

TransposedCsr transpose(const Csr& csr, int64_t num_columns, int num_threads) {
  check_num_threads(num_threads);
  check_indptr(csr);
  // Each chunk counts for itself, so there are no more of them than threads.
  const int64_t num_chunks =
      std::clamp<int64_t>(csr.num_edges / kTransposeChunkEdges, 1, num_threads);
  const WorkSplit split{csr, num_chunks};
  TransposedCsr result;
  result.indptr.resize(num_columns + 1);
  result.indices.resize(csr.num_edges);
  result.permutation.resize(csr.num_edges);
  Buffer<int64_t> next(num_chunks * num_columns);  // per chunk: counts, then where to write
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    int64_t* const count = next.data() + chunk * num_columns;
    std::fill_n(count, num_columns, 0);
    const Range range = split.rows(chunk);
    for (int64_t e = csr.indptr[range.begin]; e < csr.indptr[range.end]; ++e) {
      check_index(csr.indices[e], num_columns, "src");
      ++count[csr.indices[e]];
    }
  });
  int64_t total = 0;
  for (int64_t column = 0; column < num_columns; ++column) {
    result.indptr[column] = total;
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
      const int64_t count = next[chunk * num_columns + column];
      next[chunk * num_columns + column] = total;
      total += count;
    }
  }
  result.indptr[num_columns] = total;
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    int64_t* const at = next.data() + chunk * num_columns;
    const Range range = split.rows(chunk);
    for (int64_t row = range.begin; row < range.end; ++row) {
      for (int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
        const int64_t to = at[csr.indices[e]]++;
        result.indices[to] = row;
        result.permutation[to] = e;
      }
    }
  });
  return result;
}

template <typename Value>
void spmm(const Csr& csr, const Matrix<Value>& x, Scale scale, const int64_t* lengths, Value* out,
          int num_threads) {
  check_num_threads(num_threads);
  check_indptr(csr);
  const int64_t values = (csr.num_edges + csr.num_rows) * std::max<int64_t>(x.num_columns, 1);
  const WorkSplit split{
      csr, std::clamp<int64_t>(values / kChunkValues, 1, std::max<int64_t>(csr.num_rows, 1))};
  const RowSum<Value> sum{csr, x, scale, lengths, out};
  parallel_for(split.num_chunks, num_threads, [&](int64_t chunk) {
    const Range range = split.rows(chunk);
    if (scale == Scale::kByIndex) {
      sum.template rows<true>(range);
    } else {
      sum.template rows<false>(range);
    }
  });
}

template void spmm(const Csr&, const Matrix<float>&, Scale, const int64_t*, float*, int);
template void spmm(const Csr&, const Matrix<double>&, Scale, const int64_t*, double*, int);

}  // namespace gnnflow
