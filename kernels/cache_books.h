// All decisions of a halo cache that keeps the best of cached and arrived rows, from ids alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cache_index.h"
#include "cache_order.h"
#include "cache_window.h"

namespace gnnflow {

class CacheBooks : public CacheIndex {
 public:
  struct Plan {
    std::vector<int64_t> fetch_ids;  // ids that are not cached, in order
    Replacement replacement;         // positions are those of `fetch_ids`
  };

  CacheBooks(int64_t capacity, int64_t num_vertices, RowOrder order, bool looks_ahead)
      : CacheIndex(capacity, num_vertices), order_(std::move(order)), looks_ahead_(looks_ahead) {}

  void known(const int64_t* ids, size_t num, int32_t* keys, std::vector<int32_t>* fresh) override;
  // Puts vertices that are not cached into the next free slots.
  void fill(const int64_t* ids, size_t num);
  // Tells what the minibatch after those announced will ask for.
  void announce(const int64_t* ids, size_t num);
  // Forgets all announced minibatches.
  void retract();
  // Looks up the oldest announced minibatch, or without announcements a given one, and carries out
  // a fraction of the exchange of rows; `slots` gets the slot of each id or -1.
  const Plan& plan(const int64_t* ids, size_t num, int32_t minibatch, double fraction,
                   int32_t* slots);

  bool looks_ahead() const { return looks_ahead_; }
  const NextUseWindow& window() const { return window_; }
  // Counts rows whose next use after the oldest announced minibatch is known, among those at hand
  // then: the cached ones and those that this minibatch asks for.
  size_t num_known_to_return() const;
  // The current priority of each key; throws if a key was never given.
  void priorities_of(const int32_t* keys, size_t num, uint32_t* priorities) const;
  // Forgets vertices that are neither cached nor announced, as far as the order can spare them.
  void forget_idle();
  size_t memory_bytes() const;

 private:
  uint32_t current_priority(int32_t key) const;
  void find_keys(const int64_t* ids, size_t num, int32_t* keys);
  void refresh_priorities();
  template <OrderKind kKind, bool kLooksAhead>
  void touch(const int64_t* ids, const int32_t* keys, const uint32_t* next_uses, size_t num,
             int32_t minibatch, int32_t* slots);
  template <bool kLooksAhead>
  void touch_any(const int64_t* ids, const int32_t* keys, const uint32_t* next_uses, size_t num,
                 int32_t minibatch, int32_t* slots);

  RowOrder order_;
  bool looks_ahead_;
  NextUseWindow window_;
  std::vector<int32_t> keys_;   // kept between calls for its memory
  std::vector<int32_t> fresh_;  // likewise
  Plan plan_;
};

}  // namespace gnnflow
