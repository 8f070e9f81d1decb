// Draws by weight: of a neighbour list the entries with the smallest -log(u) / weight, u a random
// number of each entry; entries of weight 0 are never drawn.
// Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
#pragma once

#include <cstdint>
#include <vector>

#include "keyed_draw.h"
#include "random.h"

namespace gnnflow {

// How many of the weights are above 0, counted up to a limit.
uint32_t count_drawable(const float* weights, uint32_t degree, int64_t limit);

// Picks from one list at a time; holds what that needs, so that nothing is allocated per vertex.
class WeightedPicker {
 public:
  // Write `count` ascending positions: as many as `count_drawable` says, at most; `picks` has room
  // for KeyedPicker::kRoom more. Of equal keys the
  // first positions count. u of a position follows from the state of the vertex, or else from the
  // key of the source, so that equal weights keep what KeyedPicker keeps.
  void pick(const float* weights, uint32_t degree, uint32_t count, uint64_t state, uint32_t* picks);
  void pick(const float* weights, const uint32_t* sources, uint32_t degree, uint32_t count,
            const KeyRound& round, uint32_t* picks);
  // The same position may come several times, each time with the chance that its weight says.
  void with_replacement(const float* weights, uint32_t degree, uint32_t count, VertexStream stream,
                        uint32_t* picks);

 private:
  struct Candidate {
    double key;
    uint32_t position;
    bool operator<(const Candidate& other) const {
      return key != other.key ? key < other.key : position < other.position;
    }
  };

  template <typename Opposite>
  void keep_smallest(const float* weights, uint32_t degree, uint32_t count,
                     const Opposite& opposite, uint32_t* picks);
  // Of short lists all keys are computed, of long ones few.
  template <typename Opposite>
  void keep_of_short(const float* weights, uint32_t degree, uint32_t count,
                     const Opposite& opposite, uint32_t* picks);
  template <typename Opposite>
  void keep_of_long(const float* weights, uint32_t degree, uint32_t count, const Opposite& opposite,
                    uint32_t* picks);
  // Settles which of the keys with the same leading bits are smaller.
  void take_with_ties(uint32_t degree, Cut cut, uint32_t* picks);

  std::vector<double> keys_;
  std::vector<uint32_t> leading_;  // bits of the keys, which order them but for ties
  std::vector<Candidate> kept_;    // a heap with the largest key first
  std::vector<double> sums_;
};

}  // namespace gnnflow
