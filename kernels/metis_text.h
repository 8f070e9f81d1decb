// Neighbour lists as lines of METIS's text format, which other partitioners read too.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>

namespace gnnflow {

// One line for each vertex of [first, last): its weight, then its neighbours counted from 1.
template <typename Id>
std::string metis_lines(const int64_t* indptr, const Id* neighbors, const int64_t* weights,
                        int64_t first, int64_t last) {
  constexpr size_t kLongestNumber = 21;  // digits, sign and a separator of 64 bits
  std::string text;
  const size_t num_numbers = static_cast<size_t>(indptr[last] - indptr[first] + (last - first));
  text.resize(num_numbers * kLongestNumber);
  char* out = text.data();
  char* const end = out + text.size();
  for (int64_t vertex = first; vertex < last; ++vertex) {
    out = std::to_chars(out, end, weights[vertex]).ptr;
    for (int64_t entry = indptr[vertex]; entry < indptr[vertex + 1]; ++entry) {
      *out++ = ' ';
      out = std::to_chars(out, end, static_cast<int64_t>(neighbors[entry]) + 1).ptr;
    }
    *out++ = '\n';
  }
  text.resize(static_cast<size_t>(out - text.data()));
  return text;
}

}  // namespace gnnflow
