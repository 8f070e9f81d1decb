// Sums and means over neighbours, and their gradient.
#pragma once

#include <cstdint>

#include "csr.h"

namespace gnnflow {

// The matrix of values that an adjacency is multiplied with.
template <typename Value>
struct Matrix {
  const Value* data;
  int64_t num_rows;
  int64_t num_columns;
};

enum class Scale {
  kNone,
  kByRow,    // divides a row's sum by the number of its entries: the mean
  kByIndex,  // divides each value by the length of its own row in `lengths`: the mean's gradient
};

// out[r] = sum over e in row r of x[indices[e]], scaled. `lengths` is the indptr of the adjacency
// that the mean was taken over; it is used with kByIndex only. Every sum is taken in order of e.
template <typename Value>
void spmm(const Csr& csr, const Matrix<Value>& x, Scale scale, const int64_t* lengths, Value* out,
          int num_threads);

}  // namespace gnnflow
