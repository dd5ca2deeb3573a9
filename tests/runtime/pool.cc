// SPDX-License-Identifier: Apache-2.0
/// The pool of cpp/base/threads.h from inside: every part once in every section, whoever is late; exits 0.
///
///   pool SECTIONS        with PLANT in the environment one part of one section counts itself twice
#include <fenv.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/threads.h"

namespace {

constexpr int32_t kMost = 5;

struct Job {
  int32_t seen[kMost * 16];  // by part, a line each: plain memory, so that a missing fence is a race
  int32_t slow = -1;         // a part that takes long
  pthread_t caller;
  bool other, masked, nearest;
};

void count(const void* given, int32_t part, int32_t parts) {
  auto* job = const_cast<Job*>(static_cast<const Job*>(given));
  if (part == job->slow) usleep(60);
  if (parts > kMost) std::abort();
  ++job->seen[part * 16];
}

/// The mode that workers must not take over: upward, and on x86-64 subnormals as zeros.
void bend_floats(bool bent) {
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(bent ? 0x1f80 | 0x4000 | 0x8040 : 0x1f80);
#else
  fesetround(bent ? FE_UPWARD : FE_TONEAREST);
#endif
}

/// Part 0 waits until another thread has done part 1 and told what it is like there.
void look(const void* given, int32_t part, int32_t) {
  auto* job = const_cast<Job*>(static_cast<const Job*>(given));
  if (part == 0) usleep(20000);
  if (part != 1 || pthread_equal(pthread_self(), job->caller)) return;
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  job->masked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGALRM);
  volatile float one = 1.0f, tiny = 1e-9f, small = 1e-38f;
  job->nearest = one + tiny == one && small * 0.25f != 0.0f;
  job->other = true;
}

int fail(const char* what, int32_t threads, int32_t at) {
  std::fprintf(stderr, "%s: %d threads, %d\n", what, threads, at);
  return 1;
}

int check_counts(ek::Pool* pool, int32_t threads, int32_t sections, bool plant) {
  Job job = {};
  uint32_t draw = 1;
  for (int32_t done = 0; done < sections;) {
    const ek::Awake frame(pool);
    draw = draw * 1664525u + 1013904223u;
    for (uint32_t i = 0; i <= draw >> 29 && done < sections; ++i) {
      const uint32_t luck = draw >> 8 & 63;
      job.slow = luck < 3 ? static_cast<int32_t>(luck % static_cast<uint32_t>(threads)) : -1;
      pool->share(count, &job);
      ++done;
      if (plant && done == sections / 2) ++job.seen[16];
      for (int32_t p = 0; p < threads; ++p) {
        if (job.seen[p * 16] != done) return fail("a part was not done once", threads, p);
      }
      if (luck == 9) usleep(50);  // longer than anybody looks for work
    }
  }
  return 0;
}

int check_workers(ek::Pool* pool, int32_t threads) {
  Job job = {};
  job.caller = pthread_self();
  for (int32_t i = 0; i < 100 && !job.other; ++i) {
    const ek::Awake frame(pool);
    pool->share(look, &job);
  }
  if (!job.other) return fail("no worker ever worked", threads, 0);
  if (!job.masked) return fail("a worker takes signals", threads, 0);
  return job.nearest ? 0 : fail("a worker rounds as its maker did", threads, 0);
}

/// The child has no workers: it does all parts itself, and lets go of the pool.
int check_fork(ek::Pool* pool, int32_t threads) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    const int wrong = check_counts(pool, threads, 200, false);
    ek::Pool::destroy(pool);
    _exit(wrong);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return fail("no child", threads, errno);
  return status == 0 ? 0 : fail("the child failed", threads, status);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int32_t sections = std::atoi(argv[1]);
  const bool plant = std::getenv("PLANT") != nullptr;
  for (int32_t threads = 2; threads <= kMost; ++threads) {
    ek::Error error;
    bend_floats(true);
    ek::Pool* pool = ek::Pool::create(threads, &error);
    bend_floats(false);
    if (pool == nullptr) return fail(error.text, threads, 0);
    if (check_counts(pool, threads, sections, plant) || check_workers(pool, threads) || check_fork(pool, threads))
      return 1;
    if (check_counts(pool, threads, 10, false)) return 1;
    ek::Pool::destroy(pool);
  }
  std::puts("every part once");
  return 0;
}
