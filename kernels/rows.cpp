#include "rows.h"

#include <cstring>

#include "check_index.h"

namespace gnnflow {

void copy_rows(const Rows& out, const int32_t* out_rows, const Rows& source,
               const int32_t* source_rows, int64_t num_copies) {
  for (int64_t i = 0; i < num_copies; ++i) check_index(out_rows[i], out.num_rows, "out_rows");
  for (int64_t i = 0; i < num_copies; ++i) {
    check_index(source_rows[i], source.num_rows, "source_rows");
  }
  const int64_t bytes = out.row_bytes;
  for (int64_t i = 0; i < num_copies; ++i) {
    std::memcpy(out.data + out_rows[i] * bytes, source.data + source_rows[i] * bytes,
                static_cast<size_t>(bytes));
  }
}

}  // namespace gnnflow
