// A pool of helpers that spin for a moment after each loop and then sleep; see thread_pool.h.
#include "thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace gnnflow {
namespace {

// Long enough to bridge the serial stretch between two loops of one call, short enough not to take
// a core from another process.
constexpr std::chrono::microseconds kSpin(20);
constexpr int kMaxThreads = 1024;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until done() holds, for kSpin at most; tells whether it holds.
template <typename Done>
bool spin_until(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

struct Loop {
  Loop(ChunkBody body_, int64_t num_chunks_, int max_helpers_)
      : body(body_), num_chunks(num_chunks_), max_helpers(max_helpers_) {}

  const ChunkBody body;
  const int64_t num_chunks;
  const int max_helpers;
  std::atomic<int64_t> next{0};
  std::atomic<int> helpers{0};  // changed under the pool's mutex; the loop must outlive them
  std::mutex error_mutex;
  int64_t error_chunk = std::numeric_limits<int64_t>::max();
  std::exception_ptr error;

  void drain() {
    for (;;) {
      const int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= num_chunks) return;
      try {
        body(chunk);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (chunk < error_chunk) {
          error_chunk = chunk;
          error = std::current_exception();
        }
      }
    }
  }
};

class ThreadPool {
 public:
  // Never destroyed: helpers may sleep in it while the process exits. After a fork the child makes
  // a pool of its own, as threads do not survive there.
  static ThreadPool& instance() {
    ThreadPool* pool = current().load(std::memory_order_acquire);
    if (pool != nullptr) return *pool;
    static const int registered =
        pthread_atfork(nullptr, nullptr, [] { current().store(nullptr); });
    (void)registered;
    auto fresh = std::make_unique<ThreadPool>();
    if (current().compare_exchange_strong(pool, fresh.get())) return *fresh.release();
    return *pool;
  }

  void run(int64_t num_chunks, int num_threads, ChunkBody body) {
    const int max_helpers = static_cast<int>(std::min<int64_t>(num_threads, num_chunks)) - 1;
    Loop loop(body, num_chunks, max_helpers);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      try {
        for (; num_workers_ < max_helpers; ++num_workers_) {
          std::thread([this] { work(); }).detach();
        }
      } catch (const std::system_error&) {  // no more threads to be had: fewer do the work
      }
      loops_.push_back(&loop);
      version_.fetch_add(1, std::memory_order_release);
      for (int i = 0; i < std::min(max_helpers, num_sleepers_); ++i) work_.notify_one();
    }
    loop.drain();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
    }
    const auto idle = [&loop] { return loop.helpers.load(std::memory_order_acquire) == 0; };
    if (!spin_until(idle)) {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, idle);
    }
    if (loop.error) std::rethrow_exception(loop.error);
  }

 private:
  static std::atomic<ThreadPool*>& current() {
    static std::atomic<ThreadPool*> pool{nullptr};
    return pool;
  }

  void work() {
    for (;;) {
      uint64_t seen;
      if (Loop* loop = take(seen)) {
        loop->drain();
        const std::lock_guard<std::mutex> lock(mutex_);
        // The caller may return, and the loop vanish, as soon as the last helper has left.
        if (loop->helpers.fetch_sub(1, std::memory_order_release) == 1) done_.notify_all();
        continue;
      }
      const auto changed = [this, seen] {
        return version_.load(std::memory_order_acquire) != seen;
      };
      if (spin_until(changed)) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      ++num_sleepers_;
      work_.wait(lock, changed);
      --num_sleepers_;
    }
  }

  Loop* take(uint64_t& seen) {
    const std::lock_guard<std::mutex> lock(mutex_);
    seen = version_.load(std::memory_order_relaxed);
    for (Loop* loop : loops_) {
      if (loop->next.load(std::memory_order_relaxed) < loop->num_chunks &&
          loop->helpers.load(std::memory_order_relaxed) < loop->max_helpers) {
        loop->helpers.fetch_add(1, std::memory_order_relaxed);
        return loop;
      }
    }
    return nullptr;
  }

  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::vector<Loop*> loops_;
  std::atomic<uint64_t> version_{0};
  int num_workers_ = 0;
  int num_sleepers_ = 0;
};

}  // namespace

void parallel_for(int64_t num_chunks, int num_threads, ChunkBody body) {
  if (num_chunks <= 1 || num_threads <= 1) {
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) body(chunk);
    return;
  }
  ThreadPool::instance().run(num_chunks, num_threads, body);
}

void check_num_threads(int64_t num_threads) {
  if (num_threads < 1 || num_threads > kMaxThreads) {
    throw std::invalid_argument("num_threads must be in [1, " + std::to_string(kMaxThreads) +
                                "], got " + std::to_string(num_threads));
  }
}

}  // namespace gnnflow
