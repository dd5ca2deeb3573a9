// SPDX-License-Identifier: Apache-2.0
/// What becomes of weights before they are packed: the zero point of the activations goes into the bias, and some rows
/// need to know how large a product can be. For packing and planning; files of an instruction set do not include it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ek {

/// The sum of `count` weights, `step` apart, modulo 2^32.
inline uint32_t weight_sum(const int8_t* w, size_t count, size_t step = 1) {
  uint32_t sum = 0;
  for (size_t k = 0; k < count; ++k) sum += static_cast<uint32_t>(int32_t{w[k * step]});
  return sum;
}

/// sum|w|, below 2^24: the verifier bounds the accumulator.
inline uint32_t weight_abs_sum(const int8_t* w, size_t count, size_t step = 1) {
  uint32_t sum = 0;
  for (size_t k = 0; k < count; ++k) sum += static_cast<uint32_t>(w[k * step] < 0 ? -w[k * step] : w[k * step]);
  return sum;
}

/// bias - zero * sum modulo 2^32: the true sum fits int32 (the verifier proves it), this part of it need not.
inline int32_t fold_bias(int32_t bias, uint32_t sum, int32_t zero) {
  const uint32_t folded = static_cast<uint32_t>(bias) - static_cast<uint32_t>(zero) * sum;
  int32_t wrapped;
  std::memcpy(&wrapped, &folded, sizeof(wrapped));
  return wrapped;
}

/// The most that |acc * scale| can be for any bytes.
inline double most_of(uint32_t abs_sum, int32_t bias, float scale) {
  return (255.0 * abs_sum + (bias < 0 ? -1.0 : 1.0) * bias) * static_cast<double>(scale);
}

/// Whether float(acc) * scale can reach 2^30 for some bytes.
inline bool reaches_2_30(uint32_t abs_sum, int32_t bias, float scale) {
  return !(most_of(abs_sum, bias, scale) < 1073741824.0);
}

}  // namespace ek
