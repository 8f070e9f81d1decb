// Orders the vertices of the halo cache by what is known of them without looking ahead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "cache_state.h"

namespace gnnflow {

// Floats that are not negative keep their order when their bits are read as an integer.
inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Numbers by vertex id; vertices that are not listed have 0.
class IdValues {
 public:
  IdValues() = default;
  // `ids` are ascending; `owner` keeps both arrays alive.
  IdValues(const int64_t* ids, const float* values, size_t size, std::shared_ptr<const void> owner);

  float at(int64_t id) const;
  bool empty() const { return size_ == 0; }
  size_t memory_bytes() const;

 private:
  const int64_t* ids_ = nullptr;
  const float* values_ = nullptr;
  size_t size_ = 0;
  std::shared_ptr<const void> owner_;
  // A search begins among the ids that share their leading bits: of bits b, from starts_[b] on.
  int shift_ = 0;
  std::vector<uint32_t> starts_;
};

enum class OrderKind { kLastUse, kValue, kCount };

// Priorities stay below 2^31, the larger ones are worth more:
// - kLastUse: the minibatch of the last use, counted from 1;
// - kValue: a given value;
// - kCount: the number of uses, each multiplied by `factor` for every minibatch since; a vertex
//   starts with what its value, taken as the probability of a use, leads to in the long run.
class RowOrder {
 public:
  RowOrder(OrderKind kind, IdValues values, double factor)
      : kind_(kind), values_(std::move(values)), factor_(factor) {}

  OrderKind kind() const { return kind_; }
  double unit() const { return unit_; }
  // Starts to remember a vertex.
  void meet(int64_t id, VertexState* state) const;
  // Begins a minibatch; says whether the unit of all counts changed, and priorities with it.
  bool begin_minibatch(std::vector<VertexState>* states);
  uint32_t priority_of(const VertexState& state) const {
    if (kind_ == OrderKind::kLastUse) return static_cast<uint32_t>(state.last_use + 1);
    return kind_ == OrderKind::kValue ? state.value : bits_of(static_cast<float>(state.count));
  }
  // Whether nothing is lost by starting anew with this vertex.
  bool can_forget(const VertexState& state) const {
    return kind_ != OrderKind::kCount || state.count < 0.01 * unit_;
  }
  size_t memory_bytes() const { return values_.memory_bytes(); }

 private:
  OrderKind kind_;
  IdValues values_;
  double factor_;
  // What a use counts now: all counts age by changing this number.
  double unit_ = 1.0;
};

}  // namespace gnnflow
