// Arrays of uninitialised memory whose blocks are used again instead of going back to the system.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace gnnflow {

struct Block {
  void* data = nullptr;
  size_t bytes = 0;
};

// A block of at least this many bytes, aligned to a cache line. Fresh pages cost as much as the
// work done on them, so released blocks are kept, up to a limit for the whole process.
Block acquire_block(size_t bytes);
void release_block(Block block) noexcept;

// A resizable array of plain values; growing leaves new entries uninitialised.
template <typename T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>, "entries are moved by memcpy");

 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { resize(size); }
  Buffer(Buffer&& other) noexcept
      : block_(std::exchange(other.block_, {})), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { release_block(block_); }

  T* data() { return static_cast<T*>(block_.data); }
  const T* data() const { return static_cast<const T*>(block_.data); }
  int64_t size() const { return size_; }
  int64_t capacity() const { return static_cast<int64_t>(block_.bytes / sizeof(T)); }
  bool empty() const { return size_ == 0; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }

  void reserve(int64_t capacity_wanted) {
    if (capacity_wanted <= capacity()) return;
    const int64_t grown = size_ == 0 ? capacity_wanted : capacity() + capacity() / 2;
    const Block fresh =
        acquire_block(static_cast<size_t>(std::max(capacity_wanted, grown)) * sizeof(T));
    if (size_ > 0) std::memcpy(fresh.data, block_.data, static_cast<size_t>(size_) * sizeof(T));
    release_block(std::exchange(block_, fresh));
  }
  void resize(int64_t size) {
    reserve(size);
    size_ = size;
  }
  void clear() { size_ = 0; }
  void push_back(T value) {
    resize(size_ + 1);
    data()[size_ - 1] = value;
  }

 private:
  Block block_;
  int64_t size_ = 0;
};

}  // namespace gnnflow
