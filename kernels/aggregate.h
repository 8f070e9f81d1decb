// Sums and means over neighbours, their gradient, and the transposed adjacency the latter needs.
#pragma once

#include <cstdint>

#include "buffer.h"

namespace gnnflow {

// A CSR adjacency: row r has indices[indptr[r]] to indices[indptr[r + 1]].
struct Csr {
  const int64_t* indptr;
  int64_t num_rows;
  const int64_t* indices;
  int64_t num_edges;
};

// Throws unless indptr ascends from 0 to num_edges. Indices are checked where they are used.
void check_indptr(const Csr& csr);

struct TransposedCsr {
  Buffer<int64_t> indptr;       // [num_columns + 1]
  Buffer<int64_t> indices;      // the rows of every column, ascending
  Buffer<int64_t> permutation;  // the edge that each entry was
};
TransposedCsr transpose(const Csr& csr, int64_t num_columns, int num_threads);

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
