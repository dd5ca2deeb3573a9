// SPDX-License-Identifier: Apache-2.0
/// A few threads that share the steps of a frame with their caller.
///
/// A section is one call of share(): a function run once for each part, part p meant for thread p and 0 for the
/// caller. Whoever has done its own part takes one that nobody has begun, so that a section never waits for a
/// thread that sleeps, is late, or is not there at all (the child of a fork() has no workers: its caller does every
/// part). A part begun is waited for.
///
/// Workers sleep on a futex between frames. Inside a frame, between wake() and rest(), whoever waits looks for the
/// next section (or the last part) for 20 us and then sleeps, too. They block all signals and compute to nearest.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/status.h"

namespace ek {

class Pool {
 public:
  static constexpr int32_t kMostThreads = 64;
#if defined(__linux__)
  static constexpr bool kSupported = true;
#else
  static constexpr bool kSupported = false;  // no futex: create() refuses
#endif
  using Work = void (*)(const void* job, int32_t part, int32_t parts);

  /// What create() takes, the workers' stacks included.
  static uint64_t bytes(int32_t threads);
  /// Starts threads - 1 workers, 1 <= threads - 1 < kMostThreads. Null, with `error` filled, where that fails.
  static Pool* create(int32_t threads, Error* error);
  /// Joins the workers; no frame may run.
  static void destroy(Pool* pool);

  void wake();
  void rest();
  /// Calls work(job, part, threads) for every part, on any threads; returns when all are done. Between wake() and
  /// rest() only.
  void share(Work work, const void* job);

 private:
  struct Seat;
  explicit Pool(int32_t threads);
  ek_status start(Error* error);
  static void* enter(void* seat);
  void serve(int32_t part);
  void help(int32_t part, uint32_t section);
  void publish(uint32_t word);

  // word: the section's number and, below it, kFrame and kQuit. Each on its own lines: the caller writes the first.
  alignas(64) std::atomic<uint32_t> word_{0};
  std::atomic<uint32_t> asleep_{0};  // workers in the kernel, or on the way there or back
  Work work_ = nullptr;              // of the section; stable while a part of it is claimed and not done
  const void* job_ = nullptr;
  uint32_t section_ = 0;
  alignas(64) std::atomic<uint32_t> left_{0};  // parts of the section that are not done
  std::atomic<uint32_t> waiting_{0};           // the caller sleeps on left_
  alignas(64) int32_t threads_;
  int32_t started_ = 0;
  int64_t process_;
  Seat* seats_;  // by part, behind this object
};

/// A frame, or a batch of them. A null pool is a session without workers.
class Awake {
 public:
  explicit Awake(Pool* pool) : pool_(pool) {
    if (pool_ != nullptr) pool_->wake();
  }
  ~Awake() {
    if (pool_ != nullptr) pool_->rest();
  }
  Awake(const Awake&) = delete;
  Awake& operator=(const Awake&) = delete;

 private:
  Pool* pool_;
};

}  // namespace ek
