// SPDX-License-Identifier: Apache-2.0
/// SHA-256 (FIPS 180-4), so that a damaged file is known before anything in it is believed.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ek {

class Sha256 {
 public:
  void update(const uint8_t* data, uint64_t size);
  void finish(uint8_t digest[32]);

 private:
  void block(const uint8_t* data);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t bytes_ = 0;
  uint8_t pending_[64] = {};
};

}  // namespace ek
