"""ONNX's own node tests, compiled to int8 and run, of every operator the importer takes.

A case counts if it is one node of such an operator and its activations and result are float32 (Cast, Shape and Size
have none). Operands that are no activations are bound as initializers; models are calibrated on other random inputs
of the same kind as the case's own. Operators without a batch of their own (they would move or mix its first
dimension) get a batch dimension in front. Of LayerNormalization the result alone is asked for, not the mean and the
deviation, which training wants.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="compiling needs the extra `compile`")

import edgekern  # noqa: E402
from edgekern.errors import EdgekernError  # noqa: E402
from edgekern.importers.onnx import supported  # noqa: E402

ALL = {"Add", "Concat", "Max", "Min", "Mul", "Sub", "Sum"}  # every input is an activation, of others the first
ACTIVATIONS = {name: 0 if name in ALL else 1 for name in supported()}  # how many inputs are activations (0: all)
BATCHED = {"AveragePool", "BatchNormalization", "Conv", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool"}
BATCHED |= {"ConvTranspose", "MaxPool", "Resize", "SpaceToDepth", "Upsample"}
PARTS = {"Split"}  # every output is compared
TRAINED = {"LayerNormalization"}  # the outputs behind the first are dropped
ENDS = {"Acos", "Asin", "Atanh"}  # functions with no value beyond 1
WITHOUT = {"Cast", "Shape", "Size"}  # none of their cases takes and gives float32
WITHOUT |= {"DequantizeLinear", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}  # test_onnx_quantised.py has these
SHARE = 0.85
SAMPLES = 48

DILATED = "a maximum over a window with a dilation"
BACKWARDS = "a slice with a negative step"
EMPTY = "a tensor without elements"
EXPONENTS = "an exponent that differs between elements"
FURTHER = "one of its values lies further out than those of all the samples that calibrate it"
JUMPS = "an input less than half an int8 step from a jump of the function falls on its other side"
OUTSIDE = "pixels outside the image, which have a value of their own"
RANGE = "int8 steps over the whole input range are too coarse for what the function does near one end of it"
RANK = "more than six dimensions, the batch included"
SECOND = "its second output (indices, mask) is used"
SUMS = "random inputs to calibrate with do not reach the sums of the case's own"
THREE_D = "windows over three dimensions"
TRAINING = "a node in training mode"
SKIPS = {
    **dict.fromkeys((f"test_averagepool_3d_{n}" for n in ("default", "dilations_small")), THREE_D),
    **{
        f"test_averagepool_3d_dilations_large_count_include_pad_is_{k}_ceil_mode_is_{c}": THREE_D
        for k in (0, 1)
        for c in (True, False)
    },
    "test_atanh": RANGE,
    **{f"test_batchnorm_{n}_training_mode": TRAINING for n in ("epsilon", "example")},
    "test_convtranspose_3d": THREE_D,
    "test_convtranspose_group_2_image_3": SUMS,
    **{f"test_dropout_default_mask{n}": SECOND for n in ("", "_ratio")},
    "test_erf": RANGE,
    "test_layer_normalization_3d_axis_negative_3_epsilon": FURTHER,
    "test_log": RANGE,
    "test_matmul_bcast": "a constant that repeats the slices of an activation",
    "test_maxpool_2d_dilations": DILATED,
    **{f"test_maxpool_3d_{n}": THREE_D for n in ("default", "dilations", "dilations_use_ref_impl")},
    "test_maxpool_3d_dilations_use_ref_impl_large": THREE_D,
    **{f"test_maxpool_with_argmax_2d_precomputed_{n}": SECOND for n in ("pads", "strides")},
    **dict.fromkeys(("test_pow", "test_pow_bcast_array", "test_pow_example"), EXPONENTS),
    **{f"test_pow_types_float32_{n}": EXPONENTS for n in ("int32", "int64", "uint32", "uint64")},
    "test_reduce_max_empty_set": EMPTY,
    "test_reshape_allowzero_reordered": EMPTY,
    "test_resize_tf_crop_and_resize_extrapolation_value": OUTSIDE,
    "test_round": JUMPS,
    "test_slice_neg_steps": BACKWARDS,
    "test_slice_start_out_of_bounds": EMPTY,
    "test_softmax_large_number": RANGE,
    **{f"test_split_zero_size_splits_opset{n}": EMPTY for n in (13, 18)},
    "test_tan": RANGE,
    **{f"test_training_dropout{n}{m}": TRAINING for n in ("", "_default") for m in ("", "_mask")},
    "test_training_dropout_zero_ratio_mask": SECOND,
    **{f"test_unsqueeze_{n}": RANK for n in ("three_axes", "unsorted_axes")},
}


def cases() -> dict[str, Any]:
    """Every case of the operators above with float32 data, by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    chosen = {}
    for case in found:
        if case.model is None or len(case.model.graph.node) != 1:
            continue
        node = case.model.graph.node[0]
        inputs = case.data_sets[0][0]
        output = case.data_sets[0][1][0]
        if node.op_type in ACTIVATIONS and node.domain == "" and getattr(output, "dtype", None) == np.float32:
            count = ACTIVATIONS[node.op_type] or len(inputs)
            if all(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in inputs[:count]):
                chosen[case.name] = case
    return chosen


CASES = cases()
LEFT = {name: reason for name, reason in SKIPS.items() if name in CASES}  # an older onnx has fewer cases


