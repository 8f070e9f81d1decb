// Converts rows of float32 on their way between ranks: to bfloat16, or to int8 with a scale per
// row.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "bind_all.h"
#include "bind_numpy.h"
#include "thread_pool.h"

namespace gnnflow {
namespace {

enum class Format { kBfloat16 = 1, kInt8 = 2 };

constexpr int64_t kBytesPerChunk = 1 << 18;
constexpr int64_t kPrefetchRows = 8;
constexpr int64_t kPrefetchBytes = 1024;
constexpr int64_t kCacheLine = 64;
constexpr float kLargestInt8 = 127.0f;
constexpr uint32_t kMagnitude = 0x7FFFFFFF, kInfinity = 0x7F800000;

Format as_format(int code) {
  if (code == 1 || code == 2) return static_cast<Format>(code);
  throw py::value_error("format must be 1 (bfloat16) or 2 (int8), got " + std::to_string(code));
}

int64_t wire_bytes(Format format, int64_t width) {
  return format == Format::kBfloat16 ? 2 * width : static_cast<int64_t>(sizeof(float)) + width;
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

struct Table {
  char* data;
  int64_t num_rows, row_bytes;
};

Table as_table(const py::array& array, const char* name, bool writeable) {
  if (array.ndim() != 2 || !(array.flags() & py::array::c_style)) {
    throw py::value_error(std::string(name) + " must be contiguous with two dimensions");
  }
  if (writeable && !array.writeable()) {
    throw py::value_error(std::string(name) + " must be writeable");
  }
  return {static_cast<char*>(const_cast<void*>(array.data())), array.shape(0),
          array.shape(1) * array.itemsize()};
}

Table as_floats(const py::array& array, const char* name, bool writeable) {
  if (!array.dtype().is(py::dtype::of<float>())) {
    throw py::value_error(std::string(name) + " must be float32, got " +
                          py::str(array.dtype()).cast<std::string>());
  }
  return as_table(array, name, writeable);
}

// One side is floats, picked by row number; the other is the wire, row after row.
void check_sizes(Format format, const Table& floats, const Table& wire, int64_t num_rows) {
  const int64_t expected = wire_bytes(format, floats.row_bytes / 4);
  if (wire.num_rows == num_rows && wire.row_bytes == expected) return;
  throw py::value_error("the wire must have " + std::to_string(num_rows) + " rows of " +
                        std::to_string(expected) + " bytes, got " + std::to_string(wire.num_rows) +
                        " rows of " + std::to_string(wire.row_bytes));
}

template <typename Convert>
void convert_rows(const Table& floats, const Table& wire, const int64_t* row_of, bool prefetch,
                  int num_threads, const Convert& convert) {
  const int64_t rows_per_chunk =
      std::max<int64_t>(1, kBytesPerChunk / std::max<int64_t>(1, floats.row_bytes));
  const int64_t num_chunks = (wire.num_rows + rows_per_chunk - 1) / rows_per_chunk;
  const auto row_at = [&](int64_t i) {
    return reinterpret_cast<float*>(floats.data + row_of[i] * floats.row_bytes);
  };
  parallel_for(num_chunks, num_threads, [&](int64_t chunk) {
    const int64_t begin = chunk * rows_per_chunk;
    const int64_t end = std::min(begin + rows_per_chunk, wire.num_rows);
    for (int64_t i = begin; i < end; ++i) {
      if (row_of[i] >= 0 && row_of[i] < floats.num_rows) continue;
      throw std::invalid_argument("rows must be in [0, " + std::to_string(floats.num_rows) +
                                  "), got " + std::to_string(row_of[i]));
    }
    for (int64_t i = begin; i < end; ++i) {
      if (prefetch && i + kPrefetchRows < end) {
        const char* next = reinterpret_cast<const char*>(row_at(i + kPrefetchRows));
        const int64_t bytes = std::min(floats.row_bytes, kPrefetchBytes);
        for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(next + at);
      }
      convert(row_at(i), wire.data + i * wire.row_bytes);
    }
  });
}

void encode_rows(const py::array& wire_array, const py::array& source, const py::array& rows,
                 int code, int num_threads) {
  const Format format = as_format(code);
  const Table wire = as_table(wire_array, "out", true);
  const Table floats = as_floats(source, "source", false);
  const int64_t* row_of = borrow<int64_t>(rows, "rows");
  check_sizes(format, floats, wire, rows.size());
  const int64_t width = floats.row_bytes / 4;
  const bool small = format == Format::kBfloat16;
  py::gil_scoped_release nogil;
  convert_rows(floats, wire, row_of, true, num_threads, [&](const float* row, char* to) {
    small ? encode_bfloat16(row, width, to) : encode_int8(row, width, to);
  });
}

void decode_rows(const py::array& out, const py::array& positions, const py::array& wire_array,
                 int code, int num_threads) {
  const Format format = as_format(code);
  const Table wire = as_table(wire_array, "source", false);
  const Table floats = as_floats(out, "out", true);
  const int64_t* row_of = borrow<int64_t>(positions, "positions");
  check_sizes(format, floats, wire, positions.size());
  const int64_t width = floats.row_bytes / 4;
  const bool small = format == Format::kBfloat16;
  py::gil_scoped_release nogil;
  convert_rows(floats, wire, row_of, false, num_threads, [&](float* row, const char* from) {
    small ? decode_bfloat16(from, width, row) : decode_int8(from, width, row);
  });
}

}  // namespace

void bind_wire(py::module_& module) {
  module.def("encode_rows", &encode_rows, py::arg("out"), py::arg("source"), py::arg("rows"),
             py::arg("format"), py::arg("num_threads") = 1);
  module.def("decode_rows", &decode_rows, py::arg("out"), py::arg("positions"), py::arg("source"),
             py::arg("format"), py::arg("num_threads") = 1);
}

}  // namespace gnnflow
