// SPDX-License-Identifier: Apache-2.0
#include "runtime/edges.h"

#include "runtime/strides.h"

namespace ek {
namespace {

// Loops over the caller's dimensions in its order; the batch is the caller's business (frame_bytes).
Edge strided_edge(const Plan& plan, uint32_t tensor, const uint8_t* perm, uint16_t dtype, bool input) {
  const TensorRecord& record = plan.model->tensors[tensor];
  const TensorPlan& t = plan.tensors[tensor];
  const auto bytes = static_cast<ptrdiff_t>(dtype_bytes(dtype));
  Strides loops;
  ptrdiff_t outside = element_count(record) * bytes;
  Edge e{};
  e.frame_bytes = static_cast<uint64_t>(outside);
  for (int32_t i = 1; i < record.rank; ++i) {
    const int32_t axis = perm == nullptr ? i : perm[i];
    outside /= record.dims[axis];
    const ptrdiff_t inside = arena_stride(record, t, axis);
    loops.add(record.dims[axis], input ? outside : inside, input ? inside : outside);
  }
  e.input = input;
  e.base = t.base, e.shape = t.shape, e.zero = static_cast<uint8_t>(t.zero);
  const Nhwc& s = t.shape;
  e.halo = input && s.top + s.left + s.bottom + s.right != 0 ? plan.move->halo : nullptr;
  const bool copied = t.elem == 4 || dtype == EK_INT16;
  if (copied) loops.add(t.elem, 1, 1);  // elements as bytes: rank 6 without its batch leaves room for this loop
  loops.store(e.args.extent, e.args.x_stride, e.args.y_stride);
  for (int32_t i = 0; i < 6; ++i) {
    e.move.extent[i] = e.args.extent[i];
    e.move.x_stride[i] = e.args.x_stride[i];
    e.move.y_stride[i] = e.args.y_stride[i];
  }
  e.args.scale = t.scale;
  e.args.zero = t.zero;
  e.args.flip = dtype == EK_INT8 ? 0x80 : 0;
  e.args.x = e.move.x = t.pixel();  // the side inside; run() sets the other
  e.args.y = e.move.y = t.pixel();
  if (copied) {
    e.copy = plan.move->copy;
    return e;
  }
  const EdgeKernel& kernel = *select_edge(plan.cap);
  if (t.elem == 2) {
    e.convert = input ? kernel.quantise_s16 : kernel.dequantise_s16;
    return e;
  }
  e.convert = dtype != EK_FLOAT32 ? kernel.bytes : input ? kernel.quantise : kernel.dequantise;
  return e;
}

uint16_t outside_dtype(const Plan& plan, const PortRecord& port, bool input, bool raw) {
  const uint16_t inside = plan.model->tensors[port.tensor].dtype;
  return !input && raw && inside != EK_FLOAT32 ? inside : port.dtype;
}

}  // namespace

void Edge::run(void* outside) const {
  if (copy != nullptr) {
    MoveArgs a = move;
    if (input) {
      a.x = static_cast<const uint8_t*>(outside);
    } else {
      a.y = static_cast<uint8_t*>(outside);
    }
    copy(a);
    return;
  }
  EdgeArgs a = args;
  if (input) {
    a.x = outside;
  } else {
    a.y = outside;
  }
  convert(a);
  if (halo != nullptr) halo(shape, base, zero);
}

Edge make_edge(const Plan& plan, const PortRecord& port, bool input, bool raw) {
  return strided_edge(plan, port.tensor, port.perm, outside_dtype(plan, port, input, raw), input);
}

uint64_t edge_bytes(const Plan& plan, const PortRecord& port, bool input, bool raw) {
  return static_cast<uint64_t>(element_count(plan.model->tensors[port.tensor])) *
         dtype_bytes(outside_dtype(plan, port, input, raw));
}

Edge make_tensor_edge(const Plan& plan, uint32_t index) {
  return strided_edge(plan, index, nullptr, plan.model->tensors[index].dtype, false);
}

}  // namespace ek
