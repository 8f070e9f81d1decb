// Finds the part that owns a vertex.
#pragma once

#include <cstdint>

#include "check_index.h"

namespace gnnflow {

// Which part owns an id. Compares with every offset if there are few, else halves; without
// branches, for ids come in no order that the processor could learn.
struct Owners {
  static constexpr int64_t kLinearSearchParts = 8;

  const int64_t* offsets;
  int64_t num_parts;

  int64_t num_vertices() const { return offsets[num_parts]; }

  void check(int64_t id) const { check_index(id, num_vertices(), "global ids"); }

  int64_t of(int64_t id) const {
    if (num_parts <= kLinearSearchParts) {
      int64_t owner = 0;
      for (int64_t part = 1; part < num_parts; ++part) owner += id >= offsets[part];
      return owner;
    }
    const int64_t* first = offsets;
    for (int64_t num = num_parts; num > 1;) {
      const int64_t half = num / 2;
      first += id >= first[half] ? half : 0;
      num -= half;
    }
    return first - offsets;
  }
};

}  // namespace gnnflow
