// Sparse times dense with accumulators in registers; see aggregate.h.
#include "aggregate.h"

#include <algorithm>
#include <cstring>

#include "check_index.h"
#include "prefetch.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kChunkValues = 1 << 16;
constexpr int64_t kEdgesAhead = 12;

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
  void sum_rows(Range range) const {
    constexpr int64_t kWidth = Vector<Value>::kWidth;
    const int64_t last_edge = csr.indptr[range.end] - 1;
    const int64_t row_bytes = x.num_columns * static_cast<int64_t>(sizeof(Value));
    for (int64_t e = csr.indptr[range.begin]; e <= last_edge; ++e) {
      check_index(csr.indices[e], x.num_rows, "indices");
    }
    for (int64_t row = range.begin; row < range.end; ++row) {
      for (int64_t e = csr.indptr[row]; e < csr.indptr[row + 1]; ++e) {
        const int64_t next = csr.indices[std::min(e + kEdgesAhead, last_edge)];
        prefetch_row(x.data + next * x.num_columns, row_bytes);
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

template <typename Value>
void spmm(const Csr& csr, const Matrix<Value>& x, Scale scale, const int64_t* lengths, Value* out,
          int num_threads) {
  check_num_threads(num_threads);
  check_indptr(csr);
  const int64_t values = (csr.num_edges + csr.num_rows) * std::max<int64_t>(x.num_columns, 1);
  const WorkSplit split{
      csr, std::clamp<int64_t>(values / kChunkValues, 1, std::max<int64_t>(csr.num_rows, 1))};
  const RowSum<Value> sum{csr, x, scale, lengths, out};
  parallel_for(split.num_chunks(), num_threads, [&](int64_t chunk) {
    const Range range = split.rows(chunk);
    if (scale == Scale::kByIndex) {
      sum.template sum_rows<true>(range);
    } else {
      sum.template sum_rows<false>(range);
    }
  });
}

template void spmm(const Csr&, const Matrix<float>&, Scale, const int64_t*, float*, int);
template void spmm(const Csr&, const Matrix<double>&, Scale, const int64_t*, double*, int);

}  // namespace gnnflow
