// SPDX-License-Identifier: Apache-2.0
/// Boxes of a camera frame: enlarge, clip, resize straight into the input tensor, run.
#include <cinttypes>
#include <cstring>

#include "base/rounding.h"
#include "runtime/claim.h"
#include "runtime/session.h"

namespace ek {
namespace {

struct Clip {
  int64_t x0, y0, x1, y1;
  bool empty() const { return x0 >= x1 || y0 >= y1; }
};

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/// `box` enlarged by margin / 256 of its sides and clipped; empty when nothing of the box itself is inside.
Clip clip_box(const ek_box& box, int64_t margin, const ek_frame& frame) {
  const int64_t x1 = int64_t{box.x} + box.width, y1 = int64_t{box.y} + box.height;
  const bool inside =
      box.width > 0 && box.height > 0 && box.x < frame.width && box.y < frame.height && x1 > 0 && y1 > 0;
  if (!inside) return {0, 0, 0, 0};
  const int64_t mx = (box.width * margin + 128) >> 8, my = (box.height * margin + 128) >> 8;
  return {most(box.x - mx, 0), most(box.y - my, 0), least(x1 + mx, frame.width), least(y1 + my, frame.height)};
}

int32_t channel_count(ek_channels channels) {
  switch (channels) {
    case EK_RGB:
    case EK_BGR:
      return 3;
    case EK_GRAY:
      return 1;
    case EK_RGBA:
    case EK_BGRA:
      return 4;
  }
  return 0;
}

/// Which source channel feeds each channel of the model; grey from colour takes R, G, B in that order.
void set_order(ek_channels source, uint32_t target, ResizeArgs* crop) {
  constexpr uint32_t kBgr = 1, kGray = 2;
  const bool from_gray = source == EK_GRAY, to_gray = target == kGray;
  crop->gray = to_gray && !from_gray;
  const bool source_bgr = source == EK_BGR || source == EK_BGRA;
  const bool swap = source_bgr != (target == kBgr);
  for (int32_t i = 0; i < 4; ++i) crop->order[i] = from_gray ? 0 : swap && i < 3 ? 2 - i : i;
}

}  // namespace

ek_status Session::check_frame(const ek_frame& frame, ResizeArgs* crop, Error* e) const {
  const ModelView& m = model();
  if (m.preprocess == nullptr || m.inputs.size != 1) {
    return fail(e, EK_UNSUPPORTED, 0, "preprocess",
                m.preprocess == nullptr
                    ? "the file holds no preprocess: it takes tensors, not camera frames; compile it with a Preprocess"
                    : "the model has inputs besides the image; run it with tensors");
  }
  const int32_t channels = channel_count(frame.channels);
  if (channels == 0) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "channels", "channel order %d is none of ek_channels",
                static_cast<int>(frame.channels));
  }
  if (frame.data == nullptr || frame.width < 1 || frame.height < 1) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "frame", "a frame of %d x %d pixels", frame.width, frame.height);
  }
  if (frame.width > (1 << 20) || frame.height > (1 << 20)) {  // resize counts 1/2048 pixels in int32
    return fail(e, EK_INVALID_ARGUMENT, 0, "frame", "a side above 2^20 pixels: %d x %d", frame.width, frame.height);
  }
  const int64_t row = int64_t{frame.width} * channels;
  const ptrdiff_t stride = frame.row_stride < 0 ? -frame.row_stride : frame.row_stride;
  if (frame.height > 1 && stride < row) {
    return fail(e, EK_INVALID_ARGUMENT, 0, "row_stride", "rows of %" PRId64 " bytes every %td bytes", row,
                frame.row_stride);
  }
  *crop = lanes_[0].crop;
  crop->row_stride = frame.row_stride;
  crop->src_channels = channels;
  set_order(frame.channels, m.preprocess->order, crop);
  return EK_OK;
}

struct Session::BoxCall {
  const ek_frame* frame;
  const ek_box* boxes;
  int64_t margin;
  ResizeArgs crop;  // of lane 0
  ek_buffer* outputs;
  bool raw;
};

void Session::run_box(const Session& session, const Lane& lane, bool shared, const void* call, int32_t box) {
  const auto& b = *static_cast<const BoxCall*>(call);
  const Clip c = clip_box(b.boxes[box], b.margin, *b.frame);
  ResizeArgs crop = b.crop;
  crop.y = lane.crop.y, crop.scratch = lane.crop.scratch;
  crop.box = b.frame->data + c.y0 * b.frame->row_stride + c.x0 * crop.src_channels;
  crop.width = static_cast<int32_t>(c.x1 - c.x0), crop.height = static_cast<int32_t>(c.y1 - c.y0);
  session.resize_(crop);
  const Edge& input = lane.inputs[session.model().preprocess->input];
  if (input.halo != nullptr) input.halo(input.shape, input.base, input.zero);
  session.run_steps(lane, shared);
  write_outputs(lane, b.outputs, box, b.raw);
}

ek_status Session::run_regions(const ek_frame& frame, const ek_box* boxes, int32_t box_count, ek_buffer* outputs,
                               int32_t output_count, bool raw, Error* error) {
  ResizeArgs crop;
  ek_status status = check_frame(frame, &crop, error);
  if (status != EK_OK) return status;
  const ek_box whole = {0, 0, frame.width, frame.height};
  const int64_t margin = boxes == nullptr ? 0 : model().preprocess->margin;
  if (boxes == nullptr) boxes = &whole, box_count = 1;
  if (box_count < 1) return fail(error, EK_INVALID_ARGUMENT, 0, "boxes", "%d boxes; at least 1", box_count);
  status = check_outputs(outputs, output_count, box_count, raw, error);
  for (int32_t i = 0; i < box_count && status == EK_OK; ++i) {  // all boxes before any work
    if (!clip_box(boxes[i], margin, frame).empty()) continue;
    status = fail(error, EK_INVALID_ARGUMENT, static_cast<uint64_t>(i), "boxes",
                  "box %d (%d, %d, %d, %d) has no pixel inside the %dx%d frame; boxes are x, y, width, height", i,
                  boxes[i].x, boxes[i].y, boxes[i].width, boxes[i].height, frame.width, frame.height);
  }
  if (status != EK_OK) return status;
  const Claim claim(&busy_);
  if (claim.check(error) != EK_OK) return EK_BUSY;
  const RoundToNearest mode;
  const BoxCall call = {&frame, boxes, margin, crop, outputs, raw};
  each_frame(box_count, run_box, &call);
  return EK_OK;
}

}  // namespace ek
