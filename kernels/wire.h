// Rows of float32 on their way between ranks: as bfloat16, or as int8 with a scale per row.
#pragma once

#include <cstdint>

#include "rows.h"

namespace gnnflow {

enum class WireFormat { kBfloat16 = 1, kInt8 = 2 };

// The size of a row of `width` numbers on the wire.
int64_t wire_row_bytes(WireFormat format, int64_t width);

// Writes row rows[i] of `floats` to row i of `wire`.
void encode_rows(WireFormat format, const Rows& floats, const int64_t* rows, const Rows& wire,
                 int num_threads);
// Writes row i of `wire` to row positions[i] of `floats`.
void decode_rows(WireFormat format, const Rows& floats, const int64_t* positions, const Rows& wire,
                 int num_threads);

}  // namespace gnnflow
