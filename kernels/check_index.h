// Checks that numbers lie in [0, limit), with one wording of what they must be.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace gnnflow {

inline bool is_index(int64_t index, int64_t limit) {
  return static_cast<uint64_t>(index) < static_cast<uint64_t>(limit);
}

// `what_must_be` begins the message: "rows must be", "seeds must be global ids".
[[noreturn, gnu::noinline, gnu::cold]] inline void throw_outside(const std::string& what_must_be,
                                                                 int64_t index, int64_t limit) {
  throw std::invalid_argument(what_must_be + " in [0, " + std::to_string(limit) + "), got " +
                              std::to_string(index));
}

// Throws with the name of the argument unless the index is in [0, limit).
inline void check_index(int64_t index, int64_t limit, const char* name) {
  if (!is_index(index, limit)) throw_outside(std::string(name) + " must be", index, limit);
}

// How many of the ids are not in [0, limit).
template <typename Id>
int64_t count_outside(const Id* ids, int64_t num_ids, int64_t limit) {
  int64_t num_outside = 0;
  for (int64_t i = 0; i < num_ids; ++i) num_outside += !is_index(ids[i], limit);
  return num_outside;
}

}  // namespace gnnflow
