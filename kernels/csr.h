// CSR adjacencies and the other forms of them that layers want: transposed, and as an edge list.
#pragma once

#include <cstdint>

#include "buffer.h"
#include "thread_pool.h"

namespace gnnflow {

// Row r has indices[indptr[r]] to indices[indptr[r + 1]].
struct Csr {
  const int64_t* indptr;
  int64_t num_rows;
  const int64_t* indices;
  int64_t num_edges;
};

// Whether a list that is not empty ascends from 0 to num_entries.
bool is_indptr(const int64_t* indptr, int64_t size, int64_t num_entries);
// Throws unless indptr ascends from 0 to num_edges. Indices are checked where they are used.
void check_indptr(const Csr& csr);

struct TransposedCsr {
  Buffer<int64_t> indptr;       // [num_columns + 1]
  Buffer<int64_t> indices;      // the rows of every column, ascending
  Buffer<int64_t> permutation;  // the edge that each entry was
};
TransposedCsr transpose(const Csr& csr, int64_t num_columns, int num_threads);

// All indices, then the row of each.
Buffer<int64_t> edge_list(const Csr& csr, int num_threads);

// Cuts the rows into chunks of even work, which is entries and rows together.
class WorkSplit {
 public:
  WorkSplit(const Csr& csr, int64_t num_chunks) : csr_(csr), num_chunks_(num_chunks) {}
  int64_t num_chunks() const { return num_chunks_; }
  Range rows(int64_t chunk) const;

 private:
  int64_t begin(int64_t chunk) const;

  const Csr& csr_;
  int64_t num_chunks_;
};

}  // namespace gnnflow
