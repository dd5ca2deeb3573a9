// SPDX-License-Identifier: Apache-2.0
/// What the drivers say to each other.
#pragma once
#include "runtime/plan.h"

namespace ek {

/// Whether some product of a Conv2D could leave int32 (qgemm_unbounded).
bool unbounded(const Plan& plan, const OpView& op);

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

/// Decides which depthwise convolutions run in a group: sets plan.runs_at and the ring rows of what lies between.
void find_separable(const Plan& plan);
/// Makes the group's step of its planned members: expand, depthwise, project; the outer two may be null.
void plan_separable(const Plan& plan, const Step* const members[3], Step* step);
/// Lets a copy of a group's step have the members of `members`, by op.
void move_members(const Step* members, Step* step);
void bind_separable(const Plan& plan, Step* step, uint8_t* weights, uint8_t* scratch);

}  // namespace ek
