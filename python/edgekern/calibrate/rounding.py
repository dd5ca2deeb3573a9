# SPDX-License-Identifier: Apache-2.0
"""Rounding compensation: what rounding one weight adds to a sum, the weights after it take back.

To the nearest, each weight is rounded on its own, though inputs of a layer move together. Here a layer's integers q are
chosen for the sums they make: with H = L L' the covariance of its inputs over the samples, the error of a channel with
real weights t is |(t - q) L|^2. L is triangular, so beginning with the last weight each one is rounded to what the
errors of those before leave best: t_j + sum over i > j of (t_i - q_i) L_ij / L_jj. This is GPTQ (Frantar et al. 2022,
arXiv:2210.17323), written with the factor of H instead of that of its inverse.

H is that of the inputs as int8 gives them, so a layer sees the errors of the layers before it. Means are left out of H:
a bias makes up for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgekern.calibrate.integer import step
from edgekern.calibrate.ranges import Progress, unseen
from edgekern.errors import InputError
from edgekern.graph.graph import Graph, Node
from edgekern.graph.run import feed
from edgekern.ops.conv2d import Conv2D, conv_extent, image_shape, pad_image
from edgekern.ops.depthwise import DepthwiseConv2D
from edgekern.types import Array

__all__ = ["ROUNDINGS", "check_rounding", "compensate"]

ROUNDINGS = ("nearest", "compensated")

_SEED = 21
_PLACES = 1 << 14  # of a layer's result whose inputs are taken, at most; twice the weights of a sum if those are more
_BUDGET = 1 << 24  # elements of those inputs, with the same exception
_MOST = 1 << 26  # elements of those inputs, without exception
_WIDEST = 5120  # weights of a sum that are rounded together; of more, so many at a time
_DAMPING = 0.01  # of the mean diagonal of H, added to it; more where samples are fewer than weights
_BLOCK = 128  # weights rounded one after the other between two large products
_AT_ONCE = 1 << 22  # elements of a layer's result that are computed together


def check_rounding(name: str) -> str:
    """The name of a way to round itself.

    Raises:
        InputError: It is none of ROUNDINGS.
    """
    if name not in ROUNDINGS:
        raise InputError(f"rounding {name!r} is not one of {', '.join(ROUNDINGS)}")
    return name


def compensate(original: Graph, integer: Graph, feeds: Mapping[str, Array], progress: Progress = unseen) -> Graph:
    """The integer graph with weights of convolutions rounded anew, and biases moved by what that does to the mean.

    Node after node, each on what the nodes before it give. Weights stay as they are where the error of their channel
    would not shrink, and where the source gives them as integers.

    Args:
        original: The float graph `integer` was made from, node by node.
        integer: Its integer form, float32 ports.
        feeds: Samples, the caller's tensors by port name.
        progress: Called with ("rounding", nodes done, of how many).
    """
    constants = dict(integer.constants)
    rounded = replace(integer, constants=constants)  # sees the weights as they change
    values = {port.tensor: feed(integer, port, feeds[port.name]) for port in integer.inputs}
    last = {name: node.output for node in integer.nodes for name in node.inputs}
    for done, (node, coded) in enumerate(zip(original.nodes, integer.nodes, strict=True)):
        progress("rounding", done, len(integer.nodes))
        if isinstance(coded.op, (Conv2D, DepthwiseConv2D)) and node.constants[0] not in original.weight_scales:
            _round(original, rounded, node, coded, values[coded.inputs[0]], constants)
        given = [values[name] for name in coded.inputs]
        frames = max(1, _AT_ONCE // integer.types[coded.output].size)
        parts = [step(rounded, coded, [x[i : i + frames] for x in given]) for i in range(0, len(given[0]), frames)]
        values[coded.output] = np.concatenate(parts)
        for name in set(coded.inputs):
            if last[name] == coded.output:
                del values[name]
    return rounded


def _round(original: Graph, graph: Graph, node: Node, coded: Node, x: Array, constants: dict[str, Array]) -> None:
    """Chooses a layer's weights in `constants`, and moves its biases."""
    of, to = graph.types[coded.inputs[0]].quant, graph.types[coded.output].quant
    assert of is not None
    assert to is not None
    held, bias, m = (constants[name] for name in coded.constants)
    scale = m.astype(np.float64) * to.scale / of.scale
    scale = np.where(scale > 0, scale, np.inf)  # a dead channel: every weight is 0
    deep = isinstance(coded.op, DepthwiseConv2D)
    real = original.constants[node.constants[0]] / (scale if deep else scale.reshape(-1, 1, 1, 1))
    wanted, nearest = _rows_of(coded, real), _rows_of(coded, held.astype(np.float64))
    inputs = _inputs(coded, x, of.zero_point, wanted)
    mean = inputs.mean(axis=1, keepdims=True, dtype=np.float64)
    inputs -= mean.astype(np.float32)
    size = wanted.shape[2]
    cuts = [slice(start, start + _WIDEST) for start in range(0, size, _WIDEST)]
    parts = [_rounded(wanted[:, :, cut], nearest[:, :, cut], inputs[:, :, cut]) for cut in cuts]
    found = np.concatenate(parts, axis=2)
    shift = np.rint(((nearest - found) * mean).sum(axis=2)).reshape(-1)
    moved = bias + shift
    most = np.abs(found).sum(axis=2).reshape(-1) * 255 + np.abs(moved)
    fits = (most < 2**31).reshape(*found.shape[:2], 1)
    found = np.where(fits, found, nearest).astype(held.dtype)
    constants[coded.constants[0]] = np.ascontiguousarray(found[:, 0].T if deep else found).reshape(held.shape)
    constants[coded.constants[1]] = np.where(fits.reshape(-1), moved, bias).astype(bias.dtype)


