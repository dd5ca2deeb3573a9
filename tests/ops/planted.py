# SPDX-License-Identifier: Apache-2.0
"""Faults to plant in the kernels: the smallest edits that read a wrong tap, round another way or miss an edge.

`source` and `old` name the line; `old` occurs once. A header is planted for the one file `compiled` names. A kernel
may not read outside its memory with the fault in it.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("tap", "rounding", "edge")
#: What a family cannot get wrong, and why.
SPARED = {
    ("firstconv", "rounding"): "it gathers bytes; qgemm rounds",
    ("move", "rounding"): "it copies bytes, or looks them up in a table of the plan",
}


@dataclass(frozen=True)
class Fault:
    kind: str
    source: str  # under cpp/kernels
    old: str
    new: str
    compiled: str = ""  # a file that includes a header

    @property
    def family(self) -> str:
        return (self.compiled or self.source).split("/")[0]

    @property
    def isa(self) -> str:
        return "avx2" if "x86_avx2" in (self.compiled or self.source) else "scalar"


def half_up(name: str) -> str:
    return f"{name} = __builtin_floorf({name} + 0.5f) + kMagic;"


CVT = "_mm256_cvtps_epi32(_mm256_min_ps(t_f32x8, r.hi_f32x8))"
UP = "_mm256_cvtps_epi32(_mm256_floor_ps(_mm256_add_ps(_mm256_min_ps(t_f32x8, r.hi_f32x8), _mm256_set1_ps(0.5f))))"

FAULTS = (
    Fault("tap", "qgemm/scalar.cc", "args.rows[ky] + i * args.a_px", "args.rows[ky / 2 * 2] + i * args.a_px"),
    Fault("tap", "qgemm/scalar.cc", "+ kx * args.a_kx", "+ kx / 2 * 2 * args.a_kx"),
    Fault("rounding", "qgemm/scalar.cc", "t[n] += kMagic;", half_up("t[n]")),
    Fault("edge", "qgemm/scalar.cc", "for (int32_t n = 0; n < count; ++n) y[n] = u[n];",
          "for (int32_t n = 0; n < count - 1; ++n) y[n] = u[n];"),
    Fault("edge", "qgemm/scalar.cc", "for (; i < args.m; ++i) tile<1>", "for (; i + 1 < args.m; ++i) tile<1>"),
    Fault("tap", "dwconv/scalar.cc", "in += args.dx * args.in_px", "in += args.in_px"),
    Fault("tap", "dwconv/scalar.cc", "args.rows[ky] +", "args.rows[ky / 2 * 2] +"),
    Fault("rounding", "dwconv/scalar.cc", "t[i] += kMagic;", half_up("t[i]")),
    Fault("edge", "dwconv/scalar.cc", "static_cast<size_t>(args.c - c)", "static_cast<size_t>(args.c - c - 1)"),
    Fault("tap", "firstconv/scalar.cc", "args.rows[ky] +", "args.rows[ky / 2 * 2] +"),
    Fault("edge", "firstconv/scalar.cc", "j < args.row_taps;", "j + 16 <= args.row_taps;"),
    Fault("tap", "winograd/scalar.cc", "args.rows[2 * y + i / 4]", "args.rows[2 * y + i / 8 * 2]"),
    Fault("rounding", "winograd/scalar.cc", "t += kMagic;", half_up("t")),
    Fault("edge", "winograd/scalar.cc", "x + i % 2 >= args.w_out)", "x + i % 2 >= args.w_out - 1)"),
    Fault("tap", "pool/scalar.cc", "top[i] = x[i] > top[i] ?", "top[i] = kx != 1 && x[i] > top[i] ?"),
    Fault("tap", "pool/scalar.cc", "sum[i] += x[i];", "sum[i] += kx == 1 ? x[i - in.px] : x[i];"),
    Fault("rounding", "pool/scalar.cc", "half = s < 0 ? -(count / 2) : count / 2;", "half = count / 2;"),
    Fault("rounding", "pool/scalar.cc", "t[i] += kMagic;", half_up("t[i]")),
    Fault("edge", "pool/scalar.cc", "args.count_include_pad ? args.kh * args.kw : inside;", "inside;"),
    Fault("edge", "pool/scalar.cc", "inside * args.origin - (count - inside) * (args.zero_in - args.origin)",
          "inside * 128 - (count - inside) * args.zero_in"),
    Fault("edge", "pool/scalar.cc", "x1 = left + args.kw < args.w ?", "x1 = left + args.kw <= args.w - 1 &&"
          " args.kw > 2 ?"),
    Fault("tap", "eltwise/scalar.cc", "static_cast<uint32_t>(x[i] * w[i])", "static_cast<uint32_t>(x[i] * w[i & ~1])"),
    Fault("tap", "eltwise/scalar.cc", "y[i] = table[x[i]];", "y[i] = table[x[i & ~1]];"),
    Fault("rounding", "eltwise/scalar.cc", "(1 << (shift - 1)) - args.za * m", "0 - args.za * m"),
    Fault("rounding", "eltwise/scalar.cc", "t[i] += kMagic;", half_up("t[i]")),
    Fault("edge", "eltwise/scalar.cc", "b + i, length - i, y + i)", "b + i, length - i - 1, y + i)"),
    Fault("edge", "eltwise/scalar.cc", "v < lo ? lo : v > hi ? hi : v", "v < 0 ? 0 : v > hi ? hi : v"),
    Fault("tap", "eltwise/scalar.cc", "const uint8_t* b = args.b + p * args.b_px;",
          "const uint8_t* b = args.b + p * args.b_px + (args.b_px == 0 ? p & 1 : 0);"),  # the pixel all others share
    Fault("rounding", "eltwise/scalar.cc", "v[i] += kMagic;", half_up("v[i]")),
    Fault("edge", "eltwise/scalar.cc", "b + c, args.c - c, y + c)", "b + c, args.c - c - 1, y + c)"),
    Fault("tap", "edge/scalar.cc", "std::memcpy(t + i, x + i * sx,", "std::memcpy(t + i, x + (i & ~1) * sx,"),
    Fault("tap", "edge/scalar.cc", "u[i] = x[i * sx];", "u[i] = x[(i & ~1) * sx];"),
    Fault("rounding", "edge/scalar.cc", "t[i] += kMagic;", half_up("t[i]")),
    Fault("rounding", "edge/scalar.cc", "t[i] = t[i] / scale;", "t[i] = t[i] * (1.0f / scale);"),
    Fault("edge", "edge/scalar.cc", "t[i] > lo ? t[i] : lo;", "t[i] < lo ? lo : t[i];"),
    Fault("rounding", "edge/scalar_s16.cc", "t += kMagic;", "t = __builtin_floorf(t + 0.5f) + kMagic;"),
    Fault("rounding", "edge/scalar_s16.cc", "t = t / run.scale;", "t = t * (1.0f / run.scale);"),
    Fault("edge", "edge/scalar_s16.cc", "t > -32768.0f ? t : -32768.0f;", "t < -32768.0f ? -32768.0f : t;"),
    Fault("tap", "wide/scalar.cc", "const int32_t a = first[j], b = second[j];",
          "const int32_t a = first[j & ~1], b = second[j];"),
    Fault("tap", "wide/scalar.cc", "args.rows[ky] + i * args.sx", "args.rows[ky / 2 * 2] + i * args.sx"),
    Fault("tap", "wide/scalar.cc", "in += args.dx, w += lanes", "in += args.sx, w += lanes"),
    Fault("tap", "wide/scalar.cc", "kTwo ? v[j] & 255 : v[j]", "kTwo ? v[j] & 127 : v[j]"),
    Fault("tap", "wide/wide.cc", "v[i] & 255", "v[i] & 254"),
    Fault("tap", "wide/wide.cc", "static_cast<int16_t>(x[i] - zero);", "static_cast<int16_t>(x[i & ~1] - zero);"),
    Fault("rounding", "wide/scalar.cc", "t[i] += kMagic;", half_up("t[i]")),
    Fault("rounding", "wide/scalar.cc", "(kTwo ? static_cast<float>(high[i]) * 256.0f + rest : rest) * scale[i]",
          "kTwo ? static_cast<float>(high[i]) * (256.0f * scale[i]) + rest * scale[i] : rest * scale[i]"),
    Fault("rounding", "wide/scalar.cc", "static_cast<float>(va[i]) * ra + static_cast<float>(vb[i]) * rb",
          "static_cast<float>(double(va[i]) * ra + double(vb[i]) * rb)"),
    Fault("rounding", "wide/scalar.cc", "static_cast<float>(sum[i]) * args.m",
          "static_cast<float>(static_cast<double>(sum[i]) * args.m * (1 + 0x1p-23))"),
    Fault("edge", "wide/scalar.cc", "t[i] = t[i] < lo ? lo : t[i];", "t[i] = t[i] < -128 ? -128 : t[i];"),
    Fault("edge", "wide/scalar.cc", "static_cast<size_t>(n) * sizeof(int16_t));\n  } else {\n    uint8_t u[kBlock];",
          "static_cast<size_t>(n - 1) * sizeof(int16_t));\n  } else {\n    uint8_t u[kBlock];"),
    Fault("tap", "wide/scalar.cc", "x + (i + j) * sx, size_x", "x + (i + (j & ~1)) * sx, size_x"),
    Fault("rounding", "wide/scalar.cc", "static_cast<float>(v[j]) * how.m",
          "static_cast<float>(v[j]) * (how.m * (1 + 0x1p-20f))"),
    Fault("edge", "wide/scalar.cc", "count - i < kBlock ? count - i : kBlock",
          "count - i < kBlock && count < 2 * kBlock ? count - i : kBlock - (i != 0)"),
    Fault("tap", "wide/scalar.cc", "static_cast<float>(va[i] * vb[i]) * ra",
          "static_cast<float>(va[i] * vb[i & ~1]) * ra"),
    Fault("tap", "wide/scalar.cc", "*b = args.b + p * args.b_px;", "*b = args.b + (p + (args.b_px == 0)) * args.y_px;"),
    Fault("edge", "wide/scalar.cc", "x < shape.w; ++x", "x < shape.w - (shape.w > 5); ++x"),
    Fault("edge", "edge/scalar.cc", "block(x, y, left);", "block(x, y, left - 1);"),
    Fault("tap", "move/scalar.cc", "y[i * sy] = x[i * sx];", "y[i * sy] = x[(i & ~1) * sx];"),
    Fault("tap", "move/scalar.cc", "if (sx == 1 && sy == 1)", "if (sx >= 1 && sy == 1)"),
    Fault("tap", "move/scalar.cc", "= table[x[i * sx]];", "= table[x[(i & ~1) * sx]];"),
    Fault("edge", "move/halo.h", "fill(gap, right + left);", "fill(gap, right);", "move/scalar.cc"),
    Fault("edge", "move/halo.h", "fill(base, top * row + left);", "fill(base, top * row);", "move/scalar.cc"),
    Fault("edge", "move/halo.h", "fill(gap, right + bottom * row);", "fill(gap, right);", "move/scalar.cc"),
    Fault("tap", "resize/scalar.cc", "a[channel + next] * f", "a[channel] * f"),
    Fault("rounding", "resize/scalar.cc", "h1 * g + (1 << 21)) >> 22", "h1 * g) >> 22"),
    Fault("rounding", "resize/scalar.cc", "29 * v[2] + 128) >> 8", "29 * v[2]) >> 8"),
    Fault("edge", "resize/scalar.cc", "args.width > 1 ? args.src_channels : 0",
          "args.width > 2 ? args.src_channels : 0"),
    Fault("edge", "resize/resize.cc", "p > last ? last : p;", "p > last ? last - 1 : p;"),
    Fault("tap", "interpolate/scalar.cc", "p.top_right[n] * p.f", "p.top[n] * p.f"),
    Fault("rounding", "interpolate/scalar.cc", "p.g + (1 << 21)) >> 22", "p.g) >> 22"),
    Fault("edge", "interpolate/scalar.cc", "n < c; ++n)", "n < c - 1; ++n)"),
    Fault("edge", "interpolate/scalar.cc", "if ((f | args.weight) == 0)", "if (args.weight == 0)"),
    Fault("tap", "softmax/scalar.cc", "sum += args.table[top - x[i]];", "sum += args.table[top - x[i & ~1]];"),
    Fault("rounding", "softmax/scalar.cc", "t += kMagic;", half_up("t")),
    Fault("rounding", "softmax/scalar.cc", "(args.table[top - x[i]])) / whole;",
          "(args.table[top - x[i]])) * (1.0f / whole);"),
    Fault("edge", "softmax/scalar.cc", "i < args.c; ++i) sum +=", "i + 1 < args.c; ++i) sum +="),
    Fault("tap", "layernorm/scalar.cc", "part += x[k] * x[k];", "part += x[k] * x[k & ~1];"),
    Fault("tap", "layernorm/scalar.cc", "uint8_t* y = args.y + p * args.y_px;",
          "uint8_t* y = args.y + (p & ~1) * args.y_px;"),
    Fault("rounding", "layernorm/scalar.cc", "t += kMagic;", half_up("t")),
    Fault("rounding", "layernorm/scalar.cc", "1.0f / std::sqrt(v + args.epsilon)",
          "static_cast<float>(1.0 / std::sqrt(double{v} + args.epsilon))"),
    Fault("rounding", "layernorm/scalar.cc", "t = t + args.b[i];",
          "t = __builtin_fmaf(static_cast<float>(args.c * x[i] - sum) * r, args.g[i], args.b[i]);"),
    Fault("edge", "layernorm/scalar.cc", "i < args.c; ++i", "i + 1 < args.c; ++i"),
    Fault("edge", "layernorm/scalar.cc", "v + args.epsilon)", "v)"),
    Fault("tap", "qgemm/x86_ymm.h", "a[b] = args.rows[ky] +", "a[b] = args.rows[ky / 2 * 2] +", "qgemm/x86_avx2.cc"),
    Fault("edge", "qgemm/x86_avx2.cc", "for (; i < count; ++i) s16[i]", "for (; i < count - 1; ++i) s16[i]"),
    Fault("rounding", "isa/x86_avx2.h", CVT, UP, "qgemm/x86_avx2.cc"),
    Fault("tap", "qgemm/x86_ymm.h", "a[b] += MR * args.a_px", "a[b] += MR * args.a_px - 4", "qgemm/x86_avx2.cc"),
    Fault("tap", "qgemm/x86_avx2_inner.cc", "broadcast_pair(a[p] + at + 4)", "broadcast_pair(a[p] + at)"),
    Fault("edge", "qgemm/x86_avx2_terms.cc", "p < args.m; ++p) terms[p]", "p + 1 < args.m; ++p) terms[p]"),
    Fault("tap", "dwconv/x86_avx2.cc", "b.row[ky] = args.rows[ky] +", "b.row[ky] = args.rows[ky / 2 * 2] +"),
    Fault("rounding", "isa/x86_avx2.h", "_mm256_cvtps_epi32(_mm256_mul_ps(", "_mm256_cvttps_epi32(_mm256_mul_ps(",
          "dwconv/x86_avx2.cc"),
    Fault("edge", "dwconv/x86_finish.h", "finish_blocks<4, kPlain>(args, m, end - c,",
          "finish_blocks<4, kPlain>(args, m, end - c - 1,", "dwconv/x86_avx2.cc"),
    Fault("tap", "firstconv/x86_avx2.cc", "from[ky] = args.rows[ky] +", "from[ky] = args.rows[ky / 2 * 2] +"),
    Fault("edge", "firstconv/x86_avx2.cc", "(row_taps - 1)", "(row_taps - 2)"),
    Fault("tap", "winograd/x86_avx2.cc", "load_column(rows, third * args.in_px + k)",
          "load_column(rows, fourth * args.in_px + k)"),
    Fault("rounding", "isa/x86_avx2.h", CVT, UP, "winograd/x86_avx2.cc"),
    Fault("edge", "winograd/x86_avx2.cc", "x + 1 < args.w_out", "x + 2 < args.w_out"),
    Fault("tap", "pool/x86_avx2.cc", "max_epu8(top_u8x32, load_u8x32(pixel))",
          "max_epu8(top_u8x32, load_u8x32(in.rows[ky] + in.first + c))"),
    Fault("rounding", "pool/x86_avx2.cc", "_mm256_set1_epi32(count / 2)", "_mm256_set1_epi32((count - 1) / 2)"),
    Fault("rounding", "isa/x86_avx2.h", CVT, UP, "pool/x86_avx2.cc"),
    Fault("edge", "pool/windows.h", "args.count_include_pad ? args.kh * args.kw : inside}", "inside}",
          "pool/x86_avx2.cc"),
    Fault("tap", "eltwise/x86_avx2.cc", "_mm256_loadu_ps(scale + 8)", "_mm256_loadu_ps(scale)"),
    Fault("rounding", "eltwise/x86_avx2.cc", "(1 << (args.shift - 1)) -", "0 -"),
    Fault("edge", "eltwise/x86_avx2.cc", "load_u8x32(b + i), k), length - i)",
          "load_u8x32(b + i), k), length - i - 1)"),
    Fault("tap", "eltwise/strip.h", "const uint8_t* b = args.b + p * args.b_px;",
          "const uint8_t* b = args.b + p * args.b_px + (args.b_px == 0 ? p & 1 : 0);", "eltwise/x86_avx2.cc"),
    Fault("rounding", "eltwise/x86_avx2.cc", "k.m_f32x8 = _mm256_set1_ps(args.m);",
          "k.m_f32x8 = _mm256_set1_ps(args.m * (1.0f - 0x1p-23f));"),
    Fault("tap", "layernorm/x86_avx2.cc", "high_s16x16, high_s16x16)", "high_s16x16, low_s16x16)"),
    Fault("rounding", "layernorm/x86_avx2.cc", "return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(v)));",
          "return _mm_cvtss_f32(_mm_rsqrt_ss(_mm_set_ss(v)));"),
    Fault("edge", "layernorm/x86_avx2.cc", "kFirst + 32 - (end - i)", "kFirst"),
    Fault("tap", "edge/weave.h", "x + (i + k) * run.x_step", "x + (i + (k & ~1)) * run.x_step", "edge/x86_avx2.cc"),
    Fault("rounding", "edge/x86_avx2.cc", "_mm256_div_ps(x_f32x8, scale_f32x8)",
          "_mm256_mul_ps(x_f32x8, _mm256_div_ps(_mm256_set1_ps(1.0f), scale_f32x8))"),
    Fault("edge", "edge/x86_avx2.cc", "_mm256_max_ps(_mm256_div_ps(x_f32x8, scale_f32x8), lo_f32x8)",
          "_mm256_max_ps(lo_f32x8, _mm256_div_ps(x_f32x8, scale_f32x8))"),
    Fault("tap", "wide/x86_avx2.cc", "widened_s16x16(w + kColumns)};", "widened_s16x16(w)};"),
    Fault("tap", "wide/x86_avx2.cc", "in += args.dx, w += lanes", "in += args.sx, w += lanes"),
    Fault("tap", "wide/x86_avx2.cc", "_mm256_set1_epi16(255)", "_mm256_set1_epi16(254)"),
    Fault("rounding", "wide/x86_avx2.cc", "_mm256_cvtps_epi32(", "_mm256_cvttps_epi32("),
    Fault("rounding", "wide/x86_avx2.cc", "_mm256_set1_ps(256.0f)", "_mm256_set1_ps(255.99998f)"),
    Fault("edge", "wide/x86_avx2.cc", "store_u8x32(y, q_s16x16, 2 * n)", "store_u8x32(y, q_s16x16, 2 * n - 1)"),
    Fault("edge", "wide/x86_avx2.cc", "if (i < args.m) tile<1", "if (i + 1 < args.m) tile<1"),
    Fault("edge", "wide/x86_avx2.cc", "_mm256_set1_ps(to.lo)", "_mm256_set1_ps(-128.0f)"),
    Fault("tap", "resize/columns.h", "+ a[1] * (", "+ a[0] * (", "resize/x86_avx2.cc"),
    Fault("rounding", "resize/x86_avx2.cc", "_mm256_set1_epi32(1 << 21)", "_mm256_set1_epi32((1 << 21) - 1)"),
    Fault("rounding", "resize/x86_avx2.cc", "_mm256_set1_epi32(128)", "_mm256_set1_epi32(127)"),
    Fault("edge", "resize/columns.h", "if (columns.edge > x) columns.edge = x;",
          "if (columns.edge > x) columns.edge = x + 1;", "resize/x86_avx2.cc"),
    Fault("tap", "interpolate/x86_avx2.cc", "load_s16x16(bottom + right)", "load_s16x16(top + right)"),
    Fault("rounding", "interpolate/x86_avx2.cc", "_mm256_set1_epi32(1 << 21)", "_mm256_set1_epi32((1 << 21) - 1)"),
    Fault("edge", "interpolate/x86_avx2.cc", "right, k), args.c - c);", "right, k), args.c - c - 1);"),
)  # fmt: skip
