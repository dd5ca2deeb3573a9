// SPDX-License-Identifier: Apache-2.0
#include "base/threads.h"

#if defined(__linux__)

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/clock.h"
#include "base/rounding.h"

namespace ek {
namespace {

constexpr uint32_t kFrame = 1, kQuit = 2, kShift = 2;
constexpr int64_t kSpinNanoseconds = 20000;
constexpr int kLooksPerClock = 16;
constexpr uint64_t kStackBytes = 256 << 10;  // kernels keep tiles, never rows; thread-local data stands here too

static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free, "a futex is 32 bits");

void futex_wait(std::atomic<uint32_t>* word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>* word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void pause_briefly() {
#if defined(EK_ARCH_X86)
  __builtin_ia32_pause();
#elif defined(EK_ARCH_ARM)
  __asm__ volatile("yield");
#endif
}

/// Looks for up to 20 us until `word` is (or, with `equal` false, is no longer) `value`.
bool spin(const std::atomic<uint32_t>& word, uint32_t value, bool equal) {
  const auto there = [&] { return (word.load(std::memory_order_acquire) == value) == equal; };
  if (there()) return true;
  const int64_t start = now_ns();
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      pause_briefly();
      if (there()) return true;
    }
  } while (now_ns() - start < kSpinNanoseconds);
  return false;
}

}  // namespace

/// A worker's place; of part 0, the caller's, the claim alone is used.
struct alignas(64) Pool::Seat {
  std::atomic<uint32_t> claimed{0};  // the last section in which somebody took this part
  Pool* pool = nullptr;
  int32_t part = 0;
  pthread_t thread = {};
};

uint64_t Pool::bytes(int32_t threads) {
  const auto count = static_cast<uint64_t>(threads);
  return sizeof(Pool) + count * sizeof(Seat) + (count - 1) * kStackBytes;
}

Pool::Pool(int32_t threads)
    : threads_(threads), process_(getpid()), seats_(reinterpret_cast<Seat*>(reinterpret_cast<uint8_t*>(this + 1))) {
  for (int32_t i = 0; i < threads; ++i) {
    Seat* seat = new (&seats_[i]) Seat;
    seat->pool = this;
    seat->part = i;
  }
}

Pool* Pool::create(int32_t threads, Error* error) {
  void* memory = std::aligned_alloc(64, sizeof(Pool) + static_cast<size_t>(threads) * sizeof(Seat));
  if (memory == nullptr) {
    fail(error, EK_OUT_OF_MEMORY, 0, "threads", "no memory for %d threads", threads);
    return nullptr;
  }
  Pool* pool = new (memory) Pool(threads);
  if (pool->start(error) == EK_OK) return pool;
  destroy(pool);
  return nullptr;
}

ek_status Pool::start(Error* error) {
  pthread_attr_t how;
  int failed = pthread_attr_init(&how);
  if (failed == 0) {
    failed = pthread_attr_setstacksize(&how, kStackBytes);
    sigset_t all, before;  // a worker inherits the mask: no signal of the program is handled on it
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int32_t i = 1; i < threads_ && failed == 0; ++i) {
      failed = pthread_create(&seats_[i].thread, &how, enter, &seats_[i]);
      if (failed == 0) ++started_;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&how);
  }
  if (failed == 0) return EK_OK;
  return fail(error, EK_OUT_OF_MEMORY, 0, "threads", "%d of %d threads started, then the system refused: %s",
              started_ + 1, threads_, std::strerror(failed));
}

void Pool::destroy(Pool* pool) {
  if (pool == nullptr) return;
  if (pool->process_ == getpid()) {  // the child of a fork has the memory but not the workers
    pool->word_.store(kQuit, std::memory_order_seq_cst);
    futex_wake_all(&pool->word_);
    for (int32_t i = 1; i <= pool->started_; ++i) pthread_join(pool->seats_[i].thread, nullptr);
  }
  pool->~Pool();
  std::free(pool);
}

void* Pool::enter(void* seat) {
  const auto* mine = static_cast<const Seat*>(seat);
  pthread_setname_np(pthread_self(), "edgekern");
  const RoundToNearest mode;  // whatever the creating thread had
  mine->pool->serve(mine->part);
  return nullptr;
}

void Pool::serve(int32_t part) {
  for (;;) {
    const uint32_t word = word_.load(std::memory_order_acquire);
    if ((word & kQuit) != 0) return;
    if ((word & kFrame) != 0) {
      help(part, word >> kShift);
      if (spin(word_, word, false)) continue;
    }
    asleep_.fetch_add(1, std::memory_order_seq_cst);  // before the kernel looks at the word once more
    futex_wait(&word_, word);
    asleep_.fetch_sub(1, std::memory_order_relaxed);
  }
}

/// Does `part` of the section unless somebody else has begun it, then every other part that nobody has.
void Pool::help(int32_t part, uint32_t section) {
  for (int32_t i = 0; i < threads_; ++i) {
    const int32_t p = part + i < threads_ ? part + i : part + i - threads_;
    // Every part is claimed in every section: one that is late finds a later number and touches nothing.
    uint32_t before = (section - 1) & (UINT32_MAX >> kShift);
    if (!seats_[p].claimed.compare_exchange_strong(before, section, std::memory_order_acq_rel)) continue;
    work_(job_, p, threads_);
    if (left_.fetch_sub(1, std::memory_order_seq_cst) == 1 && waiting_.load(std::memory_order_seq_cst) != 0)
      futex_wake_all(&left_);
  }
}

/// Shows the word to all; a call into the kernel only where a worker may sleep.
void Pool::publish(uint32_t word) {
  word_.store(word, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) != 0) futex_wake_all(&word_);
}

void Pool::wake() { publish(section_ << kShift | kFrame); }

void Pool::rest() { word_.store(section_ << kShift, std::memory_order_release); }

void Pool::share(Work work, const void* job) {
  work_ = work;
  job_ = job;
  left_.store(static_cast<uint32_t>(threads_), std::memory_order_relaxed);
  section_ = (section_ + 1) & (UINT32_MAX >> kShift);
  publish(section_ << kShift | kFrame);
  help(0, section_);
  while (!spin(left_, 0, true)) {
    waiting_.store(1, std::memory_order_seq_cst);
    const uint32_t left = left_.load(std::memory_order_seq_cst);
    if (left != 0) futex_wait(&left_, left);
    waiting_.store(0, std::memory_order_relaxed);
  }
}

}  // namespace ek

#else

namespace ek {

uint64_t Pool::bytes(int32_t) { return 0; }

Pool* Pool::create(int32_t threads, Error* error) {
  fail(error, EK_UNSUPPORTED, 0, "threads", "%d threads: this system has no futex", threads);
  return nullptr;
}

void Pool::destroy(Pool*) {}
void Pool::wake() {}
void Pool::rest() {}
void Pool::share(Work work, const void* job) { work(job, 0, 1); }

}  // namespace ek

#endif