def _rows_of(node: Node, weights: Array) -> Array:
    """A layer's weights as [groups, outputs of a group, weights of a sum]."""
    if isinstance(node.op, Conv2D):
        by_output: Array = weights.reshape(node.op.groups, len(weights) // node.op.groups, -1)
        return by_output
    by_channel: Array = weights.reshape(-1, weights.shape[2]).T[:, None]
    return by_channel


def _inputs(node: Node, x: Array, zero_point: int, weights: Array) -> Array:
    """What some places of the result are sums of: float32 [groups, places, weights of a sum]."""
    assert isinstance(node.op, (Conv2D, DepthwiseConv2D))
    op, (groups, _, size) = node.op, weights.shape
    image = pad_image(x.reshape(len(x), *image_shape((1, *x.shape[1:]))[1:]), op.pads, zero_point)
    sides = [conv_extent(image.shape[1 + d], op.kernel[d], op.stride[d], op.dilation[d], 0, 0) for d in (0, 1)]
    places = len(x) * sides[0] * sides[1]
    enough = max(2 * size, min(_PLACES, _BUDGET // (groups * size)))
    count = min(places, enough, max(1, _MOST // (groups * size)))
    chosen = np.sort(np.random.Generator(np.random.PCG64(_SEED)).choice(places, count, replace=False))
    frame, row, column = np.unravel_index(chosen, (len(x), *sides))
    taps = [
        image[frame, row * op.stride[0] + ky * op.dilation[0], column * op.stride[1] + kx * op.dilation[1]]
        for ky in range(op.kernel[0])
        for kx in range(op.kernel[1])
    ]
    seen = np.stack(taps, axis=1).astype(np.float32) - zero_point
    by_group = seen.reshape(count, len(taps), groups, -1).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(by_group).reshape(groups, count, size)


def _rounded(wanted: Array, nearest: Array, inputs: Array) -> Array:
    """Integers for the real weights `wanted`, row by row; `nearest` where they are no better.

    Args:
        wanted: [groups, rows, weights of a sum], in units of the weights' scales.
        nearest: The same, rounded and within int8.
        inputs: [groups, samples, weights of a sum], without their means; what the weights are multiplied by.
    """
    products = (inputs.transpose(0, 2, 1) @ inputs).astype(np.float64)
    diagonal = np.diagonal(products, axis1=1, axis2=2)
    order = np.argsort(diagonal, axis=1, kind="stable")  # the last is rounded first: that which moves most
    products = np.take_along_axis(np.take_along_axis(products, order[:, :, None], 1), order[:, None, :], 2)
    damping = np.maximum(diagonal.mean(axis=1), 1) * _DAMPING * max(1.0, diagonal.shape[1] / inputs.shape[1])
    size = wanted.shape[2]
    products[:, range(size), range(size)] += damping[:, None]
    lower = np.linalg.cholesky(products)
    del products
    real = np.take_along_axis(wanted, order[:, None, :], 2)
    error = np.zeros_like(real)
    loss = np.zeros(real.shape[:2])
    for end in range(size, 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        left = error[:, :, end:] @ lower[:, end:, start:end]
        for j in range(end - 1, start - 1, -1):
            own, sums = lower[:, None, j, j], left[:, :, j - start]
            whole = np.clip(np.rint(real[:, :, j] + sums / own), -127, 127)
            error[:, :, j] = real[:, :, j] - whole
            loss += (error[:, :, j] * own + sums) ** 2
            left[:, :, : j - start] += error[:, :, j, None] * lower[:, None, j, start:j]
    before = np.take_along_axis(nearest, order[:, None, :], 2)
    plain = (((real - before) @ lower) ** 2).sum(axis=2)
    chosen = np.where((loss < plain)[:, :, None], real - error, before)
    found = np.empty_like(chosen)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], found.shape), chosen, 2)
    return np.rint(found)
