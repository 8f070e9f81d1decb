#include "cache_order.h"

#include <algorithm>

namespace gnnflow {
namespace {

// Before the unit leaves the range of float, all counts are scaled once.
constexpr double kLargestUnit = 0x1p64;
constexpr size_t kIdsPerStart = 4;

}  // namespace

IdValues::IdValues(const int64_t* ids, const float* values, size_t size,
                   std::shared_ptr<const void> owner)
    : ids_(ids), values_(values), size_(size), owner_(std::move(owner)) {
  if (size == 0 || size >= UINT32_MAX) return;
  const auto largest = static_cast<uint64_t>(ids[size - 1]);
  while ((largest >> shift_) * kIdsPerStart > size) ++shift_;
  starts_.assign((largest >> shift_) + 2, 0);
  for (size_t i = 0; i < size; ++i) ++starts_[(static_cast<uint64_t>(ids[i]) >> shift_) + 1];
  for (size_t bits = 1; bits < starts_.size(); ++bits) starts_[bits] += starts_[bits - 1];
}

float IdValues::at(int64_t id) const {
  const int64_t* begin = ids_;
  const int64_t* end = ids_ + size_;
  if (!starts_.empty()) {
    const size_t bits = static_cast<uint64_t>(id) >> shift_;
    if (bits + 1 >= starts_.size()) return 0.0f;
    begin = ids_ + starts_[bits];
    end = ids_ + starts_[bits + 1];
  }
  const int64_t* found = std::lower_bound(begin, end, id);
  return found != end && *found == id ? values_[found - ids_] : 0.0f;
}

size_t IdValues::memory_bytes() const {
  return size_ * (sizeof(int64_t) + sizeof(float)) + starts_.capacity() * sizeof(uint32_t);
}

void RowOrder::meet(int64_t id, VertexState* state) const {
  if (kind_ == OrderKind::kLastUse || values_.empty()) return;
  const float value = values_.at(id);
  if (kind_ == OrderKind::kValue) {
    state->value = bits_of(value);
  } else if (factor_ < 1) {
    state->count = static_cast<double>(value) * (unit_ / (1 - factor_));
  }
}

bool RowOrder::begin_minibatch(std::vector<VertexState>* states) {
  if (kind_ != OrderKind::kCount) return false;
  unit_ /= factor_;
  if (unit_ <= kLargestUnit) return false;
  for (VertexState& state : *states) state.count /= unit_;
  unit_ = 1.0;
  return true;
}

}  // namespace gnnflow