def bound(case: Any) -> tuple[Any, dict[str, Any], list[Any]]:
    """The case as a model of its activations, their values, and the wanted results; batch first in all."""
    from onnx import TensorProto, helper, numpy_helper

    node = case.model.graph.node[0]
    values = dict(zip((i.name for i in case.model.graph.input), case.data_sets[0][0], strict=True))
    ends = list(node.output)[: None if node.op_type in PARTS else 1]
    wanted = list(case.data_sets[0][1][: len(ends)])
    count = ACTIVATIONS[node.op_type] or len(values)
    if len({x.shape for x in list(values.values())[:count]}) > 1 and node.op_type != "Concat":
        count = 1  # an operand of another shape is a constant
    feeds = {name: values.pop(name) for name in list(values)[:count]}
    constants = [numpy_helper.from_array(x, name) for name, x in values.items()]
    nodes = [node]
    if node.op_type not in BATCHED:
        inner = type(node)()
        inner.CopyFrom(node)
        inner.input[:] = [f"{n}_frame" if n in feeds else n for n in node.input]
        inner.output[: len(ends)] = [f"{o}_frame" for o in ends]
        if node.op_type in TRAINED:
            del inner.output[1:]
        axis = numpy_helper.from_array(np.array([0]), "first_axis")
        constants.append(axis)
        nodes = [helper.make_node("Squeeze", [n, "first_axis"], [f"{n}_frame"]) for n in feeds]
        nodes += [inner, *(helper.make_node("Unsqueeze", [f"{o}_frame", "first_axis"], [o]) for o in ends)]
        feeds = {name: x[None] for name, x in feeds.items()}
        wanted = [y[None] for y in wanted]
    results = ends if node.op_type in TRAINED else list(node.output)
    opset = max(13, next(o.version for o in case.model.opset_import if o.domain == ""))
    graph = helper.make_graph(
        nodes,
        case.name,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in feeds.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in results if o],
        constants,
    )
    if node.op_type in BATCHED:
        opset = next(o.version for o in case.model.opset_import if o.domain == "")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), feeds, wanted


def alike(x: Any, draw: np.random.Generator, wider: float) -> Any:
    """Other random values of the kind of x: normal if they look drawn from a normal, else uniform in their range.

    The range is widened by the given share of it, since few draws reach its ends; a ramp gives ramps.
    """
    slopes = np.sign(np.diff(x.reshape(-1)))
    ramp = x.size > 1 and bool((slopes == slopes[0]).all())
    if not ramp and x.size > 20 and x.min() < 0 < x.max() and (x != np.rint(x)).any():
        return draw.normal(x.mean(), x.std(), x.shape).astype(np.float32)
    room = wider * float(np.ptp(x)) if x.size else 0.0
    low, high = (float(x.min()) - room * (x.min() < 0), float(x.max()) + room) if x.size else (0.0, 1.0)
    y = draw.uniform(low, high, x.shape)
    return (np.sort(y, axis=None)[:: int(slopes[0]) or 1].reshape(x.shape) if ramp else y).astype(np.float32)


@lru_cache(maxsize=1)
def run(name: str) -> tuple[list[Any], list[Any], list[float]]:
    """(what the int8 model gives, what the case wants, one step), each by output."""
    model, feeds, wanted = bound(CASES[name])
    draw = np.random.default_rng(5)
    wider = 0.0 if CASES[name].model.graph.node[0].op_type in ENDS else 0.05
    calibration: list[Mapping[str, Any]] = [
        {n: alike(x, draw, wider) for n, x in feeds.items()} for _ in range(SAMPLES)
    ]
    compiled = edgekern.compile(model, calibration=calibration, method="mse")
    made = by_output(compiled.run(feeds if len(feeds) > 1 else next(iter(feeds.values()))))
    pairs = zip(made, by_output(compiled.reference(feeds)), strict=True)
    assert all(np.array_equal(y, reference) for y, reference in pairs), "kernels and reference differ"
    return made, wanted, [port.scale for port in compiled.outputs]


def by_output(results: Any) -> list[Any]:
    return list(results.values()) if isinstance(results, dict) else [results]


def agrees(name: str) -> bool:
    """Whether every result is within 1.5 steps of the output or 1 % of its range."""
    return all(near(*result) for result in zip(*run(name), strict=True))


def near(y: Any, wanted: Any, step: float) -> bool:
    if y.shape != wanted.shape:
        return False
    tolerance = max(1.5 * step, 0.01 * float(np.ptp(wanted)))
    return bool((np.abs(y.astype(np.float64) - wanted) <= tolerance).all())


@pytest.mark.parametrize("name", sorted(set(CASES) - set(LEFT)))
def test_node(name: str) -> None:
    assert agrees(name)


@pytest.mark.parametrize("name", sorted(LEFT))
def test_a_skipped_node_would_still_fail(name: str) -> None:
    try:
        passes = agrees(name)
    except EdgekernError:
        passes = False
    assert not passes, f"{name} passes: take it off the list ({SKIPS[name]})"


def test_every_operator_has_cases() -> None:
    known = {name for name in supported() if onnx.defs.has(name)}  # an older onnx has fewer operators
    assert known - {case.model.graph.node[0].op_type for case in CASES.values()} == WITHOUT


def test_the_share_that_runs() -> None:
    share = 1 - len(LEFT) / len(CASES)
    print(f"\nONNX node tests: {len(CASES) - len(LEFT)} of {len(CASES)} run and pass, {share:.1%}")
    assert share >= SHARE


def test_a_wrong_result_is_caught() -> None:
    (y,), (wanted,), (step,) = run("test_relu")
    assert np.abs(y - wanted).max() <= max(1.5 * step, 0.01 * float(np.ptp(wanted)))
    assert np.abs(np.zeros_like(y) - wanted).max() > 20 * step
