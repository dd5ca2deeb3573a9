// SPDX-License-Identifier: Apache-2.0
/// One call at a time on a session; a second caller is told, not made to wait.
#pragma once
#include <atomic>

#include "base/status.h"

namespace ek {

class Claim {
 public:
  explicit Claim(std::atomic<bool>* busy) : busy_(busy), mine_(!busy->exchange(true, std::memory_order_acquire)) {}
  ~Claim() {
    if (mine_) busy_->store(false, std::memory_order_release);
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  /// EK_OK when the session is this call's until the end of the scope.
  ek_status check(Error* error) const {
    if (mine_) return EK_OK;
    return fail(error, EK_BUSY, 0, "session", "the session is running in another thread; make one session per thread");
  }

 private:
  std::atomic<bool>* busy_;
  bool mine_;
};

}  // namespace ek
