// Hashes of 64 bits: of one number, for tables, and of several in a row.
#pragma once

#include <cstdint>

namespace gnnflow {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ull;

// Fibonacci hashing: tables take the leading bits, which all bits of the number reach.
inline uint64_t spread(uint64_t number) { return number * kGolden; }

// The finaliser of splitmix64: a bijection of 64 bits that mixes every bit into every other.
inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Takes one more number into a hash chain.
inline uint64_t chain(uint64_t hash, uint64_t value) { return mix((hash ^ value) + kGolden); }

}  // namespace gnnflow
