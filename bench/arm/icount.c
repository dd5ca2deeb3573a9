/* SPDX-License-Identifier: Apache-2.0
 * A TCG plugin for qemu-user: how many instructions a guest process executed, printed to stderr as it ends, and how
 * many of them were sdot, smmla, SVE and SME (found by their encoding: this disassembler does not know them).
 *
 *     cc -O2 -shared -fPIC icount.c -o libicount.so;  qemu-aarch64 -plugin ./libicount.so PROGRAM
 *
 * Debian ships no qemu-plugin.h; what follows is the part of its stable interface, version 1, that is used here. The
 * counter is added to without a lock: right for one guest thread, low for several.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct qemu_info_t qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb* tb);
typedef void (*exit_cb)(qemu_plugin_id_t id, void* userdata);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, trans_cb cb);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb* tb, enum qemu_plugin_op op, void* ptr,
                                              uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn* insn, enum qemu_plugin_op op, void* ptr,
                                                uint64_t imm);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* tb, size_t i);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn* insn);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, exit_cb cb, void* userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* tb);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv);

enum kind { kSdot, kSmmla, kSve, kSme, kKinds };
static const char* const kNames[kKinds] = {"sdot", "smmla", "sve", "sme"};
static uint64_t executed, of_kind[kKinds];

/* The kind of an instruction, kKinds for most. Masks are those of the architecture's encoding tables. */
static enum kind kind_of(uint32_t word) {
  if ((word & 0xffe0fc00) == 0x4e809400 || (word & 0xffc0f400) == 0x4f80e000) return kSdot; /* vectors; by element */
  if ((word & 0xdfe0f400) == 0x4e80a400) return kSmmla; /* signed, unsigned, mixed */
  if ((word & 0x1e000000) == 0x04000000) return kSve;
  if ((word & 0x9e000000) == 0x80000000) return kSme;
  return kKinds;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t n = qemu_plugin_tb_n_insns(tb);
  qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &executed, n);
  for (size_t i = 0; i < n; ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
    const enum kind kind = kind_of(word);
    if (kind != kKinds) qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &of_kind[kind], 1);
  }
}

static void ended(qemu_plugin_id_t id, void* userdata) {
  (void)id;
  (void)userdata;
  fprintf(stderr, "icount: %" PRIu64 "\n", executed);
  for (int i = 0; i < kKinds; ++i) fprintf(stderr, "%s: %" PRIu64 "\n", kNames[i], of_kind[i]);
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  (void)info;
  (void)argc;
  (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
