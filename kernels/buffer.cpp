// Keeps released blocks by size class; see buffer.h.
#include "buffer.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace gnnflow {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallest = 256;
constexpr int kNumClasses = 4 * 40;
constexpr size_t kKeptBytes = size_t{256} << 20;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeep = false;  // so that a use after release is seen
#else
constexpr bool kKeep = true;
#endif

// Four classes per power of two waste at most a quarter of a block.
struct SizeClass {
  int index;
  size_t bytes;
};
SizeClass size_class(size_t bytes) {
  size_t low = kSmallest;
  int index = 0;
  while (bytes > 2 * low) {
    low *= 2;
    index += 4;
  }
  size_t quarters = bytes > low ? (bytes - low + low / 4 - 1) / (low / 4) : 0;
  return {index + static_cast<int>(quarters), low + quarters * (low / 4)};
}

class BlockStore {
 public:
  Block acquire(size_t bytes) {
    const SizeClass wanted = size_class(bytes);
    if (wanted.index >= kNumClasses) throw std::bad_alloc();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      std::vector<void*>& kept = kept_[wanted.index];
      if (!kept.empty()) {
        void* data = kept.back();
        kept.pop_back();
        kept_bytes_ -= wanted.bytes;
        return {data, wanted.bytes};
      }
    }
    const bool huge = wanted.bytes >= kHugePage;
    void* data = nullptr;
    if (posix_memalign(&data, huge ? kHugePage : kLine, wanted.bytes) != 0) throw std::bad_alloc();
    // Advice only: fewer page faults and translation misses where the system grants it.
    if (huge) madvise(data, wanted.bytes, MADV_HUGEPAGE);
    return {data, wanted.bytes};
  }

  void release(Block block) {
    if (kKeep) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (kept_bytes_ + block.bytes <= kKeptBytes) {
        try {
          kept_[size_class(block.bytes).index].push_back(block.data);
          kept_bytes_ += block.bytes;
          return;
        } catch (const std::bad_alloc&) {  // not kept, then
        }
      }
    }
    std::free(block.data);
  }

  std::mutex& mutex() { return mutex_; }

 private:
  std::mutex mutex_;
  std::vector<void*> kept_[kNumClasses + 1];
  size_t kept_bytes_ = 0;
};

BlockStore& store();

// Never destroyed: arrays may be released while the process exits. The lock is held over a fork,
// lest the child inherit it taken by a thread that it does not have.
BlockStore* make_store() {
  pthread_atfork([] { store().mutex().lock(); }, [] { store().mutex().unlock(); },
                 [] { store().mutex().unlock(); });
  return new BlockStore;
}

BlockStore& store() {
  static BlockStore* const instance = make_store();
  return *instance;
}

}  // namespace

Block acquire_block(size_t bytes) { return store().acquire(bytes); }

void release_block(Block block) noexcept {
  if (block.data != nullptr) store().release(block);
}

}  // namespace gnnflow
