// SPDX-License-Identifier: Apache-2.0
/// What the drivers say to each other.
#pragma once
#include "runtime/plan.h"

namespace ek {

/// WeightFact bits of a Conv2D.
uint8_t conv_facts(const Plan& plan, const OpView& op);

using RunFn = void(const Step& step, int32_t first, int32_t end);

/// What a Conv2D by qgemm runs, its strips being panels of all strips or strips.
RunFn* conv_run(const ConvStep& step, bool panels);

/// Predicted cycles of a Conv2D by firstconv; infinite when it is not one (conv.cc asks).
double firstconv_cycles(const Plan& plan, const OpView& op);
ek_status plan_firstconv(const Plan& plan, const OpView& op, Step* step, Error* error);
void bind_firstconv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);

/// The same by winograd: 3x3, stride 1, outside of fused groups.
double winograd_cycles(const Plan& plan, const OpView& op);
void plan_winograd(const Plan& plan, const OpView& op, Step* step);
void bind_winograd(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);

/// Whether an operand is 16-bit: then wide.cc runs the op.
bool is_wide(const Plan& plan, const OpView& op);
ek_status plan_wide_conv(const Plan& plan, const OpView& op, Step* step, Error* error);
void bind_wide_conv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);
ek_status plan_wide_dwconv(const Plan& plan, const OpView& op, Step* step, Error* error);
void bind_wide_dwconv(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);
ek_status plan_wide_affine(const Plan& plan, const OpView& op, Step* step, Error* error);
void bind_wide_affine(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);
ek_status plan_wide_pair(const Plan& plan, const OpView& op, Step* step, Error* error);
void bind_wide_mul(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);
void bind_wide_add(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);
ek_status plan_wide_mean(const Plan& plan, const OpView& op, Step* step, Error* error);
void bind_wide_mean(const Plan& plan, const OpView& op, Step* step, uint8_t* weights, uint8_t* scratch);

/// Which rows of its first input an op reads.
struct Reach {
  int32_t sy, window, top;  ///< from output row to output row; that one output row reads; of them above the image
};
Reach reach_of(const OpView& op);

/// Decides which ops run in groups: sets plan.fused, plan.runs_at and the rings of what lies between.
void find_groups(const Plan& plan);
/// Predicted cycles of ops that run as a group, `rows` output rows at a time, the rings of what lies between in place.
double fused_cycles(const Plan& plan, const uint32_t* ops, int32_t count, int32_t rows);
/// The op that makes `tensor`; tensors are numbered in the order of the ops. Model inputs give op_count.
uint32_t maker_of(const Plan& plan, uint32_t tensor);
/// Makes the step of the group that ends with op `last`, of its planned members.
void plan_group(const Plan& plan, uint32_t last, Step* step);
/// Lets a copy of a group's step have the members of `members`, by op.
void move_members(const Step* members, Step* step);
/// Binds the members too. All that a frame changes lies in `scratch`.
void bind_group(const Plan& plan, Step* step, uint8_t* weights, uint8_t* scratch);

}  // namespace ek
