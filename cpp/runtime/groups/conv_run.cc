// SPDX-License-Identifier: Apache-2.0
/// The loops of a Conv2D by qgemm over strips and panels.
///
/// u8 rows read the arena; panels are the outer loop, so that one stays in L1 while all strips pass. s16 rows read
/// widened input rows, few at a time and each widened once per call: weights that L2 holds are read again for every
/// strip; larger ones for every batch of strips, as many as conv.cc gives room for. A fused group calls strip by strip
/// and so widens again what two strips share. Narrow rows with a halo between them are multiplied several at once, so
/// that tiles are full, and then copied to where they belong. Rows of Winograd's inner product get what A alone
/// contributes to a strip, computed before its first panel.
#include <cstring>

#include "runtime/groups/groups.h"

namespace ek {
namespace {

constexpr size_t kBehind = 3;  // elements behind a row that a k group of 4 takes; other steps use this scratch too

void set_panel(const ConvStep& c, int32_t group, int32_t panel, QGemmArgs* a) {
  const ptrdiff_t entry = (ptrdiff_t{group} * c.panels.count + panel) * c.panels.nr;
  a->w = c.panels.w + static_cast<size_t>(group) * c.panels.group_bytes +
         static_cast<size_t>(panel) * c.panels.panel_bytes;
  a->bias = c.panels.bias + entry;
  a->scale = c.panels.scale + entry;
  a->n = panel + 1 < c.panels.count ? c.panels.nr : c.panels.n_last;
}

/// A part of the work: strips [first, end) with panels [panel, panel_end), counted over all groups.
void multiply_u8(const ConvStep& c, int32_t first, int32_t end, int32_t panel, int32_t panel_end) {
  QGemmArgs a = c.args;
  for (int32_t i = panel; i < panel_end; ++i) {
    const int32_t g = i / c.panels.count, p = i % c.panels.count;
    set_panel(c, g, p, &a);
    for (int32_t s = first; s < end; ++s) {
      for (int32_t ky = 0; ky < c.kh; ++ky) c.rows[ky] = c.in.at(s * c.sy + ky * c.dy) + g * c.in_group;
      for (int32_t ky = c.kh; ky < a.kh; ++ky) c.rows[ky] = c.rows[ky - c.kh];
      a.m = s + 1 < c.strips ? c.m : c.m_last;
      a.y = c.y.at(s) + g * c.y_group + ptrdiff_t{p} * c.panels.nr;
      c.run(a);
    }
  }
}

/// Strips [first, end) with all panels of the one group; their pixels follow each other in the input.
void multiply_together(const ConvStep& c, int32_t first, int32_t end, int32_t, int32_t) {
  QGemmArgs a = c.args;
  const ptrdiff_t row = c.m * c.args.y_px;
  int32_t count;
  for (int32_t s = first; s < end; s += count) {
    count = end - s < c.together ? end - s : c.together;
    if (c.in.count != 0) {
      const int32_t unbroken = c.in.count - (s + c.in.first) % c.in.count;
      count = count < unbroken ? count : unbroken;
    }
    c.rows[0] = c.in.at(s);
    a.m = count * c.m;
    uint8_t* const y = count > 1 ? c.spread : c.y.at(s);
    for (int32_t p = 0; p < c.panels.count; ++p) {
      set_panel(c, 0, p, &a);
      a.y = y + ptrdiff_t{p} * c.panels.nr;
      c.run(a);
    }
    for (int32_t i = 0; i < count && count > 1; ++i) {
      std::memcpy(c.y.at(s + i), y + i * row, static_cast<size_t>(row));
    }
  }
}

/// Pointers to the widened rows of strip `s`.
void set_wide_rows(const ConvStep& c, int32_t s, int32_t group, int32_t kh) {
  int32_t slot = s * c.sy % c.wide_rows;
  for (int32_t ky = 0; ky < c.kh; ++ky) {
    c.rows[ky] = reinterpret_cast<const uint8_t*>(c.wide + slot * c.wide_row + group * c.in_group);
    slot = slot + c.dy < c.wide_rows ? slot + c.dy : slot + c.dy - c.wide_rows;
  }
  for (int32_t ky = c.kh; ky < kh; ++ky) c.rows[ky] = c.rows[ky - c.kh];
}

void multiply_s16(const ConvStep& c, int32_t first, int32_t end, int32_t panel, int32_t panel_end) {
  QGemmArgs a = c.args;
  int32_t ready = 0;  // input rows before this one are widened
  for (int32_t begin = first; begin < end; begin += c.wide_batch) {
    const int32_t past = end - begin < c.wide_batch ? end : begin + c.wide_batch;
    const int32_t top = begin * c.sy, bottom = (past - 1) * c.sy + c.wide_window;
    for (int32_t r = ready > top ? ready : top; r < bottom; ++r) {  // of a long row, row r is strip r
      const int32_t count = r + 1 < c.strips ? c.wide_count : c.wide_count_last;
      int16_t* const row = c.wide + (r % c.wide_rows) * c.wide_row;
      c.widen(c.in.at(r), count, row);
      std::memset(row + count, 0, sizeof(int16_t) * kBehind);
    }
    ready = bottom;
    for (int32_t i = panel; i < panel_end; ++i) {
      const int32_t g = i / c.panels.count, p = i % c.panels.count;
      set_panel(c, g, p, &a);
      for (int32_t s = begin; s < past; ++s) {
        const bool first_panel = i == panel || p == 0;  // of this strip and group
        if (first_panel || c.wide_batch > 1) set_wide_rows(c, s, g, a.kh);
        a.m = s + 1 < c.strips ? c.m : c.m_last;
        if (c.a_terms != nullptr) {
          int32_t* const terms = c.terms + ptrdiff_t{s - begin} * c.m;
          if (first_panel) c.a_terms(a, terms);
          a.a_terms = terms;
        }
        a.y = c.y.at(s) + g * c.y_group + ptrdiff_t{p} * c.panels.nr;
        c.run(a);
      }
    }
  }
}

using Multiply = void(const ConvStep& c, int32_t first, int32_t end, int32_t panel, int32_t panel_end);

template <Multiply* multiply>
void by_strip(const Step& step, int32_t first, int32_t end) {
  const ConvStep& c = step.conv;
  multiply(c, first, end, 0, c.groups * c.panels.count);
}

template <Multiply* multiply>
void by_panel(const Step& step, int32_t first, int32_t end) {
  const ConvStep& c = step.conv;
  multiply(c, 0, c.strips, first, end);
}

}  // namespace

RunFn* conv_run(const ConvStep& step, bool panels) {
  const bool wide = step.widen != nullptr;
  if (step.together != 0) return by_strip<multiply_together>;
  if (panels) return wide ? by_panel<multiply_s16> : by_panel<multiply_u8>;
  return wide ? by_strip<multiply_s16> : by_strip<multiply_u8>;
}

}  // namespace ek
