#include "wire.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check_index.h"
#include "prefetch.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

constexpr int64_t kBytesPerChunk = 1 << 18;
constexpr int64_t kRowsAhead = 8;
constexpr float kLargestInt8 = 127.0f;
constexpr uint32_t kMagnitude = 0x7FFFFFFF, kInfinity = 0x7F800000;

int64_t width_of(const Rows& floats) {
  return floats.row_bytes / static_cast<int64_t>(sizeof(float));
}

// The nearest bfloat16, ties to even; what is no number stays so.
inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40;
  return static_cast<uint16_t>((bits & kMagnitude) > kInfinity ? quiet_nan : rounded);
}

inline float from_bfloat16(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void encode_bfloat16(const float* row, int64_t width, char* wire) {
  for (int64_t i = 0; i < width; ++i) {
    const uint16_t half = to_bfloat16(row[i]);
    std::memcpy(wire + 2 * i, &half, sizeof(half));
  }
}

void decode_bfloat16(const char* wire, int64_t width, float* row) {
  for (int64_t i = 0; i < width; ++i) {
    uint16_t half;
    std::memcpy(&half, wire + 2 * i, sizeof(half));
    row[i] = from_bfloat16(half);
  }
}

// A row with a value that is not finite gets a scale that is not: all of it decodes to NaN.
void encode_int8(const float* row, int64_t width, char* wire) {
  uint32_t largest_bits = 0;  // magnitudes order like their bits
  for (int64_t i = 0; i < width; ++i) {
    uint32_t bits;
    std::memcpy(&bits, row + i, sizeof(bits));
    largest_bits = std::max(largest_bits, bits & kMagnitude);
  }
  float largest;
  std::memcpy(&largest, &largest_bits, sizeof(largest));
  const bool finite = largest_bits < kInfinity;
  const float scale = finite ? largest / kLargestInt8 : std::numeric_limits<float>::quiet_NaN();
  const float inverse = kLargestInt8 / largest;
  std::memcpy(wire, &scale, sizeof(scale));
  auto* values = reinterpret_cast<int8_t*>(wire + sizeof(scale));
  if (!finite || !std::isfinite(inverse)) {
    std::memset(values, 0, static_cast<size_t>(width));
    return;
  }
  for (int64_t i = 0; i < width; ++i) {
    values[i] = static_cast<int8_t>(std::nearbyint(row[i] * inverse));
  }
}

void decode_int8(const char* wire, int64_t width, float* row) {
  float scale;
  std::memcpy(&scale, wire, sizeof(scale));
  const auto* values = reinterpret_cast<const int8_t*>(wire + sizeof(scale));
  for (int64_t i = 0; i < width; ++i) row[i] = static_cast<float>(values[i]) * scale;
}

// One side is floats, picked by row number; the other is the wire, row after row.
template <bool kPrefetch, typename Convert>
void convert_rows(const Rows& floats, const Rows& wire, const int64_t* row_of, int num_threads,
                  const Convert& convert) {
  const int64_t rows_per_chunk =
      std::max<int64_t>(1, kBytesPerChunk / std::max<int64_t>(1, floats.row_bytes));
  const auto row_at = [&](int64_t i) {
    return reinterpret_cast<float*>(floats.data + row_of[i] * floats.row_bytes);
  };
  parallel_pieces(wire.num_rows, rows_per_chunk, num_threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) check_index(row_of[i], floats.num_rows, "rows");
    for (int64_t i = begin; i < end; ++i) {
      if (kPrefetch && i + kRowsAhead < end) prefetch_row(row_at(i + kRowsAhead), floats.row_bytes);
      convert(row_at(i), wire.data + i * wire.row_bytes);
    }
  });
}

}  // namespace

int64_t wire_row_bytes(WireFormat format, int64_t width) {
  return format == WireFormat::kBfloat16 ? 2 * width : static_cast<int64_t>(sizeof(float)) + width;
}

void encode_rows(WireFormat format, const Rows& floats, const int64_t* rows, const Rows& wire,
                 int num_threads) {
  const int64_t width = width_of(floats);
  const bool small = format == WireFormat::kBfloat16;
  convert_rows<true>(floats, wire, rows, num_threads, [&](const float* row, char* to) {
    small ? encode_bfloat16(row, width, to) : encode_int8(row, width, to);
  });
}

void decode_rows(WireFormat format, const Rows& floats, const int64_t* positions, const Rows& wire,
                 int num_threads) {
  const int64_t width = width_of(floats);
  const bool small = format == WireFormat::kBfloat16;
  convert_rows<false>(floats, wire, positions, num_threads, [&](float* row, const char* from) {
    small ? decode_bfloat16(from, width, row) : decode_int8(from, width, row);
  });
}

}  // namespace gnnflow
